"""The boundary between the pings and the operating system's sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from attrs import frozen

# 56 bytes of payload, as ping(8) sends.
PAYLOAD_BYTES = 56


class Clock(str, Enum):
    """Who took a time stamp. The user's clock includes waiting for a processor."""

    KERNEL = "kernel"
    USER = "user"


@frozen
class Reply:
    """An echo reply.

    `received` is when it was read, in seconds of time.monotonic(). `elapsed` is the round trip in
    seconds as the stamps have it, None where the kernel stamped nothing; `tx` and `rx` say whose
    stamps those were. The stamps' clock may be stepped: believe `elapsed` only within the time
    that passed on the monotonic clock.
    """

    source: str
    sequence: int
    payload: bytes
    received: float
    elapsed: float | None = None
    tx: Clock = Clock.USER
    rx: Clock = Clock.USER


@frozen
class Unreachable:
    """An ICMP error about the request `sequence` to `address`."""

    address: str
    sequence: int


class Echo(Protocol):
    """A socket for ICMP echo that never blocks."""

    def send(self, address: str, sequence: int, payload: bytes) -> None:
        """Send an echo request with a payload of PAYLOAD_BYTES. Raises OSError."""

    def receive(self) -> Sequence[Reply | Unreachable]:
        """What has come since the last call. Raises OSError when the socket is of no more use."""

    def fileno(self) -> int:
        """The descriptor that becomes readable when something has come."""

    def close(self) -> None:
        """Give the descriptor back."""


# Opens a socket on the interface of that name, or on any (None). Raises OSError.
OpenEcho = Callable[[str | None], Echo]

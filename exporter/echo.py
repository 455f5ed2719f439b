"""The boundary between the pings and the operating system's sockets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

# 56 bytes of payload, as ping(8) sends.
PAYLOAD_BYTES = 56


class Clock(str, Enum):
    """Who took a time stamp. The user's clock includes waiting for a processor."""

    KERNEL = "kernel"
    USER = "user"


class Code(str, Enum):
    """Why an address is unreachable: the ICMP codes (RFC 792, 1812, 4443), in few words."""

    NETWORK = "network"
    HOST = "host"  # also: nobody on the segment has that address (no answer to ARP)
    PORT = "port"
    PROHIBITED = "prohibited"  # a firewall says so
    TTL = "ttl"  # went round in circles
    NO_ROUTE = "no_route"  # this machine knows no way, and sent nothing
    OTHER = "other"


class Invalid(str, Enum):
    """What is wrong with a reply that answers no request of ours."""

    SOURCE = "source"  # from an address that was not asked
    PAYLOAD = "payload"  # corrupted, or forged
    SEQUENCE = "sequence"  # no such request, or too long ago
    MALFORMED = "malformed"  # too short, or a bad checksum


# Replies and errors are made for every single ping: named tuples, the cheapest thing with names.
class Reply(NamedTuple):
    """An echo reply.

    `received` is when it was read, in seconds of time.monotonic(); `prompt` if it was read as it
    came, so that `received` is a measurement. `elapsed` is the round trip in seconds as the stamps
    have it, None where the reply has none; `tx` and `rx` say whose stamps those were. With `steps`
    the stamps are of a clock that may be set: believe `elapsed` only when it was not.
    """

    source: str
    sequence: int
    payload: bytes
    received: float
    elapsed: float | None = None
    tx: Clock = Clock.USER
    rx: Clock = Clock.USER
    prompt: bool = True
    steps: bool = True


class Unreachable(NamedTuple):
    """An ICMP error about the request `sequence` to `address`."""

    address: str
    sequence: int
    code: Code = Code.OTHER


class Garbled(NamedTuple):
    """Something that claims to be an echo reply, and cannot be read."""

    reason: Invalid = Invalid.MALFORMED


Event = Reply | Unreachable | Garbled


class Echo(Protocol):
    """A socket for ICMP echo that never blocks."""

    @property
    def rx(self) -> Clock:
        """Who stamps the replies. The user: whoever reads must do so as soon as they come."""

    def send(self, address: str, sequence: int, payload: bytes) -> None:
        """Send an echo request with a payload of PAYLOAD_BYTES. Raises OSError."""

    def receive(self) -> Sequence[Event]:
        """What has come since the last call. Raises OSError when the socket is of no more use."""

    def fileno(self) -> int:
        """The descriptor that becomes readable when something has come."""

    def close(self) -> None:
        """Give the descriptor back."""


class OpenEcho(Protocol):
    """Opens a socket."""

    def __call__(self, device: str | None, ipv6: bool = False) -> Echo:
        """A socket on the interface of that name, or on any (None). Raises OSError."""


def code_of(icmp_type: int, icmp_code: int) -> Code:
    """What an ICMP (IPv4) error says."""
    if icmp_type == 11:
        return Code.TTL
    if icmp_type != 3:
        return Code.OTHER
    return _V4.get(icmp_code, Code.OTHER)


def code6_of(icmp_type: int, icmp_code: int) -> Code:
    """What an ICMPv6 error says."""
    if icmp_type == 3:
        return Code.TTL
    if icmp_type != 1:
        return Code.OTHER
    return _V6.get(icmp_code, Code.OTHER)


_V4 = {
    **dict.fromkeys((0, 6, 11), Code.NETWORK),
    **dict.fromkeys((1, 7, 8, 12), Code.HOST),
    3: Code.PORT,
    **dict.fromkeys((9, 10, 13), Code.PROHIBITED),
}
_V6 = {
    0: Code.NETWORK,
    3: Code.HOST,
    4: Code.PORT,
    **dict.fromkeys((1, 5, 6), Code.PROHIBITED),
}


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of `data`; 0 for data that includes its own, right one."""
    if len(data) % 2:
        data += b"\0"
    total = sum(memoryview(data).cast("H"))  # in the machine's own byte order: the sum commutes
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int.from_bytes((~total & 0xFFFF).to_bytes(2, sys.byteorder), "big")

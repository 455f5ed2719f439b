"""Stand-ins for the operating system, at the exporter's two boundaries."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import TypeVar

from attrs import define, field

from smolmon.exporter.echo import Clock, Reply, Unreachable
from smolmon.exporter.system import (
    Changes,
    Firewall,
    Interface,
    KernelRoute,
    Neighbour,
    NotAvailableError,
    TcpSockets,
    Way,
    Wifi,
)

T = TypeVar("T")
Answer = Callable[[str, int, bytes], Sequence["Reply | Unreachable"]]


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FakeEcho:
    """An echo socket whose answers `answer` makes. Raises `fails_with` from send if that is set."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.rx = Clock.USER  # so it is read as soon as something comes
        self.fails_with: OSError | None = None
        self.broken = False
        self.closed = False
        self.sent: list[str] = []
        self._pending: list[Reply | Unreachable] = []
        self._here, self._there = socket.socketpair()

    def send(self, address: str, sequence: int, payload: bytes) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.sent.append(address)
        self._pending += self.answer(address, sequence, payload)
        if self._pending:
            self._there.send(b"!")

    def receive(self) -> Sequence[Reply | Unreachable]:
        if self.broken:
            raise error(errno.EBADF)
        self._here.recv(4096) if self._pending else None
        pending, self._pending = self._pending, []
        return pending

    def fileno(self) -> int:
        return self._here.fileno()

    def close(self) -> None:
        self.closed = True
        self._here.close()
        self._there.close()


@define
class FakeSystem:
    """Network state that a test sets. Raises `fails_with` from every question if that is set."""

    table: list[KernelRoute] = field(factory=list)
    forwards: bool = False
    by_mac: dict[str, str] = field(factory=dict)
    ways: dict[IPv4Address, Way] = field(factory=dict)
    links: list[Interface] = field(factory=list)
    arp: list[Neighbour] = field(factory=list)
    sockets: TcpSockets = field(factory=lambda: TcpSockets((), ()))
    radios: list[Wifi] | None = None
    wall: Firewall | None = None
    subscription: Changes | None = None
    fails_with: OSError | None = None

    def routes(self) -> Sequence[KernelRoute]:
        self._maybe_fail()
        return self.table

    def forwarding(self) -> bool:
        self._maybe_fail()
        return self.forwards

    def interface(self, mac: str) -> str:
        self._maybe_fail()
        return self.by_mac.get(mac, "")

    def way(self, address: IPv4Address) -> Way | None:
        self._maybe_fail()
        return self.ways.get(address)

    def interfaces(self) -> Sequence[Interface]:
        self._maybe_fail()
        return self.links

    def neighbours(self) -> Sequence[Neighbour]:
        self._maybe_fail()
        return self.arp

    def tcp(self, port: int) -> TcpSockets:
        self._maybe_fail()
        return self.sockets

    def wifi(self) -> Sequence[Wifi]:
        self._maybe_fail()
        return self._known(self.radios)

    def firewall(self) -> Firewall:
        self._maybe_fail()
        return self._known(self.wall)

    def changes(self) -> Changes:
        return self._known(self.subscription)

    def close(self) -> None:
        """Nothing is open."""

    def _known(self, answer: T | None) -> T:
        if answer is None:
            raise NotAvailableError("it does not say")
        return answer

    def _maybe_fail(self) -> None:
        if self.fails_with is not None:
            raise self.fails_with

"""`/usr/sbin/netstat -anl -p tcp`: TCP listeners and connections, of every user."""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from smolmon.macos.text import ipv4, ipv6, number

_PROTOCOL = re.compile(r"tcp(4|6|46)")
_CUT = 39  # characters of an IPv6 address that the tool prints with -l (source: inet6print)


class Wildcard(Enum):
    """Every address of the machine."""

    ANY = "*"


Address = IPv4Address | IPv6Address | Wildcard


@frozen
class Endpoint:
    """An address and a port. `address` is None if the tool cut it off, `port` is None for `*`."""

    address: Address | None
    port: int | None


@frozen
class TcpSocket:
    """One socket. `families` holds 4, 6 or both (a listener for both prints `tcp46`); `state` is
    the tool's word: LISTEN, ESTABLISHED, TIME_WAIT ..."""

    families: frozenset[int]
    local: Endpoint
    foreign: Endpoint
    state: str


def parse(text: str) -> tuple[TcpSocket, ...]:
    """The sockets, in the tool's order.

    Source (netstat.tproj/inet.c, protopr, inetprint): columns Proto, Recv-Q, Send-Q, Local Address,
    Foreign Address, (state), and with `-v` many more, which differ between releases and are not
    read; address and port are joined by a dot (`10.10.0.1.65432`, `*.22`, `*.*`). An IPv6 address
    is cut to 16 characters, with `-l` to 39, before the port is added: ask with `-l`, where only a
    zone can be cut off.
    """
    found: list[TcpSocket] = []
    for line in text.split("\n"):
        words = line.split()
        protocol = _PROTOCOL.fullmatch(words[0]) if len(words) >= 6 else None
        if protocol is None:
            continue
        local, foreign = endpoint(words[3]), endpoint(words[4])
        if local is None or foreign is None or not words[5].isupper():
            continue
        found.append(TcpSocket(frozenset(map(int, protocol[1])), local, foreign, words[5]))
    return tuple(found)


def endpoint(word: str) -> Endpoint | None:
    """`10.10.0.1.65432`, `::1.5432`, `*.22` or `*.*`; None if it is none of these."""
    host, dot, port = word.rpartition(".")
    if not dot or (port != "*" and ((value := number(port)) is None or value > 65535)):
        return None
    where: Address | None
    if host == "*":
        where = Wildcard.ANY
    elif ":" in host:
        where = ipv6(host) if len(host) < _CUT or "%" not in host else None
        if where is None and len(host) < _CUT:
            return None
    elif (where := ipv4(host)) is None:
        return None
    return Endpoint(where, None if port == "*" else int(port))


def listeners(sockets: tuple[TcpSocket, ...], port: int) -> tuple[Endpoint, ...]:
    """The local ends that listen on `port`."""
    return tuple(s.local for s in sockets if s.state == "LISTEN" and s.local.port == port)


def established(sockets: tuple[TcpSocket, ...], port: int) -> tuple[TcpSocket, ...]:
    """The connections with `port` at either end."""
    return tuple(
        s for s in sockets if s.state == "ESTABLISHED" and port in (s.local.port, s.foreign.port)
    )

"""`/usr/sbin/netstat -rn -f inet`: the IPv4 routing table."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network

from attrs import frozen

from smolmon.macos.text import device, ipv4, mac, number

_FLAGS = re.compile(r"[A-Za-z123]{1,10}")
_DESTINATION = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){0,3})(?:/([0-9]{1,2}))?")
_LINK = re.compile(r"link#[0-9]+")


@frozen
class NetstatRoute:
    """One row. `flags` are netstat's letters (netstat(1)); `expire` is in seconds, None without.

    `gateway` is None for a destination on the link itself, whose second column is `link#18`, the
    Ethernet address of a resolved neighbour or a device's name.
    """

    destination: IPv4Network
    gateway: IPv4Address | None
    flags: str
    device: str
    expire: int | None = None

    @property
    def scoped(self) -> bool:
        """Used only by sockets bound to its interface; there may be many for one destination."""
        return "I" in self.flags

    @property
    def refuses(self) -> bool:
        """Packets to it are dropped: a REJECT or BLACKHOLE route."""
        return bool({"R", "B"} & set(self.flags))

    @property
    def cloned(self) -> bool:
        """Made by the kernel from another route, for one host that was talked to."""
        return "W" in self.flags


def parse(text: str) -> tuple[NetstatRoute, ...]:
    """The rows, in the kernel's order; those of other families are left out.

    Source (netstat.tproj/route.c, np_rtentry and p_sockaddr): columns Destination, Gateway, Flags,
    Netif, Expire; Expire is empty, seconds or `!` (past). Up to macOS 10.14 there were Refs and Use
    between Flags and Netif (seen): the header says where Netif stands. With -n nothing is cut
    today; older releases cut at 18 characters, which every IPv4 destination and every Ethernet
    address fits. Cloned host routes are printed only if their parent does not clone for protocols.
    """
    netif = 3
    ipv4_section = True
    routes: list[NetstatRoute] = []
    for line in text.split("\n"):
        words = line.split()
        if len(words) == 1 and line.endswith(":"):
            ipv4_section = words[0] == "Internet:"
        elif words[:2] == ["Destination", "Gateway"] and "Netif" in words:
            netif = words.index("Netif")
        elif ipv4_section and (route := _row(words, netif)) is not None:
            routes.append(route)
    return tuple(routes)


def destination(word: str, *, host: bool = False) -> IPv4Network | None:
    """The network that netstat abbreviates, or None if it cannot be told.

    Source (netname and domask): zero octets at the end are left out as far as the address's class
    allows, and the length too when it is the class's own: 10.0.0.0/8 is `10`, 10.10.0.0/24 is
    `10.10/24`, 192.168.51.0/24 is `192.168.51`, 224.0.0.0/4 is `224.0.0/4`. A host route has all
    four octets. A mask with holes is printed as `&0x...`: not read.
    """
    if word == "default":
        return IPv4Network("0.0.0.0/0")
    match = _DESTINATION.fullmatch(word)
    if match is None:
        return None
    octets = match[1].split(".")
    address = ipv4(".".join(octets + ["0"] * (4 - len(octets))))
    if address is None:
        return None
    if match[2] is not None:
        length = int(match[2])
    elif len(octets) == 4:
        # All four octets are printed for a host, but also for a network that has host bits of
        # its class set and the class's own length, or none.
        if not host:
            return None
        length = 32
    else:
        length = _class_length(address)
    try:
        return IPv4Network((address, length))
    except ValueError:
        return None


def _row(words: list[str], netif: int) -> NetstatRoute | None:
    if not netif < len(words) <= netif + 2 or not _FLAGS.fullmatch(words[2]):
        return None
    name = device(words[netif])
    network = destination(words[0], host="H" in words[2])
    gateway = ipv4(words[1])
    on_link = _LINK.fullmatch(words[1]) or mac(words[1]) or device(words[1])
    if name is None or network is None or not (gateway or on_link):
        return None
    expire = number(words[netif + 1]) if len(words) > netif + 1 else None
    return NetstatRoute(network, gateway, words[2], name, expire)


def _class_length(address: IPv4Address) -> int:
    """As forgemask: what is neither class A nor B is taken for C."""
    first = int(address) >> 24
    return 8 if first < 128 else 16 if first < 192 else 24

"""`/sbin/route -n get ADDRESS`: the route that the kernel would use."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network

from attrs import frozen

from smolmon.macos.text import device, ipv4, number, prefix_length

_FLAGS = re.compile(r"<([A-Z0-9,]*)>")


@frozen
class RouteGet:
    """The answer. `flags` are the names that route prints (`UP`, `GATEWAY`, `REJECT`, ...);
    `mtu` is in bytes. `gateway` is None for a destination on the link itself."""

    destination: IPv4Network
    gateway: IPv4Address | None
    interface: str
    flags: frozenset[str]
    mtu: int | None = None

    @property
    def is_default(self) -> bool:
        """The default route: what is printed when there is no route of its own."""
        return self.destination.prefixlen == 0

    @property
    def refuses(self) -> bool:
        """Packets to it are dropped, as after an ARP failure."""
        return bool({"REJECT", "BLACKHOLE"} & self.flags)


def parse(text: str) -> RouteGet | None:
    """The route, or None if there is none at all (or nothing that can be read).

    The exit status says nothing, it is always 0 (source: route.tproj/route.c, `if (*cmd == 'g')
    exit(0)`). A missing route is not an error either: a machine with a default route answers
    `destination: default`, also when a whole subnet was asked for. Without one, stdout has at most
    the line `route to:` and stderr says `not in table` (source, print_getmsg). A host route has no
    line `mask:`, a route on the link no line `gateway:`.
    """
    fields: dict[str, str] = {}
    mtu = None
    lines = text.split("\n")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
        elif "mtu" in (columns := line.split()):
            mtu = _column(columns, following.split(), "mtu")
    interface = device(fields.get("interface", ""))
    network = _network(fields.get("destination", ""), fields.get("mask"))
    flags = _FLAGS.fullmatch(fields.get("flags", ""))
    if interface is None or network is None or flags is None:
        return None
    return RouteGet(
        destination=network,
        gateway=ipv4(fields.get("gateway", "")),
        interface=interface,
        flags=frozenset(filter(None, flags[1].split(","))),
        mtu=mtu,
    )


def _network(destination: str, mask: str | None) -> IPv4Network | None:
    if destination == "default":
        return IPv4Network("0.0.0.0/0") if mask in (None, "default", "0.0.0.0") else None  # noqa: S104
    address = ipv4(destination)
    dotted = ipv4(mask) if mask is not None else IPv4Address(0xFFFFFFFF)
    if address is None or dotted is None or (length := prefix_length(int(dotted))) is None:
        return None
    try:
        return IPv4Network((address, length))
    except ValueError:
        return None


def _column(columns: list[str], values: list[str], name: str) -> int | None:
    # A value may be followed by the letter L, for "locked" (source): `1500L`.
    if len(columns) != len(values):
        return None
    return number(values[columns.index(name)].removesuffix("L"))

"""`/usr/sbin/arp -an` and `-anl`: IPv4 neighbours, and which of them were heard from lately."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from attrs import frozen

from smolmon.macos.text import device, ipv4, mac, number

_NETIF_WIDTH = 8
_TIME = re.compile(r"(?:[0-9]+[dhms])+")
_ENTRY = re.compile(r"\S+ \(([0-9.]+)\) at (\S+)(?: on (\S+))?((?: .*)?)")


@frozen
class ArpEntry:
    """One neighbour. `mac` is None while it is `(incomplete)`: asked for, not answered.

    `permanent` entries are the machine's own addresses, and those set by hand.
    """

    address: IPv4Address
    mac: str | None
    device: str
    permanent: bool = False


def parse(text: str) -> tuple[ArpEntry, ...]:
    """The entries, in the tool's order.

    Source (arp.tproj/arp.c, print_entry): `? (10.10.0.3) at 36:90:11:cc:f:40 on bridge0 ifscope
    permanent [bridge]`, octets without leading zeros; ` on ...` is missing for an interface that
    is gone: left out. An entry that has expired is still printed, and nothing in the line says so.
    """
    found: list[ArpEntry] = []
    for line in text.split("\n"):
        match = _ENTRY.fullmatch(line.rstrip())
        if match is None:
            continue
        address, owner, name = ipv4(match[1]), mac(match[2]), device(match[3] or "")
        if address is None or name is None or (owner is None and match[2] != "(incomplete)"):
            continue
        found.append(ArpEntry(address, owner, name, "permanent" in match[4].split()))
    return tuple(found)


@frozen
class Reachability:
    """What the link layer knows of one neighbour.

    `recent`: a packet of its was received within the time for which the kernel takes it for
    reachable; None if the kernel does not keep that. `probes` are the requests sent in vain since.
    `device` is None if its name was cut.
    """

    address: IPv4Address
    mac: str | None
    device: str | None
    recent: bool | None
    probes: int = 0


def parse_reachability(text: str) -> tuple[Reachability, ...]:
    """The entries of `arp -anl`.

    Source (print_entry_ext): columns Neighbor, Linklayer Address, Expire(O), Expire(I), Netif,
    Refs, Prbs. Expire(I) counts down from the last packet received; it is `expired`, `(none)` or
    a time such as `2m30s`. Netif is cut to 8 characters (seen: `bridge10` for bridge100), Refs and
    Prbs may be missing.
    """
    found: list[Reachability] = []
    for line in text.split("\n"):
        words = line.split()
        address = ipv4(words[0]) if len(words) >= 5 else None
        if address is None:
            continue
        owner, name = mac(words[1]), device(words[4])
        if name is None or (owner is None and words[1] != "(incomplete)"):
            continue
        recent = {"expired": False, "(none)": None}.get(words[3], bool(_TIME.fullmatch(words[3])))
        probes = number(words[6]) if len(words) > 6 else None
        cut = len(name) >= _NETIF_WIDTH
        found.append(Reachability(address, owner, None if cut else name, recent, probes or 0))
    return tuple(found)

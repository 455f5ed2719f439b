"""`/usr/sbin/ndp -an`: IPv6 neighbours."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv6Address

from attrs import frozen

from smolmon.macos.text import device, ipv6, mac


class NdpState(str, Enum):
    """The states of neighbour discovery (RFC 4861, section 7.3.2), by the tool's letter."""

    NONE = "N"
    INCOMPLETE = "I"
    REACHABLE = "R"
    STALE = "S"
    DELAY = "D"
    PROBE = "P"


@frozen
class NdpEntry:
    """One neighbour. `mac` is None while it is `(incomplete)`; `expire` is the tool's own text
    (`23h59m58s`, `permanent`, `expired`)."""

    address: IPv6Address
    mac: str | None
    device: str
    expire: str
    state: NdpState | None
    router: bool = False


def parse(text: str) -> tuple[NdpEntry, ...]:
    """The entries, in the tool's order.

    Source (ndp.tproj/ndp.c, dump): columns Neighbor, Linklayer Address, Netif, Expire, St, Flgs,
    Prbs, widened as needed and never cut; Flgs is empty or letters (`R`: a router), Prbs is a
    number or missing. An address longer than its column is followed by one space.
    """
    states = {state.value: state for state in NdpState}
    found: list[NdpEntry] = []
    for line in text.split("\n"):
        words = line.split()
        if len(words) < 4:
            continue
        address, owner, name = ipv6(words[0]), mac(words[1]), device(words[2])
        if address is None or name is None or (owner is None and words[1] != "(incomplete)"):
            continue
        state = states.get(words[4]) if len(words) > 4 else None
        router = any("R" in word for word in words[5:6] if word.isalpha())
        found.append(NdpEntry(address, owner, name, words[3], state, router))
    return tuple(found)

"""What is known of a cluster before there is a file, and the address plan to draw the rest from.

The plan is the network guide's: 10.10.0.0/24 for the fabric, 192.168.50.0/24 and the following for
Ethernet links, a gateway before its workers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address

from attrs import frozen

from smolmon.cluster import Cluster, Kind, Platform, Segment

FABRIC = IPv4Network("10.10.0.0/24")
FABRICS = IPv4Network("10.10.0.0/16")
EDGES = tuple(IPv4Network(f"192.168.{n}.0/24") for n in range(50, 100))
PORT = 65432
INTERNET = IPv4Address("8.8.8.8")


@frozen
class Todo:
    """What a person has to look at: the dotted key that it is about, and one line."""

    key: str
    text: str


@frozen
class Draft:
    """A cluster that nothing vouches for yet. `remarks` are for the summary only.

    A node's empty `management` is left out of the file.
    """

    cluster: Cluster
    todo: tuple[Todo, ...] = ()
    remarks: tuple[str, ...] = ()


def edge_name(subnet: IPv4Network, taken: Collection[str]) -> str:
    """What to call a link: edge50 for 192.168.50.0/24."""
    third = subnet.network_address.packed[2]
    names = (f"edge{n}" for n in (third, *range(1, 256)))
    return next(name for name in names if name not in taken)


def free_edge(used: Collection[IPv4Network], hosts: Iterable[str]) -> IPv4Network:
    """The first subnet for a link that overlaps none of `used` and holds none of `hosts`."""
    known = [a for a in map(address_of, hosts) if a]
    return next(
        (e for e in EDGES if not any(map(e.overlaps, used)) and not any(a in e for a in known)),
        EDGES[0],
    )


def free_address(subnet: IPv4Network, used: Collection[IPv4Address]) -> IPv4Address:
    """The first address of `subnet` above all of `used`, or the first that is free at all."""
    inside = [a for a in used if a in subnet]
    first = max(inside, default=subnet.network_address)
    return next(
        (a for a in _from(subnet, first) if a not in used),
        next((a for a in _from(subnet, subnet.network_address) if a not in used), first),
    )


def _from(subnet: IPv4Network, last: IPv4Address) -> Iterator[IPv4Address]:
    return map(IPv4Address, range(int(last) + 1, int(subnet.broadcast_address)))


def usual_port(kind: Kind, platform: Platform, node: str, others: int) -> str:
    """What a port is mostly called; `others` Ethernet ports of the node are named already."""
    if kind is Kind.THUNDERBOLT:
        return "bridge0" if platform is Platform.MACOS else "thunderbolt0"
    if platform is Platform.MACOS:
        return f"en{5 + others}"  # a Mac mini's first USB adapter
    return "enP8p1s0" if "jetson" in node and not others else f"eth{others}"


def address_of(host: str) -> IPv4Address | None:
    """The address that `host`, or the host of `user@host`, is; None for a name."""
    try:
        found = ip_address(host.rpartition("@")[2])
    except ValueError:
        return None
    return found if isinstance(found, IPv4Address) else None


def ethernet_ports(segments: Iterable[Segment], node: str) -> int:
    """On how many Ethernet links `node` is."""
    return sum(s.kind is Kind.ETHERNET and s.member(node) is not None for s in segments)

"""From what SmolCluster's files say to a draft: what follows, what is guessed, what is unknown.

They know addresses and names, not cables: which machine an edge worker is plugged into, what its
ports are called, and how it is reached over Wi-Fi are left to a person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from attrs import evolve

from smolmon.cluster import (
    Cabling,
    Cluster,
    Internet,
    Kind,
    Member,
    Node,
    Platform,
    Segment,
    Server,
)
from smolmon.cluster.derive import AmbiguousGatewayError, uplinks
from smolmon.cluster.model import EXPECTATIONS
from smolmon.setup.init.draft import (
    EDGES,
    FABRIC,
    FABRICS,
    INTERNET,
    Draft,
    Todo,
    edge_name,
    ethernet_ports,
    free_address,
    free_edge,
    usual_port,
)
from smolmon.setup.init.names import Addresses, Known, gather, platform_of, unsure
from smolmon.setup.init.smolcluster import Source

NUMBER = re.compile(r"[1-9][0-9]?$")


def draft_of(sources: Sequence[Source]) -> Draft:
    """The draft that follows from `sources`. Raises SourceError where they name no machine."""
    known = gather(sources)
    links, wifi = _links(known)
    platforms = {name: platform_of(name) for name in known.names}
    segments = _segments(known, links, platforms)
    nodes = [_node(known, name, platforms[name], wifi.get(name)) for name in known.names]
    if any(not node.management for node in nodes):
        known.todo.append(
            Todo("nodes", "add `management: WI-FI-ADDRESS`, and see that ssh goes over Wi-Fi too")
        )
    unknown = [name for name in known.names if unsure(name)]
    if unknown:
        known.todo.append(Todo("nodes", f"linux or macos? Unknown of {', '.join(unknown)}"))
    if any(segment.kind is Kind.ETHERNET for segment in segments):
        known.todo.append(
            Todo("segments", "the Ethernet ports have their usual names; look up the real ones")
        )
    internet = Internet(INTERNET, EXPECTATIONS[Kind.WIFI])
    server = Server(known.server, known.port, segments[0].name)
    cluster = Cluster("smolcluster", tuple(nodes), tuple(segments), server, internet)
    cluster = _with_gateways(known, cluster)
    return Draft(cluster, tuple(known.todo), tuple(known.remarks))


# -- links ------------------------------------------------------------------------------------


def _links(known: Known) -> tuple[dict[IPv4Network, Addresses], dict[str, IPv4Address]]:
    """Who is on which /24 with which address, the server's first; and Wi-Fi addresses."""
    everybody = {a for name in known.names for a in known.own.get(name, ())}
    places: list[tuple[str, IPv4Address]] = [
        (name, a) for name in known.names for a in known.own.get(name, ())
    ]
    # What is nobody's own is the server's: that is what host_ip says.
    ways = dict(known.ways)
    if known.server in ways and ways[known.server] not in everybody:
        places.append((known.server, ways[known.server]))
    for _, address in sorted(known.ways):
        if address not in everybody:
            places.append((known.server, address))
    subnets = list(dict.fromkeys(_subnet(a) for _, a in places))
    planned = [s for s in subnets if s.subnet_of(FABRICS) or s in EDGES]
    crowd = Counter(_subnet(a) for _, a in set(places))
    if not planned:
        planned = [max(subnets, key=lambda s: crowd[s], default=FABRIC)]
    links: dict[IPv4Network, Addresses] = {s: {} for s in planned}
    wifi: Addresses = {}
    for name, address in dict.fromkeys(places):
        links.get(_subnet(address), wifi).setdefault(name, []).append(address)
    core = _core(known, links)
    links = {core: links[core], **links}
    for subnet, link in links.items():
        for name in link:
            key = f"segments.{_segment_name(subnet, list(links))}.members.{name}"
            link[name] = [_chosen(known, key, "address", link[name])]
    _place_the_rest(known, links, ways)
    return links, {
        name: _chosen(known, f"nodes.{name}", "Wi-Fi address", found)
        for name, found in wifi.items()
    }


def _chosen(known: Known, key: str, what: str, found: Sequence[IPv4Address]) -> IPv4Address:
    """The first of several addresses that the files give for the same thing, with a TODO."""
    if len(found) > 1:
        several = ", ".join(map(str, found))
        known.todo.append(Todo(key, f"the files disagree on its {what}: {several}"))
    return found[0]


def _subnet(address: IPv4Address) -> IPv4Network:
    return IPv4Network((int(address) & ~255, 24))


def _core(known: Known, links: dict[IPv4Network, Addresses]) -> IPv4Network:
    """The link that the server serves: its Thunderbolt one, else the one with most machines."""

    def rank(subnet: IPv4Network) -> tuple[bool, bool, int]:
        return (known.server in links[subnet], subnet.subnet_of(FABRICS), len(links[subnet]))

    return max(links, key=rank)


def _place_the_rest(
    known: Known, links: dict[IPv4Network, Addresses], ways: dict[str, IPv4Address]
) -> None:
    """Give an address to whoever has none, and join what hangs in the air; each with a TODO."""
    core = next(iter(links))
    # A number in a name is a wish for an address; who has none takes what is left, the server too.
    for name in sorted(known.names, key=lambda name: not NUMBER.search(name)):
        if name == known.server and name not in links[core]:
            _join(known, links, core, name, "the server's address here is not known;")
        if any(name in link for link in links.values()):
            continue
        way = _subnet(ways[name]) if name in ways else core
        bridge = core.subnet_of(FABRICS) and platform_of(known.server) is Platform.MACOS
        if way in links and way != core:
            _join(known, links, way, name, "its own address is not known;")
        elif platform_of(name) is Platform.MACOS or not bridge:
            _join(known, links, core, name, "its own address is not known;")
        else:
            edge = free_edge(list(links), ())
            links[edge] = {}
            _join(known, links, edge, known.server, f"what is {name} plugged into?")
            _join(known, links, edge, name, "its own address is not known;")
    while apart := _apart(links):
        _join(known, links, apart[0], known.server, "which machine joins this link to the rest?")


def _apart(links: dict[IPv4Network, Addresses]) -> list[IPv4Network]:
    """The links that no chain of machines joins to the first."""
    reached: set[str] = set()
    apart = list(links)
    while near := [s for s in apart if not reached or reached & set(links[s])]:
        near = near if reached else near[:1]
        apart = [s for s in apart if s not in near]
        reached.update(*(links[s] for s in near))
    return apart


def _wish(subnet: IPv4Network, name: str) -> IPv4Address | None:
    """The address like the number in its name: mini2 has 10.10.0.2 in the guide."""
    number = NUMBER.search(name)
    fast = subnet.subnet_of(FABRICS)
    return subnet.network_address + int(number[0]) if number and fast else None


def _join(
    known: Known, links: dict[IPv4Network, Addresses], subnet: IPv4Network, name: str, why: str
) -> None:
    """Put `name` on a link with an address that is free there, and say so."""
    used = [a for one in links[subnet].values() for a in one]
    address = _wish(subnet, name)
    if address is None or address in used:
        waiting = [n for n in known.names if not any(n in link for link in links.values())]
        wishes = (_wish(subnet, other) for other in waiting)
        address = free_address(subnet, [*used, *(wish for wish in wishes if wish)])
    links[subnet][name] = [address]
    key = f"segments.{_segment_name(subnet, list(links))}.members.{name}"
    guess = name if "?" in why else address
    known.todo.append(Todo(key, f"{why} {guess} is a guess"))


def _segment_name(subnet: IPv4Network, all_of_them: Sequence[IPv4Network]) -> str:
    names: dict[IPv4Network, str] = {}
    for one in all_of_them:
        names[one] = edge_name(one, list(names.values())) if names else "fabric"
    return names[subnet]


def _segments(
    known: Known, links: dict[IPv4Network, Addresses], platforms: dict[str, Platform]
) -> list[Segment]:
    segments: list[Segment] = []
    for subnet, link in links.items():
        macs = [name for name in link if platforms[name] is Platform.MACOS]
        bridged = {m.node for s in segments if s.kind is Kind.THUNDERBOLT for m in s.members}
        # A Mac has one Thunderbolt Bridge.
        fast = subnet.subnet_of(FABRICS) and bool(macs) and not bridged & set(link)
        kind = Kind.THUNDERBOLT if fast else Kind.ETHERNET
        name = _segment_name(subnet, list(links))
        members = tuple(
            Member(n, a, usual_port(kind, platforms[n], n, ethernet_ports(segments, n)))
            for n, [a] in sorted(link.items(), key=lambda entry: entry[1])
        )
        cabling = Cabling.CHAIN if fast else Cabling.STAR
        if fast and len(members) > 2:
            text = "is this the order of the cables? `star` if there is a hub"
            known.todo.append(Todo(f"segments.{name}", text))
        segments.append(Segment(name, kind, subnet, members, cabling, EXPECTATIONS[kind]))
    return segments


def _with_gateways(known: Known, cluster: Cluster) -> Cluster:
    """Choose, where several members of a segment could be its gateway."""
    while True:
        try:
            uplinks(cluster)
        except AmbiguousGatewayError as error:
            first, *others = error.candidates
            known.todo.append(
                Todo(f"segments.{error.segment}", f"the gateway could also be {', '.join(others)}")
            )
            segments = tuple(
                evolve(s, gateway=first) if s.name == error.segment else s for s in cluster.segments
            )
            cluster = evolve(cluster, segments=segments)
        else:
            return cluster


# -- nodes ------------------------------------------------------------------------------------


def _node(known: Known, name: str, platform: Platform, wifi: IPv4Address | None) -> Node:
    host = str(wifi) if wifi else name
    user = known.users.get(name)
    return Node(name, platform, f"{user}@{host}" if user else host, str(wifi) if wifi else "")

"""What must hold between the parts of a cluster, and what is allowed but will bite."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address
from itertools import combinations

from smolmon.cluster import timetable
from smolmon.cluster.derive import AmbiguousGatewayError, DisconnectedError, home, uplinks
from smolmon.cluster.model import Cabling, Cluster, Kind, Segment

Finding = tuple[str, str]  # the key it is about, and what is wrong with it, with the remedy


def problems_of(cluster: Cluster) -> list[Finding]:
    """What makes `cluster` unusable. Empty when it is sound."""
    found = [
        *_unknown_nodes(cluster),
        *_addresses(cluster),
        *_overlaps(cluster),
        *_ports(cluster),
        *_management(cluster),
    ]
    # The tree of segments means something only when its parts do.
    return found or list(_tree(cluster)) or list(_bandwidth(cluster))


def _unknown_nodes(cluster: Cluster) -> Iterator[Finding]:
    names = {n.name for n in cluster.nodes}
    for segment in cluster.segments:
        for member in segment.members:
            if member.node not in names:
                key = f"segments.{segment.name}.members.{member.node}"
                yield key, f"there is no node {member.node}; declare it under `nodes`"
        if segment.gateway and not segment.member(segment.gateway):
            key = f"segments.{segment.name}.gateway"
            yield key, f"{segment.gateway} is not a member of {segment.name}"
    if cluster.server.node not in names:
        yield "server.node", f"there is no node {cluster.server.node}; declare it under `nodes`"


def _addresses(cluster: Cluster) -> Iterator[Finding]:
    seen: dict[IPv4Address, str] = {}
    for segment in cluster.segments:
        for member in segment.members:
            key = f"segments.{segment.name}.members.{member.node}"
            if member.address not in segment.subnet:
                yield key, f"{member.address} is not in {segment.subnet}"
            elif member.address in (
                segment.subnet.network_address,
                segment.subnet.broadcast_address,
            ):
                yield key, f"{member.address} is not a host's address in {segment.subnet}"
            elif member.address in seen:
                yield key, f"{member.address} is already the address of {seen[member.address]}"
            seen.setdefault(member.address, f"{member.node} on {segment.name}")


def _overlaps(cluster: Cluster) -> Iterator[Finding]:
    for a, b in combinations(cluster.segments, 2):
        if a.subnet.overlaps(b.subnet):
            key = f"segments.{b.name}.subnet"
            yield key, f"{b.subnet} overlaps {a.subnet} of {a.name}; one subnet for each link"


def _ports(cluster: Cluster) -> Iterator[Finding]:
    """One port cannot be on two segments, nor belong to two nodes."""
    seen: dict[tuple[str, str], str] = {}
    macs: dict[str, str] = {}
    for segment in cluster.routed:
        for member in segment.members:
            key = f"segments.{segment.name}.members.{member.node}"
            for port in filter(None, (member.interface, member.mac)):
                other = seen.setdefault((member.node, port), segment.name)
                if other != segment.name:
                    yield key, f"{port} of {member.node} is already its port on {other}"
            if member.mac and (owner := macs.setdefault(member.mac, member.node)) != member.node:
                yield key, f"{member.mac} is already the MAC address of {owner}"


def _management(cluster: Cluster) -> Iterator[Finding]:
    """Scrapes and SSH must not depend on what they watch and change."""
    seen: dict[tuple[str, str], str] = {}
    for node in cluster.nodes:
        for key, host in (("management", node.management), ("ssh", node.ssh.rpartition("@")[2])):
            segment = _segment_at(cluster, host)
            if segment is not None:
                yield (
                    f"nodes.{node.name}.{key}",
                    f"{host} is on {segment.name}, which smolmon sets up and watches; "
                    "use the node's Wi-Fi address or name",
                )
        for key, value in (("management", node.management), ("ssh", node.ssh)):
            other = seen.setdefault((key, value), node.name)
            if other != node.name:
                yield f"nodes.{node.name}.{key}", f"{value} is already that of {other}"
    if cluster.internet and (segment := _segment_at(cluster, str(cluster.internet.address))):
        yield "internet.address", f"{cluster.internet.address} is inside {segment.name}"


def _segment_at(cluster: Cluster, host: str) -> Segment | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return next((s for s in cluster.routed if address in s.subnet), None)


def _tree(cluster: Cluster) -> Iterator[Finding]:
    try:
        tree = uplinks(cluster)
    except AmbiguousGatewayError as error:
        choice = " or ".join(error.candidates)
        yield (
            f"segments.{error.segment}",
            f"{' and '.join(error.candidates)} could both be its gateway; add `gateway: {choice}`",
        )
        return
    except DisconnectedError as error:
        for name in error.segments:
            yield (
                f"segments.{name}",
                f"its members cannot reach the server on {cluster.server.segment}; "
                "one of them must be on a segment that can",
            )
        return
    for segment in cluster.routed:
        uplink = tree.get(segment.name)
        if segment.gateway and (uplink is None or uplink.gateway != segment.gateway):
            joins = (
                "the server's own segment needs none"
                if uplink is None
                else (
                    f"{segment.gateway} is on no segment nearer to the server; use {uplink.gateway}"
                )
            )
            yield f"segments.{segment.name}.gateway", joins
    for node in cluster.nodes:
        if home(cluster, node.name) is None:
            yield (
                f"nodes.{node.name}",
                "is on no Thunderbolt or Ethernet segment, so it cannot reach the server; "
                "make it a member of one",
            )


def _bandwidth(cluster: Cluster) -> Iterator[Finding]:
    settings = cluster.bandwidth
    if settings.port in (cluster.server.port, cluster.exporter_port):
        yield "bandwidth.port", f"{settings.port} is already another port of this file"
    least = timetable.least_period(cluster)
    if settings.enabled and settings.period < least:
        yield (
            "bandwidth.period",
            f"{settings.period:g} s is too short for all tests; make it at least {least:.0f}s",
        )
    measured = {(t.source, t.target, t.link) for t in timetable.declared_tests(cluster)}
    links = {(source, target): link for source, target, link in measured}
    for known in settings.baseline:
        ends = (known.source, known.target)
        if (*ends, known.link) not in measured:
            where = (
                f"it is measured from {links[ends]}" if ends in links else "nobody measures that"
            )
            yield (
                f"bandwidth.baseline.{known.link}.{known.source}->{known.target}",
                f"there is no such test: {where}; remove this line",
            )


# Networks that other software likes to claim on such machines.
CLAIMED: tuple[tuple[IPv4Network, str], ...] = (
    (IPv4Network("172.17.0.0/16"), "Docker's first bridge"),
    (IPv4Network("172.18.0.0/16"), "the next bridge that Docker makes"),
    (IPv4Network("192.168.55.0/24"), "the Jetson's USB device network"),
    (IPv4Network("169.254.0.0/16"), "link-local addresses"),
)


def warnings_of(cluster: Cluster) -> list[Finding]:
    """What is allowed and will bite."""
    return [
        *_claimed(cluster),
        *_home_router(cluster),
        *_single_points(cluster),
        *_dual(cluster),
    ]


def _claimed(cluster: Cluster) -> Iterator[Finding]:
    for segment in cluster.routed:
        for network, owner in CLAIMED:
            if segment.subnet.overlaps(network):
                key = f"segments.{segment.name}.subnet"
                yield key, f"{segment.subnet} overlaps {network}, {owner}"


def _home_router(cluster: Cluster) -> Iterator[Finding]:
    for segment in cluster.routed:
        if segment.subnet.overlaps(IPv4Network("192.168.0.0/23")):
            key = f"segments.{segment.name}.subnet"
            yield key, f"{segment.subnet} is what many home routers use for their own network"
        if segment.subnet.overlaps(IPv4Network("192.168.50.0/24")):
            key = f"segments.{segment.name}.subnet"
            yield key, f"{segment.subnet} is the usual network of ASUS routers; check yours"


def _single_points(cluster: Cluster) -> Iterator[Finding]:
    for segment in cluster.routed:
        if segment.cabling is Cabling.CHAIN and len(segment.members) > 2:
            middle = " or ".join(m.node for m in segment.members[1:-1])
            yield (
                f"segments.{segment.name}.cabling",
                f"without {middle} the chain falls apart; nothing can route around it",
            )


def _dual(cluster: Cluster) -> Iterator[Finding]:
    gateways = {uplink.gateway for uplink in uplinks(cluster).values()}
    for node in cluster.nodes:
        on = cluster.segments_of(node.name)
        edges = [s.name for s in on if s.kind is Kind.ETHERNET]
        if node.name not in gateways and len(edges) > 1 and len(edges) == len(on):
            used = home(cluster, node.name)
            yield (
                f"nodes.{node.name}",
                f"is on {' and '.join(edges)}; its traffic to the server uses "
                f"{used.name if used else edges[0]} only",
            )

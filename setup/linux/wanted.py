"""What the cluster file asks of a Linux node's network, in the form that facts are compared in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from uuid import NAMESPACE_DNS, uuid5

from attrs import frozen

from smolmon.cluster import Cluster, Kind, derive
from smolmon.cluster.model import Apart, Segment
from smolmon.setup.linux import fence
from smolmon.setup.linux.facts import Connection, Profile, ProfileRoute, sorted_routes

PREFIX = "smolmon-"  # of the names of our profiles
ETHERNET = "802-3-ethernet"  # the only kind that they are
# Above the 0 of profiles made by hand, so that ours wins after a reboot too.
AUTOCONNECT_PRIORITY = 10


@frozen
class Peer:
    """Another node on a segment."""

    node: str
    address: IPv4Address


@frozen
class Link:
    """A node's place on a segment, as a NetworkManager profile.

    `peers` are those whose MAC addresses it is to keep.
    """

    segment: str
    subnet: IPv4Network
    profile: Profile
    peers: tuple[Peer, ...] = ()


@frozen
class Wanted:
    """What one node is to be.

    `declared` names every routed subnet of the cluster, `wifi` those of Wi-Fi: setup changes
    nothing there, but SSH and the exporter depend on them. `fence`: the rules that keep segments
    apart (fence.ruleset), None where it keeps none. `bandwidth`: whether it is to measure that.
    """

    node: str
    links: tuple[Link, ...]
    forwarding: bool
    declared: tuple[tuple[str, IPv4Network], ...]
    management: str
    port: int
    wifi: tuple[tuple[str, IPv4Network], ...] = ()
    fence: bytes | None = None
    bandwidth: bool = False

    @property
    def uuids(self) -> tuple[str, ...]:
        """The UUIDs of this node's profiles."""
        return tuple(link.profile.uuid for link in self.links)


def wanted(cluster: Cluster, node: str) -> Wanted:
    """What `cluster` asks of `node`."""
    return Wanted(
        node=node,
        links=tuple(
            Link(s.name, s.subnet, _profile(cluster, node, s.name), _peers(s, node))
            for s in cluster.segments_of(node)
        ),
        forwarding=node in derive.gateways(cluster),
        declared=tuple((s.name, s.subnet) for s in cluster.routed),
        management=cluster.node(node).management,
        port=cluster.exporter_port,
        wifi=tuple((s.name, s.subnet) for s in cluster.segments if s.kind is Kind.WIFI),
        fence=_fence(cluster, node),
        bandwidth=cluster.bandwidth.enabled,
    )


def _peers(segment: Segment, node: str) -> tuple[Peer, ...]:
    if not segment.static_neighbors:
        return ()
    return tuple(Peer(m.node, m.address) for m in segment.members if m.node != node)


def _fence(cluster: Cluster, node: str) -> bytes | None:
    """On gateways alone: nobody else passes packets on."""
    apart = [s.subnet for s in derive.kept_apart(cluster)]
    if cluster.isolation is not Apart.ENFORCE or len(apart) < 2:
        return None
    if node not in derive.gateways(cluster):
        return None
    return fence.ruleset(apart, derive.free_to_cross(cluster))


def called_ours(profile: Connection | Profile) -> bool:
    """Whether a profile looks like one of ours; a Wi-Fi or a VPN of such a name is somebody's."""
    return profile.name.startswith(PREFIX) and profile.kind == ETHERNET


def profile_uuid(cluster: str, segment: str, node: str) -> str:
    """The fixed UUID of a node's profile on a segment: a second run finds the first one's."""
    return str(uuid5(NAMESPACE_DNS, f"{cluster}.{segment}.{node}.smolmon"))


def _profile(cluster: Cluster, node: str, name: str) -> Profile:
    segment = cluster.segment(name)
    member = segment.member(node)
    assert member is not None  # noqa: S101 - by segments_of
    return Profile(
        uuid=profile_uuid(cluster.name, name, node),
        name=f"{PREFIX}{name}",
        kind=ETHERNET,
        interface=member.interface,
        mac=member.mac,
        autoconnect=True,
        priority=AUTOCONNECT_PRIORITY,
        method="manual",
        addresses=(IPv4Interface(f"{member.address}/{segment.subnet.prefixlen}"),),
        gateway="",
        routes=sorted_routes(
            ProfileRoute(route.destination, route.via)
            for route in derive.routes(cluster, node)
            if route.link == name
        ),
        never_default=True,
        dns=False,
        ipv6_method="link-local",
    )

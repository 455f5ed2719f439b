"""What the cluster file asks of a Mac's network, in the form that facts are compared in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from attrs import frozen

from smolmon.cluster import Cluster, derive
from smolmon.cluster.model import Apart, Kind
from smolmon.macos.ifconfig import Interface
from smolmon.macos.networksetup import AdditionalRoute, Method
from smolmon.setup.macos.facts import Facts, StoredService
from smolmon.setup.macos.tools import IFCONFIG, PREFIX
from smolmon.setup.shell import quote


@frozen
class Link:
    """A node's place on a segment."""

    segment: str
    kind: Kind
    address: IPv4Interface
    interface: str | None
    mac: str | None
    routes: tuple[AdditionalRoute, ...]

    @property
    def called(self) -> str:
        """What the cluster file calls its port."""
        return self.mac or self.interface or ""

    @property
    def own_service(self) -> str:
        """The name of the service that smolmon makes where the port has none."""
        return f"{PREFIX}{self.segment}"


@frozen
class Peer:
    """Another member of a segment with `static_neighbors`; `mac` where the file declares it."""

    segment: str
    node: str
    address: IPv4Address
    mac: str | None


@frozen
class Wanted:
    """What one node is to be. `declared` names every routed subnet of the cluster.

    `apart`, on a gateway with `isolation: enforce`: the subnets that open nothing towards each
    other, but for the addresses `free`. `peers`: whose MAC addresses are to be kept.
    """

    node: str
    links: tuple[Link, ...]
    forwarding: bool
    declared: tuple[tuple[str, IPv4Network], ...]
    management: str
    port: int
    apart: tuple[IPv4Network, ...] = ()
    free: tuple[IPv4Address, ...] = ()
    peers: tuple[Peer, ...] = ()

    def catches(self, network: IPv4Network) -> bool:
        """Whether a route to `network` would catch cluster traffic."""
        return any(network.overlaps(subnet) for _, subnet in self.declared)

    def contains(self, address: IPv4Address) -> bool:
        """Whether `address` lies in one of the cluster's subnets."""
        return any(address in subnet for _, subnet in self.declared)


def wanted(cluster: Cluster, node: str) -> Wanted:
    """What `cluster` asks of `node`."""
    return Wanted(
        node=node,
        links=tuple(
            Link(
                segment=segment.name,
                kind=segment.kind,
                address=IPv4Interface(f"{member.address}/{segment.subnet.prefixlen}"),
                interface=member.interface,
                mac=member.mac,
                routes=tuple(
                    AdditionalRoute(route.destination, route.via)
                    for route in derive.routes(cluster, node)
                    if route.link == segment.name
                ),
            )
            for segment in cluster.segments_of(node)
            if (member := segment.member(node))
        ),
        forwarding=node in derive.gateways(cluster),
        declared=tuple((s.name, s.subnet) for s in cluster.routed),
        management=cluster.node(node).management,
        port=cluster.exporter_port,
        apart=_apart(cluster, node),
        free=tuple(sorted(derive.free_to_cross(cluster))),
        peers=tuple(
            Peer(segment.name, member.node, member.address, member.mac)
            for segment in cluster.segments_of(node)
            if segment.static_neighbors
            for member in segment.members
            if member.node != node
        ),
    )


def _apart(cluster: Cluster, node: str) -> tuple[IPv4Network, ...]:
    if cluster.isolation is not Apart.ENFORCE or node not in derive.gateways(cluster):
        return ()
    subnets = sorted(segment.subnet for segment in derive.kept_apart(cluster))
    return tuple(subnets) if len(subnets) > 1 else ()


def port_of(link: Link, facts: Facts) -> Interface | None:
    """The interface that `link` means.

    A Thunderbolt bridge has the MAC address of one of its members, so that alone does not tell;
    and the address that an interface uses may be a private one, not its hardware's.
    """
    if link.mac is None:
        return facts.interface(link.interface or "")
    hardware = {p.device for p in facts.ports if p.mac == link.mac}
    found = [i for i in facts.interfaces if i.mac == link.mac or i.name in hardware]
    bridge = link.kind is Kind.THUNDERBOLT
    found.sort(key=lambda i: is_bridge(i) != bridge)
    return found[0] if found else None


def is_bridge(interface: Interface) -> bool:
    """Whether other interfaces are its ports."""
    return bool(interface.members) or interface.name.startswith("bridge")


def bridge_of(device: str, facts: Facts) -> str | None:
    """The bridge that `device` is a port of."""
    return next((i.name for i in facts.interfaces if device in i.members), None)


def holds(service: StoredService, link: Link) -> bool:
    """Whether a service is set to exactly the address of `link`, whatever else it is set to."""
    info = service.info
    return info is not None and info.method is Method.MANUAL and info.address == link.address.ip


def merged(link: Link, service: StoredService | None, wanted: Wanted) -> list[AdditionalRoute]:
    """The additional routes that the service is to have: foreign ones stay, then come ours."""
    there = (service.routes or ()) if service else ()
    foreign = [r for r in there if not wanted.catches(r.destination)]
    ours = sorted(link.routes, key=lambda r: (r.destination, r.gateway))
    return [*foreign, *ours]


def member_port(mac: str, kind: Kind) -> str:
    """A shell word that becomes the name of the interface with that MAC address."""
    # A Thunderbolt bridge shares its address with a member of it: `kind` decides between them.
    bridge = "1" if kind is Kind.THUNDERBOLT else "0"
    program = (
        '/^[a-z]/ { name = $1; sub(":.*", "", name) } '
        '$1 == "ether" && tolower($2) == mac { '
        "if ((name ~ /^bridge/) == bridge) { right = name } else { other = name } } "
        'END { print right != "" ? right : other }'
    )
    return f"$({IFCONFIG} -a | awk -v mac={quote(mac)} -v bridge={bridge} {quote(program)})"

"""What follows from the declared cluster: gateways, forwarding, routes, probes, must-fail pairs.

Pure functions of a :class:`~smolmon.cluster.model.Cluster`.

The segments form a tree whose root is the one that the training server serves (its *core*).
Every other segment hangs from the rest by exactly one gateway: the member that is also on a
segment nearer to the core. Traffic follows the tree, so every route has one right answer.

Who must reach whom: everybody reaches the *fabric* (the core and all Thunderbolt segments), and
whoever is on the fabric reaches every segment: without those return routes no answer comes back.
Edge segments do not reach each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

from attrs import frozen

from smolmon.cluster.model import Cabling, Cluster, Kind, Segment

# Each worker tries this many other edge segments: a ring over all of them, so that every segment
# is tried by somebody and the work of one node does not grow with the cluster.
ISOLATION_FANOUT = 2


class ProbeKind(str, Enum):
    """Why a node pings an address."""

    GATEWAY = "gateway"  # a worker's own gateway, over their common segment
    SERVER = "server"  # the training server
    FABRIC = "fabric"  # another member of the fabric
    WORKER = "worker"  # a gateway's own worker
    INTERNET = "internet"


class Purpose(str, Enum):
    """Which half of a conversation a route carries."""

    FORWARD = "forward"  # from an edge segment towards the fabric
    RETURN = "return"  # from the fabric back to an edge segment


@frozen
class Uplink:
    """How a segment hangs in the tree: `gateway` joins it to `parent`, nearer to the core."""

    gateway: str
    parent: str


@frozen
class Route:
    """A route that `node` needs: to `destination` (the segment `to`) by `via` on segment `link`."""

    node: str
    destination: IPv4Network
    to: str
    via: IPv4Address
    via_node: str
    link: str
    purpose: Purpose


@frozen
class Probe:
    """An address that `node` must reach. `rtt` is the expected round trip, in seconds.

    `link` is the segment that the packets leave by, or "internet". `gateways` are the nodes that
    pass them on, in order; the target too where the packets enter it on another segment than that
    of their address, since macOS answers those only while it forwards.
    """

    node: str
    kind: ProbeKind
    target: str
    address: IPv4Address
    link: str
    rtt: float
    gateways: tuple[str, ...] = ()


@frozen
class Step:
    """One step of a probe's way: `hop` hands the packets to `next` over the segment `over`.

    The nodes in the middle of a chain are steps too. The last step may be from the target to
    itself, over the segment of its address, where the packets come in by another one.
    """

    hop: str
    over: str
    next: str


@frozen
class Isolation:
    """An address that `node` must *not* reach over `link`.

    It says something only while `control`, an address behind the same interface, answers.
    """

    node: str
    target: str
    address: IPv4Address
    link: str
    control: IPv4Address


class AmbiguousGatewayError(ValueError):
    """Several nodes could join a segment to the rest, and the file does not choose."""

    def __init__(self, segment: str, candidates: tuple[str, ...]) -> None:
        super().__init__(f"{segment}: {', '.join(candidates)}")
        self.segment = segment
        self.candidates = candidates


class DisconnectedError(ValueError):
    """No node joins these segments to the one that the server serves."""

    def __init__(self, segments: tuple[str, ...]) -> None:
        super().__init__(", ".join(segments))
        self.segments = segments


@lru_cache(maxsize=16)
def uplinks(cluster: Cluster) -> dict[str, Uplink]:
    """The uplink of every routed segment but the core, by segment name.

    Raises AmbiguousGatewayError and DisconnectedError; a loaded cluster has passed both.
    """
    depth = _depths(cluster)
    missing = tuple(s.name for s in cluster.routed if s.name not in depth)
    if missing:
        raise DisconnectedError(missing)
    found: dict[str, Uplink] = {}
    for segment in sorted(cluster.routed, key=lambda s: depth[s.name]):
        if depth[segment.name] == 0:
            continue
        above = {
            member.node: parent.name
            for member in segment.members
            for parent in reversed(cluster.segments_of(member.node))
            if depth[parent.name] == depth[segment.name] - 1
        }
        chosen = segment.gateway if segment.gateway in above else None
        if chosen is None and len(above) > 1:
            raise AmbiguousGatewayError(segment.name, tuple(above))
        gateway = chosen or next(iter(above))
        found[segment.name] = Uplink(gateway, above[gateway])
    return found


def _depths(cluster: Cluster) -> dict[str, int]:
    """How many gateways lie between each segment and the core."""
    depth = {cluster.server.segment: 0}
    frontier = [cluster.server.segment]
    while frontier:
        reached = []
        for name in frontier:
            for member in cluster.segment(name).members:
                for neighbour in cluster.segments_of(member.node):
                    if neighbour.name not in depth:
                        depth[neighbour.name] = depth[name] + 1
                        reached.append(neighbour.name)
        frontier = reached
    return depth


def gateway_of(cluster: Cluster, segment: str) -> str | None:
    """The node that joins `segment` to the rest; None for the core."""
    uplink = uplinks(cluster).get(segment)
    return uplink.gateway if uplink else None


def gateways(cluster: Cluster) -> tuple[str, ...]:
    """The nodes that must forward packets, in the file's order."""
    forwarding = {uplink.gateway for uplink in uplinks(cluster).values()}
    return tuple(n.name for n in cluster.nodes if n.name in forwarding)


def is_fabric(cluster: Cluster, segment: Segment) -> bool:
    """Whether every node must reach `segment`."""
    return segment.kind is Kind.THUNDERBOLT or segment.name == cluster.server.segment


def home(cluster: Cluster, node: str) -> Segment | None:
    """The segment of `node` that is nearest to the core; None for a node on no routed segment."""
    return min(
        cluster.segments_of(node), key=lambda s: len(_ancestry(cluster, s.name)), default=None
    )


def role(cluster: Cluster, node: str) -> str:
    """`server`, `gateway` or `worker`: the first that is true of `node`."""
    if node == cluster.server.node:
        return "server"
    return "gateway" if node in gateways(cluster) else "worker"


def routes(cluster: Cluster, node: str) -> tuple[Route, ...]:
    """The routes that `node` needs besides those of its own interfaces, in the file's order."""
    return tuple(
        _route(cluster, node, segment)
        for segment in cluster.routed
        if (node, segment.name) in _needed_routes(cluster)
    )


def path(cluster: Cluster, node: str, segment: str) -> tuple[str, ...]:
    """The gateways that packets from `node` to `segment` pass, in order."""
    passed: list[str] = []
    here = node
    while cluster.segment(segment).member(here) is None:
        here, _ = _next_hop(cluster, here, segment)
        passed.append(here)
    return tuple(passed)


def reaches(cluster: Cluster, node: str, segment: str) -> bool:
    """Whether `node` is meant to reach the addresses of `segment`."""
    return cluster.segment(segment).member(node) is not None or (node, segment) in _needed_routes(
        cluster
    )


def way(cluster: Cluster, node: str, segment: str) -> tuple[str, ...]:
    """The segments that packets from `node` cross to reach `segment`, that one included."""
    return tuple(_way(cluster, node, segment))


@lru_cache(maxsize=16)
def _needed_routes(cluster: Cluster) -> frozenset[tuple[str, str]]:
    needed: set[tuple[str, str]] = set()
    for node in cluster.nodes:
        mine = cluster.segments_of(node.name)
        everything = any(is_fabric(cluster, s) for s in mine)
        for segment in cluster.routed:
            if not mine or not (everything or is_fabric(cluster, segment)):
                continue
            # Whoever passes these packets on must know the way too.
            for hop in (node.name, *path(cluster, node.name, segment.name)):
                if segment.member(hop) is None:
                    needed.add((hop, segment.name))
    return frozenset(needed)


def _route(cluster: Cluster, node: str, segment: Segment) -> Route:
    via_node, link = _next_hop(cluster, node, segment.name)
    return Route(
        node=node,
        destination=segment.subnet,
        to=segment.name,
        via=cluster.address(via_node, link),
        via_node=via_node,
        link=link,
        purpose=Purpose.FORWARD if is_fabric(cluster, segment) else Purpose.RETURN,
    )


def _next_hop(cluster: Cluster, node: str, segment: str) -> tuple[str, str]:
    """The gateway that `node` hands packets for `segment` to, and the segment they meet on."""
    link, onward = _way(cluster, node, segment)[:2]
    tree = uplinks(cluster)
    # Up through this segment's own gateway, or down through the gateway of the one below.
    lower = link if link in tree and tree[link].parent == onward else onward
    return tree[lower].gateway, link


def _way(cluster: Cluster, node: str, segment: str) -> list[str]:
    """The segments that packets from `node` cross to reach `segment`, that one included."""
    return min((_steps(cluster, s.name, segment) for s in cluster.segments_of(node)), key=len)


def _steps(cluster: Cluster, start: str, end: str) -> list[str]:
    """The segments from `start` to `end` along the tree, both included."""
    up, down = _ancestry(cluster, start), _ancestry(cluster, end)
    meeting = next(s for s in up if s in down)
    return [*up[: up.index(meeting) + 1], *reversed(down[: down.index(meeting)])]


def _ancestry(cluster: Cluster, segment: str) -> list[str]:
    """`segment`, its parent, ..., the core."""
    tree = uplinks(cluster)
    line = [segment]
    while line[-1] in tree:
        line.append(tree[line[-1]].parent)
    return line


def probes(cluster: Cluster, node: str) -> tuple[Probe, ...]:
    """Everything that `node` pings: its neighbours and the server, never the whole cluster."""
    return tuple(_probes(cluster, node))


def _probes(cluster: Cluster, node: str) -> Iterator[Probe]:
    server = cluster.server
    if node != server.node and cluster.segments_of(node):
        yield _probe_to(cluster, node, ProbeKind.SERVER, server.node, server.segment)
    for segment in cluster.segments_of(node):
        gateway = gateway_of(cluster, segment.name)
        fabric = is_fabric(cluster, segment)
        for member in segment.members:
            is_server = (member.node, segment.name) == (server.node, server.segment)
            if member.node == node or is_server:
                continue
            if member.node == gateway:
                yield _probe_to(cluster, node, ProbeKind.GATEWAY, gateway, segment.name)
            elif node == gateway:
                yield _probe_to(cluster, node, ProbeKind.WORKER, member.node, segment.name)
            elif fabric:
                yield _probe_to(cluster, node, ProbeKind.FABRIC, member.node, segment.name)
    if cluster.internet:
        yield Probe(
            node=node,
            kind=ProbeKind.INTERNET,
            target="internet",
            address=cluster.internet.address,
            link="internet",
            rtt=cluster.internet.expect.rtt,
        )


def _probe_to(cluster: Cluster, node: str, kind: ProbeKind, target: str, segment: str) -> Probe:
    way = _way(cluster, node, segment)
    return Probe(
        node=node,
        kind=kind,
        target=target,
        address=cluster.address(target, segment),
        link=way[0],
        # The guide's figure for a routed path is that of its slowest link.
        rtt=max(cluster.segment(name).expect.rtt for name in way),
        gateways=path(cluster, node, segment),
    )


def steps(cluster: Cluster, probe: Probe) -> tuple[Step, ...]:
    """The way of a probe's packets, in order; none for a probe that leaves the cluster."""
    if probe.kind is ProbeKind.INTERNET:
        return ()
    found: list[Step] = []
    here, link = probe.node, probe.link
    # A gateway that is itself the target is the end of the way.
    for hop in (*(g for g in probe.gateways if g != probe.target), probe.target):
        if here != probe.node:
            link = next(
                s.name for s in cluster.segments_of(here) if s.member(hop) and s.name != link
            )
        found += _along(cluster, link, here, hop)
        here = hop
    of_address = next(
        s.name
        for s in cluster.segments_of(probe.target)
        if cluster.address(probe.target, s.name) == probe.address
    )
    if of_address != link:
        found.append(Step(probe.target, of_address, probe.target))
    return tuple(found)


def ends(cluster: Cluster, probe: Probe) -> tuple[str, str]:
    """The nodes between which a probe measures, the one that is farther from the server first.

    The probes of both ends have the same. Of two that are equally far it is the one that stands
    later in the file.
    """
    names = [n.name for n in cluster.nodes]
    far, near = sorted(
        (probe.node, probe.target),
        key=lambda node: (_distance(cluster, node), names.index(node)),
        reverse=True,
    )
    return far, near


def _distance(cluster: Cluster, node: str) -> int:
    """Steps from `node` to the training server."""
    found = (steps(cluster, p) for p in probes(cluster, node) if p.kind is ProbeKind.SERVER)
    return len(next(found, ()))


def _along(cluster: Cluster, segment: str, start: str, end: str) -> list[Step]:
    """The steps between two members of a segment: one, but in a chain one for each cable."""
    members = [m.node for m in cluster.segment(segment).members]
    if cluster.segment(segment).cabling is not Cabling.CHAIN:
        return [Step(start, segment, end)]
    first, last = members.index(start), members.index(end)
    passed = members[first : last + 1] if first < last else members[last : first + 1][::-1]
    return [Step(a, segment, b) for a, b in pairwise(passed)]


def cabled(cluster: Cluster, node: str) -> tuple[tuple[str, str], ...]:
    """The segment and the node at the other end of each cable of `node` that ends at a node.

    A cable that ends at a switch or hub is not among them.
    """
    found = []
    for segment in cluster.segments_of(node):
        members = [m.node for m in segment.members]
        if segment.cabling is Cabling.CHAIN or len(members) == 2:
            place = members.index(node)
            beside = members[max(0, place - 1) : place] + members[place + 1 : place + 2]
            found += [(segment.name, other) for other in beside]
    return tuple(found)


def isolation(cluster: Cluster, node: str) -> tuple[Isolation, ...]:
    """The addresses that `node` must not reach: one on each of the next few foreign edge segments.

    Nodes on the fabric have none: they are meant to reach everything.
    """
    mine = home(cluster, node)
    gateway = gateway_of(cluster, mine.name) if mine else None
    if mine is None or gateway is None or gateway == node:
        return ()
    control = cluster.address(gateway, mine.name)
    ring = [s for s in cluster.routed if s is mine or not reaches(cluster, node, s.name)]
    start = ring.index(mine)
    foreign = (ring[start + 1 :] + ring[:start])[:ISOLATION_FANOUT]
    return tuple(
        Isolation(node, target, cluster.address(target, segment.name), mine.name, control)
        for segment in foreign
        for target in [_isolation_target(cluster, segment)]
    )


def kept_apart(cluster: Cluster) -> tuple[Segment, ...]:
    """The segments from one of which nobody may open anything towards another of them.

    But for the addresses of :func:`free_to_cross`. In the file's order.
    """
    return tuple(s for s in cluster.routed if not is_fabric(cluster, s))


def free_to_cross(cluster: Cluster) -> tuple[IPv4Address, ...]:
    """The addresses on segments of :func:`kept_apart` whose nodes are on the fabric as well."""
    return tuple(
        member.address
        for segment in kept_apart(cluster)
        for member in segment.members
        if any(is_fabric(cluster, s) for s in cluster.segments_of(member.node))
    )


def _isolation_target(cluster: Cluster, segment: Segment) -> str:
    gateway = gateway_of(cluster, segment.name)
    workers = [m.node for m in segment.members if m.node != gateway]
    return workers[0] if workers else segment.members[0].node


def labels(cluster: Cluster, node: str) -> dict[str, str]:
    """The labels that the scrape configuration attaches to all that `node` says."""
    found = {"cluster": cluster.name, "node": node, "role": role(cluster, node)}
    its_home = home(cluster, node)
    if its_home and (gateway := gateway_of(cluster, its_home.name)):
        found["gateway"] = gateway
    if its_home:
        found["segment"] = its_home.name
    return found

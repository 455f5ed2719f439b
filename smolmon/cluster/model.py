"""The declared cluster: nodes, and the segments that join them.

Plain frozen data, made by :func:`smolmon.cluster.load`. What follows from it (gateways, routes,
probes) is derived in :mod:`smolmon.cluster.derive`; nothing derived is ever stored here.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from attrs import field, frozen

from smolmon.cluster.monitor import Monitor
from smolmon.cluster.notify import Notify

DEFAULT_SERVER_PORT = 65432
DEFAULT_EXPORTER_PORT = 9742
DEFAULT_BANDWIDTH_PORT = 9743


class Kind(str, Enum):
    """What a segment is made of."""

    THUNDERBOLT = "thunderbolt"
    ETHERNET = "ethernet"
    WIFI = "wifi"  # management and internet only: never provisioned, never routed through


class Platform(str, Enum):
    """What a node runs."""

    LINUX = "linux"
    MACOS = "macos"


class Cabling(str, Enum):
    """How the members of a segment are wired to each other."""

    CHAIN = "chain"  # first to second to third ...: the ones in the middle pass frames on
    STAR = "star"  # a switch or hub in the middle; with two members, one cable


class Apart(str, Enum):
    """What becomes of packets between segments that are not to reach each other."""

    REPORT = "report"  # there are no routes; whoever adds one is found out by the exporter
    ENFORCE = "enforce"  # gateways also drop them


@frozen
class Expectation:
    """What a segment promises: round-trip time in seconds, loss as a ratio, bytes per second."""

    rtt: float
    loss: float
    bandwidth: float


# The network guide's own figures ("Network Performance Expectations").
EXPECTATIONS = {
    Kind.THUNDERBOLT: Expectation(rtt=0.0005, loss=0.01, bandwidth=20e9 / 8),
    Kind.ETHERNET: Expectation(rtt=0.002, loss=0.01, bandwidth=800e6 / 8),
    Kind.WIFI: Expectation(rtt=0.050, loss=0.01, bandwidth=50e6 / 8),
}


@frozen
class Member:
    """A node's place on a segment. `interface` or `mac`, or both, says which port it is."""

    node: str
    address: IPv4Address
    interface: str | None = None
    mac: str | None = None  # lower case, six octets with colons


@frozen
class Segment:
    """One subnet on one physical link. `members` keeps the file's order (the chain's order)."""

    name: str
    kind: Kind
    subnet: IPv4Network
    members: tuple[Member, ...]
    cabling: Cabling
    expect: Expectation
    gateway: str | None = None  # only where the file chooses between several candidates
    static_neighbors: bool = False  # whether members keep each other's MAC addresses

    def member(self, node: str) -> Member | None:
        """The place of `node` on this segment, or None."""
        return next((m for m in self.members if m.node == node), None)


@frozen
class Node:
    """A machine. `ssh` is a destination for ssh(1); `management` is where it is scraped."""

    name: str
    platform: Platform
    ssh: str
    management: str


@frozen
class Server:
    """The training server: the node, the port it listens on, and the segment it serves."""

    node: str
    port: int
    segment: str


@frozen
class Internet:
    """The address that stands for the internet in probes, and what is expected of the way there."""

    address: IPv4Address
    expect: Expectation


@frozen
class Baseline:
    """What a bandwidth test from `source` by its segment `link` to `target` once measured.

    `bandwidth` is in bytes per second.
    """

    link: str
    source: str
    target: str
    bandwidth: float


@frozen
class Bandwidth:
    """How links are measured: every path once each way in `period` seconds.

    A test lasts `duration` seconds with `streams` TCP connections, together at most `rate` bytes
    per second. `guard` (seconds) is how far the nodes' clocks may be apart. Nothing is measured
    where an interface carries more than `busy` (a ratio) of what is expected of it, nor beyond
    `daily_budget` bytes a day and node. A test may stay `tolerance` (a ratio) below its baseline.
    """

    enabled: bool = True
    period: float = 3600.0
    duration: int = 5
    streams: int = 1
    guard: float = 2.0
    busy: float = 0.1
    tolerance: float = 0.3
    port: int = DEFAULT_BANDWIDTH_PORT
    rate: float | None = None
    daily_budget: float | None = None
    baseline: tuple[Baseline, ...] = ()


# What is derived from a cluster is kept by its hash, which takes long to compute.
@frozen(cache_hash=True)
class Cluster:
    """The whole declaration."""

    name: str
    nodes: tuple[Node, ...]
    segments: tuple[Segment, ...]
    server: Server
    internet: Internet | None = None
    exporter_port: int = DEFAULT_EXPORTER_PORT
    isolation: Apart = Apart.REPORT
    bandwidth: Bandwidth = Bandwidth()
    monitor: Monitor = field(factory=Monitor)
    notify: Notify = field(factory=Notify)

    def node(self, name: str) -> Node:
        """The node called `name`. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def segment(self, name: str) -> Segment:
        """The segment called `name`. Raises KeyError."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise KeyError(name)

    @property
    def routed(self) -> tuple[Segment, ...]:
        """The segments that carry cluster traffic: all but Wi-Fi."""
        return tuple(s for s in self.segments if s.kind is not Kind.WIFI)

    def segments_of(self, node: str) -> tuple[Segment, ...]:
        """The routed segments that `node` is on, in the file's order."""
        return tuple(s for s in self.routed if s.member(node))

    @property
    def server_address(self) -> IPv4Address:
        """Where the training server listens."""
        return self.address(self.server.node, self.server.segment)

    def address(self, node: str, segment: str) -> IPv4Address:
        """The address of `node` on `segment`. Raises KeyError where it is not a member."""
        member = self.segment(segment).member(node)
        if member is None:
            raise KeyError(f"{node} is not on {segment}")
        return member.address

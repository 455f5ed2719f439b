"""Whole clusters with one fault each: what their exporters say, and which alerts that must raise.

The series follow from the cluster file, as in the exporter; who is cut off, and what is to be
notified, is written down by hand.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve, field, frozen

from smolmon.cluster import Cluster, Platform, derive, load, parse
from smolmon.cluster.derive import ProbeKind

ROOT = Path(__file__).parents[2]
GUIDE = load(ROOT / "examples" / "guide.yaml")

# A second fabric behind the first, and gateways behind gateways: s - g1 - g2 - w, and g1 - far.
NESTED = parse("""
cluster: nested
server: {node: s, port: 65432}
nodes:
  s: {platform: macos, ssh: s, management: 192.168.1.1}
  g1: {platform: macos, ssh: g1, management: 192.168.1.2}
  g2: {platform: linux, ssh: g2, management: 192.168.1.3}
  w: {platform: linux, ssh: w, management: 192.168.1.4}
  far: {platform: macos, ssh: far, management: 192.168.1.5}
segments:
  core: {kind: thunderbolt, subnet: 10.0.0.0/24, members: {s: 10.0.0.1, g1: 10.0.0.2}}
  fabric2:
    kind: thunderbolt
    subnet: 10.0.1.0/24
    members:
      g1: {address: 10.0.1.1, interface: bridge1}
      far: 10.0.1.2
  near:
    kind: ethernet
    subnet: 10.1.0.0/24
    members:
      g1: {address: 10.1.0.1, interface: en5}
      g2: {address: 10.1.0.2, interface: eth0}
  edge:
    kind: ethernet
    subnet: 10.2.0.0/24
    members:
      g2: {address: 10.2.0.1, interface: eth1}
      w: {address: 10.2.0.2, interface: eth0}
""")


@frozen
class Series:
    """What one node's exporter reports."""

    name: str
    labels: dict[str, str]
    value: float


@frozen
class Scenario:
    """One fault, what it does, and what must come of it."""

    name: str
    cluster: Cluster
    # The fault:
    forwarding: dict[str, int] = field(factory=dict)  # on (1) or off (0), where not as declared
    routes: frozenset[tuple[str, str]] = frozenset()  # missing: (node, segment)
    silent: frozenset[str] = frozenset()  # no exporter answers there
    # What it does:
    cut: frozenset[str] = frozenset()  # these nodes' pings of the server are not answered
    # What must come of it: the causes as (alert, node), and the nodes whose symptom they mute.
    causes: frozenset[tuple[str, str]] = frozenset()
    explained: frozenset[str] = frozenset()

    @property
    def suffering(self) -> frozenset[str]:
        """The nodes of which the monitor knows that they cannot reach the server."""
        return self.cut - self.silent

    @property
    def unexplained(self) -> frozenset[str]:
        """The nodes whose symptom must be notified."""
        return self.suffering - self.explained

    def healed(self) -> Scenario:
        """The same cluster without the fault."""
        return Scenario(self.name, self.cluster)

    def metrics(self, node: str) -> list[Series]:
        """What the exporter of `node` reports; nothing if it is silent."""
        if node in self.silent:
            return []
        return [
            *self._of_the_node(node),
            *self._of_its_routes(node),
            *self._of_its_probes(node),
        ]

    def _of_the_node(self, node: str) -> list[Series]:
        declared = self.cluster.node(node)
        expected = int(node in derive.gateways(self.cluster))
        info = {"platform": declared.platform.value, "ssh": declared.ssh}
        family = {"family": "ipv4"}
        enabled = self.forwarding.get(node, expected)
        return [
            Series("smolmon_node_info", info, 1),
            Series("smolmon_ip_forwarding_expected", family, expected),
            Series("smolmon_ip_forwarding_enabled", family, enabled),
        ]

    def _of_its_routes(self, node: str) -> list[Series]:
        return [
            Series(
                "smolmon_route_present",
                {
                    "destination": str(route.destination),
                    "via": str(route.via),
                    "via_node": route.via_node,
                    "to": route.to,
                    "link": route.link,
                    "device": f"{route.link}0",
                    "purpose": route.purpose.value,
                },
                int((node, route.to) not in self.routes),
            )
            for route in derive.routes(self.cluster, node)
        ]

    def _of_its_probes(self, node: str) -> list[Series]:
        series = []
        for probe in derive.probes(self.cluster, node):
            labels = {"probe": probe.kind.value, "target": probe.target, "link": probe.link}
            lost = probe.kind is ProbeKind.SERVER and node in self.cut
            series.append(Series("smolmon_ping_up", labels, int(not lost)))
            series += [
                Series("smolmon_path_hop_info", {**labels, "hop": hop}, 1) for hop in probe.gateways
            ]
        return series


def _scenario(name: str, cluster: Cluster, **rest: object) -> Scenario:
    """A scenario whose cluster is called after it, so that all of them fit into one Prometheus."""
    return Scenario(name, evolve(cluster, name=name), **rest)  # type: ignore[arg-type]


def _on_macs(cluster: Cluster) -> Cluster:
    return evolve(
        cluster, nodes=tuple(evolve(node, platform=Platform.MACOS) for node in cluster.nodes)
    )


def _set(*items: object) -> frozenset[object]:
    return frozenset(items)


OFF = "SmolmonForwardingDisabled"
NO_RETURN = "SmolmonReturnRouteMissing"
NO_ROUTE = "SmolmonRouteMissing"

SCENARIOS = [
    _scenario("healthy", GUIDE),
    _scenario("healthy-nested", NESTED),
    _scenario(
        "forwarding-off",
        GUIDE,
        forwarding={"mini3": 0},
        cut=_set("pi4", "jetson"),
        causes=_set((OFF, "mini3")),
        explained=_set("pi4", "jetson"),
    ),
    _scenario(  # Linux answers on all its addresses, forwarding or not, so nobody suffers.
        "forwarding-off-on-linux-server",
        GUIDE,
        forwarding={"mini1": 0},
        causes=_set((OFF, "mini1")),
        explained=_set("pi5"),
    ),
    _scenario(
        "forwarding-off-on-mac-server",
        _on_macs(GUIDE),
        forwarding={"mini1": 0},
        cut=_set("pi5"),
        causes=_set((OFF, "mini1")),
        explained=_set("pi5"),
    ),
    _scenario("forwarding-on-where-not-needed", GUIDE, forwarding={"mini2": 1}),
    _scenario(
        "return-route-missing",
        GUIDE,
        routes=_set(("mini1", "edge51")),
        cut=_set("pi4", "jetson"),
        causes=_set((NO_RETURN, "mini1")),
        explained=_set("pi4", "jetson"),
    ),
    _scenario(
        "return-route-missing-beside-the-path",
        GUIDE,
        routes=_set(("mini2", "edge50")),
        causes=_set((NO_RETURN, "mini2")),
    ),
    _scenario(
        "route-missing",
        GUIDE,
        routes=_set(("pi4", "fabric")),
        cut=_set("pi4"),
        causes=_set((NO_ROUTE, "pi4")),
        explained=_set("pi4"),
    ),
    _scenario(
        "server-off",
        GUIDE,
        silent=_set("mini1"),
        cut=_set("mini2", "mini3", "pi5", "pi4", "jetson"),
    ),
    _scenario("firewall-on-the-way", GUIDE, cut=_set("jetson")),
    _scenario("gateway-silent", GUIDE, silent=_set("mini3")),
    _scenario(
        "worker-silent",
        GUIDE,
        silent=_set("pi4"),
        forwarding={"mini3": 0},
        cut=_set("pi4", "jetson"),
        causes=_set((OFF, "mini3")),
        explained=_set("jetson"),
    ),
    _scenario(
        "two-faults",
        GUIDE,
        forwarding={"mini3": 0},
        cut=_set("pi4", "jetson", "mini2"),
        causes=_set((OFF, "mini3")),
        explained=_set("pi4", "jetson"),
    ),
    _scenario(
        "nested-forwarding-off",
        NESTED,
        forwarding={"g1": 0},
        cut=_set("g2", "w", "far"),
        causes=_set((OFF, "g1")),
        explained=_set("g2", "w", "far"),
    ),
    _scenario(
        "nested-inner-forwarding-off",
        NESTED,
        forwarding={"g2": 0},
        cut=_set("w"),
        causes=_set((OFF, "g2")),
        explained=_set("w"),
    ),
    _scenario(
        "nested-return-route-missing",
        NESTED,
        routes=_set(("g1", "edge")),
        cut=_set("w"),
        causes=_set((NO_RETURN, "g1")),
        explained=_set("w"),
    ),
    _scenario(
        "nested-route-missing",
        NESTED,
        routes=_set(("g2", "core")),
        cut=_set("g2", "w"),
        causes=_set((NO_ROUTE, "g2")),
        explained=_set("g2", "w"),
    ),
    _scenario(  # To a Thunderbolt segment behind another the way back is a forward route too.
        "nested-route-to-fabric2-missing",
        NESTED,
        routes=_set(("s", "fabric2")),
        cut=_set("far"),
        causes=_set((NO_ROUTE, "s")),
        explained=_set("far"),
    ),
    _scenario(  # A route to the fabric, but to a part of it where the server is not.
        "nested-route-beside-the-path-missing",
        NESTED,
        routes=_set(("w", "fabric2")),
        causes=_set((NO_ROUTE, "w")),
    ),
]

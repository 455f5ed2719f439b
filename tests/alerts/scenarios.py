"""Whole clusters with one fault each: what their exporters say, and which alerts that must raise.

The series follow from the cluster file, as in the exporter; who is cut off, and what is to be
notified, is written down by hand.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve, field, frozen

from smolmon.cluster import Cluster, Platform, derive, load, parse
from smolmon.cluster.derive import Probe, ProbeKind

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


OK = "ok"
MISSING, DISABLED, CARRIER, ADDRESS = "missing", "disabled", "carrier", "address"
# What an interface with that trouble reports: present, enabled, up, address present.
PORT = {
    OK: (1, 1, 1, 1),
    MISSING: (0, None, 0, 0),
    DISABLED: (1, 0, 0, 0),
    CARRIER: (1, 1, 0, 0),
    ADDRESS: (1, 1, 1, 0),
}


@frozen
class Scenario:
    """One fault, what it does, and what must come of it."""

    name: str
    cluster: Cluster
    # The fault:
    forwarding: dict[str, int] = field(factory=dict)  # on (1) or off (0), where not as declared
    routes: frozenset[tuple[str, str]] = frozenset()  # missing: (node, segment)
    silent: frozenset[str] = frozenset()  # no exporter answers there, but the machine does
    dead: frozenset[str] = frozenset()  # no power
    away: frozenset[str] = frozenset()  # without Wi-Fi
    ports: dict[tuple[str, str], str] = field(factory=dict)  # (node, segment): trouble
    macs: dict[tuple[str, str], str] = field(factory=dict)  # (node, target): whose address it has
    stolen: frozenset[str] = frozenset()  # nodes whose default route leaves by their own segment
    says: dict[str, tuple[Series, ...]] = field(factory=dict)  # instead of what a node would say
    # What it does, beside what follows from dead nodes and ports: whose pings are lost.
    cut: frozenset[str] = frozenset()  # pings of the server
    lost: frozenset[tuple[str, str]] = frozenset()  # (node, target)
    # What must come of it: the causes, as (alert, node), and the symptoms that nothing explains.
    causes: frozenset[tuple[str, str]] = frozenset()
    told: frozenset[tuple[str, str]] = frozenset()

    @property
    def unseen(self) -> frozenset[str]:
        """The nodes that are not scraped."""
        return self.silent | self.dead | self.away

    @property
    def suffering(self) -> frozenset[str]:
        """The nodes of which the monitor knows that they cannot reach the server."""
        return frozenset(
            node.name
            for node in self.cluster.nodes
            for probe in derive.probes(self.cluster, node.name)
            if probe.kind is ProbeKind.SERVER
            and node.name not in self.unseen
            and self._is_lost(probe)
        )

    def healed(self) -> Scenario:
        """The same cluster without the fault."""
        return Scenario(self.name, self.cluster)

    def metrics(self, node: str) -> list[Series]:
        """What the exporter of `node` reports; nothing if it is not scraped."""
        if node in self.unseen:
            return []
        found = [
            *self._of_the_node(node),
            *self._of_its_routes(node),
            *self._of_its_probes(node),
            *self._of_its_ports(node),
            *self._of_its_neighbours(node),
            *self._of_training(node),
        ]
        said = {(s.name, *s.labels.items()): s for s in found}
        said |= {(s.name, *s.labels.items()): s for s in self.says.get(node, ())}
        return list(said.values())

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
            Series("smolmon_default_route_present", {}, 1),
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
                int((node, route.to) not in self.routes and (node, route.link) not in self.ports),
            )
            for route in derive.routes(self.cluster, node)
        ]

    def _of_its_probes(self, node: str) -> list[Series]:
        series = []
        for probe in derive.probes(self.cluster, node):
            labels = {"probe": probe.kind.value, "target": probe.target, "link": probe.link}
            series.append(Series("smolmon_ping_up", labels, int(not self._is_lost(probe))))
            series.append(Series("smolmon_ping_rtt_threshold_seconds", labels, probe.rtt))
            if probe.kind is not ProbeKind.INTERNET:
                path = ">".join(derive.ends(self.cluster, probe))
                series.append(Series("smolmon_path_info", {**labels, "path": path}, 1))
            series += [
                Series("smolmon_path_hop_info", {**labels, "hop": hop}, 1) for hop in probe.gateways
            ]
            series += [
                Series(
                    "smolmon_path_step_info",
                    {**labels, "hop": s.hop, "over": s.over, "next": s.next},
                    1,
                )
                for s in derive.steps(self.cluster, probe)
            ]
        return series

    def _is_lost(self, probe: Probe) -> bool:
        steps = derive.steps(self.cluster, probe)
        ends = {(s.hop, s.over) for s in steps} | {(s.next, s.over) for s in steps}
        return (
            (probe.kind is ProbeKind.SERVER and probe.node in self.cut)
            or (probe.node, probe.target) in self.lost
            or any(node in self.dead or (node, over) in self.ports for node, over in ends)
        )

    def _of_its_ports(self, node: str) -> list[Series]:
        series = []
        for segment in self.cluster.segments_of(node):
            port = {"link": segment.name, "device": f"{segment.name}0"}
            address = {**port, "address": str(self.cluster.address(node, segment.name))}
            present, enabled, up, addressed = PORT[self.ports.get((node, segment.name), OK)]
            series += [
                Series("smolmon_network_present", port, present),
                Series("smolmon_network_up", port, up),
                Series("smolmon_address_present", address, addressed),
                Series(
                    "smolmon_default_route_on_segment",
                    port,
                    int(node in self.stolen and segment == derive.home(self.cluster, node)),
                ),
            ]
            if enabled is not None:
                series += [
                    Series("smolmon_network_enabled", port, enabled),
                    Series("smolmon_network_mac_info", {**port, "mac": mac(node)}, 1),
                    Series("smolmon_network_mtu_bytes", port, 1500),
                ]
        series += [
            Series("smolmon_cable_info", {"link": link, "target": target}, 1)
            for link, target in derive.cabled(self.cluster, node)
        ]
        return series

    def _of_its_neighbours(self, node: str) -> list[Series]:
        return [
            Series(
                "smolmon_neighbor_mac_info",
                {
                    "target": probe.target,
                    "link": probe.link,
                    "address": str(probe.address),
                    "mac": mac(self.macs.get((node, probe.target), probe.target)),
                },
                1,
            )
            for probe in derive.probes(self.cluster, node)
            if probe.kind is not ProbeKind.INTERNET and not probe.gateways
            if (node, probe.link) not in self.ports
        ]

    def _of_training(self, node: str) -> list[Series]:
        """No training is running: nobody listens, and whoever asks is refused."""
        server = self.cluster.server
        port = {"port": str(server.port)}
        if node == server.node:
            address = {"address": str(self.cluster.server_address), **port}
            return [
                Series("smolmon_listener_present", address, 0),
                Series("smolmon_listener_expected", address, 1),
            ]
        return [
            Series(
                "smolmon_tcp_connect_state",
                {"target": probe.target, "link": probe.link, **port, "state": state},
                int(state == ("timeout" if self._is_lost(probe) else "refused")),
            )
            for probe in derive.probes(self.cluster, node)
            if probe.kind is ProbeKind.SERVER
            for state in ("open", "refused", "timeout", "unreachable")
        ]


def mac(node: str) -> str:
    """A hardware address that tells whose it is."""
    return "02:" + ":".join(f"{byte:02x}" for byte in node.encode().ljust(5, b"-")[:5])


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
DEAD = "SmolmonNodeDown"
NO_EXPORTER = "SmolmonExporterDown"
NO_WIFI = "SmolmonManagementUnreachable"
NO_CARRIER = "SmolmonNoCarrier"
SWITCHED_OFF = "SmolmonInterfaceDisabled"
NO_SERVER = "SmolmonServerUnreachable"
NO_PEER = "SmolmonPeerUnreachable"
NO_INTERNET = "SmolmonInternetUnreachable"

EVERYBODY = frozenset(n.name for n in GUIDE.nodes)
PORT_LABELS = {"link": "edge51", "device": "edge510"}

SCENARIOS = [
    _scenario("healthy", GUIDE),
    _scenario("healthy-nested", NESTED),
    # -- forwarding and routes
    _scenario(
        "forwarding-off",
        GUIDE,
        forwarding={"mini3": 0},
        cut=_set("pi4", "jetson"),
        causes=_set((OFF, "mini3")),
    ),
    _scenario(  # Linux answers on all its addresses, forwarding or not, so nobody suffers.
        "forwarding-off-on-linux-server",
        GUIDE,
        forwarding={"mini1": 0},
        causes=_set((OFF, "mini1")),
    ),
    _scenario(
        "forwarding-off-on-mac-server",
        _on_macs(GUIDE),
        forwarding={"mini1": 0},
        cut=_set("pi5"),
        causes=_set((OFF, "mini1")),
    ),
    _scenario("forwarding-on-where-not-needed", GUIDE, forwarding={"mini2": 1}),
    _scenario(
        "return-route-missing",
        GUIDE,
        routes=_set(("mini1", "edge51")),
        cut=_set("pi4", "jetson"),
        causes=_set((NO_RETURN, "mini1")),
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
    ),
    _scenario(
        "route-overruled",
        GUIDE,
        cut=_set("pi4"),
        says={
            "pi4": (
                Series(
                    "smolmon_path_first_hop_as_declared",
                    {"probe": "server", "target": "mini1", "link": "edge51"},
                    0,
                ),
            )
        },
        causes=_set(("SmolmonRouteOverruled", "pi4")),
    ),
    _scenario(
        "route-overruled-on-a-gateway",
        GUIDE,
        cut=_set("mini3", "pi4", "jetson"),
        lost=_set(("mini1", "mini3")),  # its answers go the same wrong way
        says={
            "mini3": (
                Series(
                    "smolmon_path_first_hop_as_declared",
                    {"probe": "server", "target": "mini1", "link": "fabric"},
                    0,
                ),
            )
        },
        causes=_set(("SmolmonRouteOverruled", "mini3")),
    ),
    # -- nodes
    _scenario(
        "server-dead",
        GUIDE,
        dead=_set("mini1"),
        ports={("pi5", "edge50"): CARRIER},
        causes=_set((DEAD, "mini1")),
    ),
    _scenario("gateway-dead", GUIDE, dead=_set("mini3"), causes=_set((DEAD, "mini3"))),
    _scenario(
        "middle-of-the-chain-dead",
        GUIDE,
        dead=_set("mini2"),
        ports={("mini1", "fabric"): CARRIER, ("mini3", "fabric"): CARRIER},
        causes=_set((DEAD, "mini2")),
    ),
    _scenario(
        "worker-dead",
        GUIDE,
        dead=_set("pi5"),
        ports={("mini1", "edge50"): CARRIER},
        causes=_set((DEAD, "pi5")),
    ),
    _scenario("worker-behind-the-switch-dead", GUIDE, dead=_set("pi4"), causes=_set((DEAD, "pi4"))),
    _scenario("exporter-dead", GUIDE, silent=_set("mini3"), causes=_set((NO_EXPORTER, "mini3"))),
    _scenario("wifi-out", GUIDE, away=_set("pi4"), causes=_set((NO_WIFI, "pi4"))),
    _scenario(
        "wifi-out-everywhere", GUIDE, away=EVERYBODY, causes=_set(("SmolmonMonitorCutOff", ""))
    ),
    _scenario(
        "worker-silent",
        GUIDE,
        silent=_set("pi4"),
        forwarding={"mini3": 0},
        cut=_set("pi4", "jetson"),
        causes=_set((OFF, "mini3"), (NO_EXPORTER, "pi4")),
    ),
    # -- ports
    _scenario(
        "cable-pulled",
        GUIDE,
        ports={("pi5", "edge50"): CARRIER, ("mini1", "edge50"): CARRIER},
        causes=_set((NO_CARRIER, "pi5")),
    ),
    _scenario(
        "cable-to-the-switch-pulled",
        GUIDE,
        ports={("mini3", "edge51"): CARRIER},
        causes=_set((NO_CARRIER, "mini3")),
    ),
    _scenario(
        "cable-at-the-end-of-the-chain-pulled",
        GUIDE,
        ports={("mini3", "fabric"): CARRIER},
        causes=_set((NO_CARRIER, "mini3")),
    ),
    _scenario(
        "both-cables-of-a-short-chain-seen-from-its-ends",
        NESTED,
        ports={("s", "core"): CARRIER, ("g1", "core"): CARRIER},
        causes=_set((NO_CARRIER, "g1")),
    ),
    _scenario(
        "switch-off",
        GUIDE,
        ports={(node, "edge51"): CARRIER for node in ("mini3", "pi4", "jetson")},
        causes=_set(("SmolmonSwitchDown", "mini3")),
    ),
    _scenario(
        "port-off",
        GUIDE,
        ports={("mini1", "edge50"): DISABLED, ("pi5", "edge50"): CARRIER},
        causes=_set((SWITCHED_OFF, "mini1")),
    ),
    _scenario(
        "adapter-unplugged",
        GUIDE,
        ports={("mini1", "edge50"): MISSING, ("pi5", "edge50"): CARRIER},
        causes=_set(("SmolmonInterfaceMissing", "mini1")),
    ),
    _scenario(
        "address-lost",
        GUIDE,
        ports={("pi4", "edge51"): ADDRESS},
        causes=_set(("SmolmonAddressMissing", "pi4")),
    ),
    # The server's own address, which Pi 5 asks for over another segment.
    _scenario(
        "server-address-lost",
        GUIDE,
        ports={("mini1", "fabric"): ADDRESS},
        causes=_set(("SmolmonAddressMissing", "mini1")),
    ),
    # -- neighbours
    _scenario(
        "neighbor-wrong",
        GUIDE,
        macs={("pi4", "mini3"): "no-one"},
        cut=_set("pi4"),
        lost=_set(("pi4", "mini3"), ("mini3", "pi4")),
        causes=_set(("SmolmonNeighborWrong", "pi4")),
    ),
    _scenario(
        "server-looks-for-gateway-at-a-wrong-place",
        GUIDE,
        macs={("mini1", "mini3"): "no-one"},
        cut=_set("pi4", "jetson", "mini3"),
        lost=_set(("mini1", "mini3")),
        causes=_set(("SmolmonNeighborWrong", "mini1")),
    ),
    _scenario(
        "address-taken",
        GUIDE,
        macs={("mini3", "pi4"): "jetson"},
        cut=_set("pi4"),
        lost=_set(("pi4", "mini3")),
        causes=_set(("SmolmonDuplicateAddress", "jetson")),
    ),
    # -- internet
    _scenario(
        "default-route-stolen",
        GUIDE,
        stolen=_set("pi4"),
        lost=_set(("pi4", "internet")),
        causes=_set(("SmolmonDefaultRouteStolen", "pi4")),
    ),
    _scenario(
        "internet-out",
        GUIDE,
        lost=frozenset((node, "internet") for node in EVERYBODY),
        causes=_set(("SmolmonInternetDown", "")),
    ),
    _scenario(
        "internet-out-for-one",
        GUIDE,
        lost=_set(("pi4", "internet")),
        told=_set((NO_INTERNET, "pi4")),
    ),
    # -- what no rule knows the cause of
    _scenario("firewall-on-the-way", GUIDE, cut=_set("jetson"), told=_set((NO_SERVER, "jetson"))),
    _scenario(  # mini2 says it for those behind it; pi5 comes another way.
        "server-answers-nobody",
        GUIDE,
        cut=EVERYBODY - {"mini1"},
        told=_set((NO_SERVER, "mini2"), (NO_SERVER, "pi5")),
    ),
    _scenario(  # A switch that passes nothing on: the workers say it, the gateway need not.
        "switch-hangs",
        GUIDE,
        cut=_set("pi4", "jetson"),
        lost=_set(("pi4", "mini3"), ("jetson", "mini3"), ("mini3", "pi4"), ("mini3", "jetson")),
        told=_set((NO_PEER, "pi4"), (NO_PEER, "jetson")),
    ),
    _scenario(
        "two-faults",
        GUIDE,
        forwarding={"mini3": 0},
        cut=_set("pi4", "jetson", "mini2"),
        causes=_set((OFF, "mini3")),
        told=_set((NO_SERVER, "mini2")),
    ),
    # -- gateways behind gateways
    _scenario(
        "nested-forwarding-off",
        NESTED,
        forwarding={"g1": 0},
        cut=_set("g2", "w", "far"),
        causes=_set((OFF, "g1")),
    ),
    _scenario(
        "nested-inner-forwarding-off",
        NESTED,
        forwarding={"g2": 0},
        cut=_set("w"),
        causes=_set((OFF, "g2")),
    ),
    _scenario(
        "nested-return-route-missing",
        NESTED,
        routes=_set(("g1", "edge")),
        cut=_set("w"),
        causes=_set((NO_RETURN, "g1")),
    ),
    _scenario(
        "nested-route-missing",
        NESTED,
        routes=_set(("g2", "core")),
        cut=_set("g2", "w"),
        causes=_set((NO_ROUTE, "g2")),
    ),
    _scenario(  # To a Thunderbolt segment behind another the way back is a forward route too.
        "nested-route-to-fabric2-missing",
        NESTED,
        routes=_set(("s", "fabric2")),
        cut=_set("far"),
        causes=_set((NO_ROUTE, "s")),
    ),
    _scenario(  # A route to the fabric, but to a part of it where the server is not.
        "nested-route-beside-the-path-missing",
        NESTED,
        routes=_set(("w", "fabric2")),
        causes=_set((NO_ROUTE, "w")),
    ),
    _scenario(
        "nested-gateway-dead",
        NESTED,
        dead=_set("g2"),
        ports={("w", "edge"): CARRIER, ("g1", "near"): CARRIER},
        causes=_set((DEAD, "g2")),
    ),
    _scenario(
        "mtu-mismatch",
        GUIDE,
        says={"pi4": (Series("smolmon_network_mtu_bytes", PORT_LABELS, 1400),)},
        causes=_set(("SmolmonMtuMismatch", "pi4")),
    ),
]

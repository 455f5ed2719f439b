"""The rules' causes, found in one scrape of every node.

One function for each group of rules, named after its file (nodes.yml and ports.yml: cables.py).
Each compares what was seen with what
was declared, as the expressions of that file do, and gives (alert, labels). A test holds the two
together on whole clusters (tests/alerts/scenarios.py). What can be told only from history is not
here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median

from smolmon.doctor.cables import dead, nodes, ports, troubles
from smolmon.doctor.world import PORT, Hit, Labels, World, key

CLOCK_OFF = 10.0  # seconds
EXPIRES_SOON = 14 * 24 * 3600.0


def causes(world: World) -> list[Hit]:
    """All that is wrong, each once, in the order of the rules below."""
    prepare(world)
    found: dict[tuple[object, ...], Hit] = {}
    for look in RULES:
        for alert, labels in look(world):
            chosen = {"cluster": world.cluster.name, **labels}
            found.setdefault((alert, *sorted(chosen.items())), (alert, chosen))
    return list(found.values())


def prepare(world: World) -> None:
    """Note what several rules need: ports in trouble, and dead nodes."""
    for trouble, labels in troubles(world):
        port = {name: labels.get(name, "") for name in ("node", "link", "device")}
        world.add("smolmon:port_trouble:info", trouble=trouble, **port)
    for name in dead(world):
        world.add("smolmon:node_down:info", node=name)
    for labels in _wrong_neighbours(world):
        world.add("smolmon:neighbor_wrong:info", **labels)
    for labels in _filtered(world):
        world.add("smolmon:port_filtered:info", **labels)
    for name, left in _certificates(world):
        world.add("smolmon:certificate_left_seconds", left, node=name)


# --- routes.yml


def routes(world: World) -> Iterator[Hit]:
    """Forwarding, and routes on ports that are in order."""
    expected = world.keys("smolmon_ip_forwarding_expected", 1, "node", "family")
    for labels in world.where("smolmon_ip_forwarding_enabled", 0):
        if key(labels, "node", "family") in expected:
            yield "SmolmonForwardingDisabled", {"node": labels["node"]}
    troubled = world.keys("smolmon:port_trouble:info", None, *PORT)
    for labels in world.where("smolmon_route_present", 0):
        if key(labels, *PORT) not in troubled:
            purpose = labels["purpose"]
            alert = "SmolmonReturnRouteMissing" if purpose == "return" else "SmolmonRouteMissing"
            yield alert, {n: labels[n] for n in ("node", "link", "device", "purpose")}
    lost = world.keys("smolmon_route_present", 0, "node")
    for labels in world.where("smolmon_path_first_hop_as_declared", 0):
        if (labels["node"],) not in lost | {(node,) for node, _ in troubled}:
            yield "SmolmonRouteOverruled", {n: labels[n] for n in ("node", "target", "link")}
    yield from _paths(world)


def _paths(world: World) -> Iterator[Hit]:
    path = ("node", "probe", "target", "link")
    own = world.keys("smolmon_path_first_hop_as_declared", 0, "node")
    expected = {
        key(s.labels, *path): s.value for s in world.by_name.get("smolmon_path_hops_expected", ())
    }
    for sample in world.by_name.get("smolmon_path_hops", ()):
        here = key(sample.labels, *path)
        if here in expected and expected[here] != sample.value and here[:1] not in own:
            yield "SmolmonPathUnexpected", {name: sample.labels[name] for name in path}


# --- neighbors.yml


def neighbors(world: World) -> Iterator[Hit]:
    """Who looks for a neighbour at a wrong hardware address, and who has taken an address."""
    holders = defaultdict(list)
    for own in world.where("smolmon_network_mac_info"):
        holders[key(own, "link", "mac")].append(own)
    for wrong in world.where("smolmon:neighbor_wrong:info"):
        taken = {name: wrong[name] for name in ("target", "link", "address")}
        takers = holders[key(wrong, "link", "mac")]
        for taker in takers:
            port = {"node": taker["node"], "device": taker["device"]}
            yield "SmolmonDuplicateAddress", {**taken, **port}
        if not takers:
            yield "SmolmonNeighborWrong", {**taken, "node": wrong["node"], "mac": wrong["mac"]}


def _wrong_neighbours(world: World) -> Iterator[dict[str, str]]:
    right = world.keys("smolmon_network_mac_info", None, "node", "link", "mac")
    known = world.keys("smolmon_network_mac_info", None, *PORT)
    for seen in world.where("smolmon_neighbor_mac_info"):
        if key(seen, "target", "link") in known and key(seen, "target", "link", "mac") not in right:
            yield {name: seen[name] for name in ("node", "target", "link", "address", "mac")}


# --- isolation.yml, links.yml


def isolation(world: World) -> Iterator[Hit]:
    """Answers from segments that must not be reached; of either side, they count for both."""
    broken = world.keys("smolmon_check_state", 1, "node", "target", check="isolation", state="fail")
    for labels in world.where("smolmon_check_state", check="isolation", state="fail"):
        pair = key(labels, "node", "target")
        if {pair, pair[::-1]} & broken:
            yield "SmolmonIsolationBroken", {n: labels[n] for n in ("node", "target", "link")}


def links(world: World) -> Iterator[Hit]:
    """Packets of another size than the others'; half duplex."""
    sizes = defaultdict(list)
    for sample in world.by_name.get("smolmon_network_mtu_bytes", ()):
        if sample.labels["link"] != "management":
            sizes[sample.labels["link"]].append(sample)
    for ends in sizes.values():
        usual = median(end.value for end in ends)
        for end in ends:
            if end.value != usual and not (len(ends) == 2 and end.value == 1500):
                names = ("node", "link", "device")
                yield "SmolmonMtuMismatch", {name: end.labels[name] for name in names}
    for labels in world.where("smolmon_network_full_duplex", 0):
        yield "SmolmonHalfDuplex", {n: labels[n] for n in ("node", "link", "device")}


# --- server.yml


def server(world: World) -> Iterator[Hit]:
    """The training port, as its own machine and as its clients see it."""
    port = ("node", "port")
    for labels in world.where("smolmon:port_filtered:info"):
        node = {"node": labels["target"], "port": labels["port"]}
        yield "SmolmonTrainingPortFiltered", node
    bound = world.keys("smolmon_listener_bound_info", None, *port)
    present = world.keys("smolmon_listener_present", 1, *port)
    for labels in world.where("smolmon_listener_present", 0):
        if key(labels, *port) in bound:
            yield "SmolmonTrainingServerElsewhere", {name: labels[name] for name in port}
    for labels in world.where("smolmon_listener_exposed", 1):
        if key(labels, *port) in present:
            yield "SmolmonTrainingServerExposed", {name: labels[name] for name in port}
    unheard = {p["target"] for p in world.where("smolmon_ping_up", 0) if p["probe"] != "internet"}
    for name in ("smolmon_firewall_stealth", "smolmon_firewall_block_all"):
        for labels in world.where(name, 1):
            if labels["node"] in unheard:
                yield "SmolmonFirewallHidesNode", {"node": labels["node"]}


def _filtered(world: World) -> Iterator[dict[str, str]]:
    """Clients that reach the server, but not its port though a program listens there."""
    listens = world.keys("smolmon_listener_present", 1, "node", "port")
    reached = world.keys("smolmon_ping_up", 1, "node", "target", probe="server")
    for labels in world.where("smolmon_tcp_connect_state", 1):
        state = labels["state"]
        blocked = state in ("timeout", "unreachable", "denied") or (
            state == "refused" and key(labels, "target", "port") in listens
        )
        if blocked and key(labels, "node", "target") in reached:
            yield {name: labels[name] for name in ("node", "target", "port", "state")}


# --- internet.yml


def internet(world: World) -> Iterator[Hit]:
    """The way to the internet."""
    for labels in world.where("smolmon_default_route_on_segment", 1):
        yield "SmolmonDefaultRouteStolen", {n: labels[n] for n in ("node", "link", "device")}
    for labels in world.where("smolmon_default_route_present", 0):
        yield "SmolmonDefaultRouteMissing", {"node": labels["node"]}
    if internet_down(world):
        yield "SmolmonInternetDown", {}


def internet_down(world: World) -> bool:
    """Whether none of several nodes has internet."""
    asked = [s.value for s in world.by_name.get("smolmon_ping_up", ()) if _to_internet(s.labels)]
    return len(asked) > 1 and not any(asked)


def _to_internet(labels: Labels) -> bool:
    return labels["probe"] == "internet"


# --- meta.yml


def meta(world: World) -> Iterator[Hit]:
    """The exporters themselves."""
    for name in (
        "smolmon_config_last_reload_successful",
        "smolmon_web_config_last_reload_successful",
    ):
        for labels in world.where(name, 0):
            yield "SmolmonConfigInvalid", {"node": labels["node"]}
    for labels in world.where("smolmon_collector_success", 0):
        yield "SmolmonCollectorFailed", {n: labels[n] for n in ("node", "collector")}
    if len(world.keys("smolmon_topology_info", None, "hash")) > 1:
        yield "SmolmonClusterFilesDiffer", {}
    probe = ("node", "probe", "target", "link")
    seen = world.keys("smolmon_ping_up", None, *probe)
    for labels in world.where("smolmon_ping_rtt_threshold_seconds"):
        if key(labels, *probe) not in seen:
            yield "SmolmonProbeMissing", {"node": labels["node"]}
    for sample in world.by_name.get("smolmon_collector_last_success_timestamp_seconds", ()):
        late = abs(sample.time - sample.value)
        if sample.labels["collector"] == "ping" and late > CLOCK_OFF:
            world.values["SmolmonClockWrong", sample.labels["node"]] = late
            yield "SmolmonClockWrong", {"node": sample.labels["node"]}
    for sample in world.by_name.get("smolmon:certificate_left_seconds", ()):
        if sample.value < EXPIRES_SOON:
            yield "SmolmonCertificateExpiring", {"node": sample.labels["node"]}


def _certificates(world: World) -> Iterator[tuple[str, float]]:
    """Each node's certificate, and how many seconds it has left: 0 where it has ended."""
    for sample in world.by_name.get("smolmon_web_certificate_expiry_timestamp_seconds", ()):
        yield sample.labels["node"], sample.value - sample.time
    for name in sorted(world.expired):
        yield name, 0.0


# --- symptoms.yml


def symptoms(world: World) -> Iterator[Hit]:
    """Pings that get no answer, whatever the cause."""
    alerts = {"server": "SmolmonServerUnreachable", "internet": "SmolmonInternetUnreachable"}
    for labels in world.where("smolmon_ping_up", 0):
        alert = alerts.get(labels["probe"], "SmolmonPeerUnreachable")
        yield alert, {name: labels[name] for name in ("node", "probe", "target", "link")}


RULES: tuple[Callable[[World], Iterator[Hit]], ...] = (
    nodes,
    ports,
    routes,
    neighbors,
    isolation,
    links,
    server,
    internet,
    meta,
    symptoms,
)

# What only Prometheus can tell, from what it remembers.
NEED_HISTORY = (
    "SmolmonBandwidthHostLimited",
    "SmolmonBandwidthLow",
    "SmolmonBandwidthStale",
    "SmolmonBridgeLoop",
    "SmolmonClockStepped",
    "SmolmonInterfaceErrors",
    "SmolmonLatencyHigh",
    "SmolmonLinkSaturated",
    "SmolmonLinkSpeedLow",
    "SmolmonPacketLoss",
    "SmolmonTrainingServerStopped",
)

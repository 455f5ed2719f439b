"""Dead nodes and ports in trouble: nodes.yml and ports.yml, on one scrape of every node."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from smolmon.doctor.world import PORT, Hit, Key, Labels, World, key

# --- nodes.yml


def nodes(world: World) -> Iterator[Hit]:
    """Two witnesses: the management address, and the other nodes, who hear it over a cable."""
    if not world.present and len(world.cluster.nodes) > 1:
        yield "SmolmonMonitorCutOff", {}
        return
    heard = heard_by_others(world)
    for name in world.down:
        if name in world.expired:
            continue  # meta.yml tells of that
        if name in world.present:
            yield "SmolmonExporterDown", {"node": name}
        elif name in heard:
            yield "SmolmonManagementUnreachable", {"node": name}
        else:
            yield "SmolmonNodeDown", {"node": name}


def heard_by_others(world: World) -> set[str]:
    pings = world.where("smolmon_ping_up", 1)
    return {p["target"] for p in pings if p["probe"] != "internet"}


def dead(world: World) -> list[str]:
    heard = heard_by_others(world)
    return [n for n in world.down if world.present and n not in world.present and n not in heard]


# --- ports.yml


def ports(world: World) -> Iterator[Hit]:
    """Only the first of what follows from each other; a pulled cable at its farther end."""
    switches = _switches_down(world)
    near = _near_ends(world)
    excused = _excused(world, near)
    for found in world.where("smolmon:port_trouble:info"):
        labels = {name: found[name] for name in ("node", "link", "device")}
        port = key(found, *PORT)
        if found["trouble"] != "carrier":
            yield _PORT_ALERTS[found["trouble"]], labels
        elif found["link"] in switches:
            if port in near:
                yield "SmolmonSwitchDown", labels
        elif port not in excused:
            yield "SmolmonNoCarrier", labels


_PORT_ALERTS = {
    "missing": "SmolmonInterfaceMissing",
    "disabled": "SmolmonInterfaceDisabled",
    "address": "SmolmonAddressMissing",
}


def troubles(world: World) -> Iterator[tuple[str, Labels]]:
    absent = world.keys("smolmon_network_present", 0, *PORT)
    disabled = world.keys("smolmon_network_enabled", 0, *PORT)
    up = world.keys("smolmon_network_up", 1, *PORT)
    for name, trouble in (("present", "missing"), ("enabled", "disabled"), ("up", "carrier")):
        for labels in world.where(f"smolmon_network_{name}", 0):
            port = key(labels, *PORT)
            followed = trouble == "carrier" and (port in absent or port in disabled)
            if labels["link"] != "management" and not followed:
                yield trouble, labels
    for labels in world.where("smolmon_address_present", 0):
        if not labels.get("device") and key(labels, *PORT) not in absent:
            yield "missing", labels
        elif key(labels, *PORT) in up:
            yield "address", labels


def _switches_down(world: World) -> set[str]:
    """Segments with a switch, all of whose ports have lost their carrier."""
    lost = Counter(f["link"] for f in world.where("smolmon:port_trouble:info", trouble="carrier"))
    ends = Counter(f["link"] for f in world.where("smolmon_network_up"))
    cabled = {f["link"] for f in world.where("smolmon_cable_info")}
    return {link for link, n in lost.items() if n == ends[link] > 2 and link not in cabled}


def _near_ends(world: World) -> set[Key]:
    homes = world.keys("up", None, "node", "segment")
    return {
        key(labels, *PORT)
        for labels in world.where("smolmon_network_up")
        if labels.get("role") == "server" or key(labels, *PORT) not in homes
    }


def _excused(world: World, near: set[Key]) -> set[Key]:
    """Ports whose lost carrier the other end of the cable explains."""
    by_trouble = defaultdict(set)
    for found in world.where("smolmon:port_trouble:info"):
        by_trouble[found["trouble"]].add(key(found, *PORT))
    dead = {f["node"] for f in world.where("smolmon:node_down:info")}
    excused = set()
    for cable in world.where("smolmon_cable_info"):
        here, there = key(cable, *PORT), key(cable, "target", "link")
        if (
            there in by_trouble["missing"] | by_trouble["disabled"]
            or cable["target"] in dead
            or (there in by_trouble["carrier"] and here in near)
        ):
            excused.add(here)
    return excused

"""Which failing probes a known cause explains: explained.yml, on one scrape."""

from __future__ import annotations

from collections.abc import Iterator

from smolmon.doctor.causes import internet_down
from smolmon.doctor.world import Key, Labels, World, key

EXPLAINED = "smolmon:explained_probe:info"
PROBE = ("node", "probe", "target")
STEP = ("hop", "next", "over")

Explained = tuple[str, Labels, str, str]  # cause, the probe's labels, hop, to


def explain(world: World) -> None:
    """Note for each probe what breaks it, and at which node (`hop`)."""
    seen = set()
    for cause, labels, hop, to in (*_ways(world), *_nodes(world), *_rest(world), *_nearer(world)):
        row = {name: labels[name] for name in PROBE} | {"cause": cause, "hop": hop}
        row |= {"to": to} if to else {}
        if (marked := tuple(sorted(row.items()))) not in seen:
            seen.add(marked)
            world.add(EXPLAINED, **row)


def _ways(world: World) -> Iterator[Explained]:
    """Forwarding and routes."""
    expected = world.keys("smolmon_ip_forwarding_expected", 1, "node", "family")
    off = {
        n for n, f in world.keys("smolmon_ip_forwarding_enabled", 0, "node", "family") & expected
    }
    lost = world.keys("smolmon_route_present", 0, "node", "to")
    astray = world.keys("smolmon_path_first_hop_as_declared", 0, "node", "target")
    homes = {up["node"]: up.get("segment", "") for up in world.where("up", role="server")}
    for labels in world.where("smolmon_path_hop_info"):
        if labels["hop"] in off:
            yield "forwarding", labels, labels["hop"], ""
    for labels in world.where("smolmon_path_hop_info", probe="server"):
        for hop in (labels["hop"], labels["node"], labels["target"]):
            for to in (labels["link"], homes.get(labels["target"], "")):
                if (hop, to) in lost:
                    yield "route", labels, hop, to
    for step in world.where("smolmon_path_step_info"):
        # On the way there, and on the way back.
        for hop, whom in ((step["hop"], step["target"]), (step["next"], step["node"])):
            if (hop, whom) in astray:
                yield "overruled", step, hop, ""


def _nodes(world: World) -> Iterator[Explained]:
    """Dead nodes, ports in trouble, and neighbours sought at a wrong place."""
    dead = {found["node"] for found in world.where("smolmon:node_down:info")}
    ports = world.keys("smolmon:port_trouble:info", None, "node", "link")
    # (who, whom, where): what `who` sends to `whom` there is lost
    lost = world.keys("smolmon:neighbor_wrong:info", None, "node", "target", "link")
    for step in world.where("smolmon_path_step_info"):
        hop, after, over, target = step["hop"], step["next"], step["over"], step["target"]
        for node in (hop, after):
            if node in dead:
                yield "node", step, node, ""
            if (node, over) in ports:
                yield "port", step, node, ""
        for who, whom in ((hop, after), (hop, target), (after, hop), (target, hop)):
            if (who, whom, over) in lost:
                yield "neighbor", step, who, ""


def _rest(world: World) -> Iterator[Explained]:
    hiding = {
        labels["node"]
        for name in ("smolmon_firewall_stealth", "smolmon_firewall_block_all")
        for labels in world.where(name, 1)
    }
    stray = world.keys("smolmon_default_route_on_segment", 1, "node")
    stray |= world.keys("smolmon_default_route_present", 0, "node")
    out = internet_down(world)
    for labels in world.where("smolmon_ping_up"):
        if labels["target"] in hiding:
            yield "firewall", labels, labels["target"], ""
        if labels["probe"] == "internet" and (out or (labels["node"],) in stray):
            yield "internet", labels, labels["node"], ""


def _nearer(world: World) -> Iterator[Explained]:
    """Two nodes with nothing between them that do not reach each other explain who needs them."""
    down = world.keys("smolmon_ping_up", 0, *PROBE)
    steps: dict[Key, list[Labels]] = {}
    for step in world.where("smolmon_path_step_info"):
        steps.setdefault(key(step, *PROBE), []).append(step)
    silent = {probe: some[0] for probe, some in steps.items() if len(some) == 1 and probe in down}
    broken = {key(step, *STEP) for step in silent.values()}
    ends: set[Key] = {
        (probe[2], probe[0], step["link"])
        for probe, step in silent.items()
        if probe[1] in ("gateway", "server")
    }
    for probe, some in steps.items():
        for step in some:
            if probe not in silent:
                if key(step, *STEP) in broken:
                    yield "nearer", step, step["hop"], ""
            elif probe[1] in ("worker", "fabric") and key(step, "node", "target", "link") in ends:
                yield "mirror", step, step["target"], ""

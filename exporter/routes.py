"""Whether the kernel has, and would use, the routes that were declared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address

from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster, Member, derive
from smolmon.cluster.derive import ProbeKind, Route
from smolmon.exporter.interfaces import names
from smolmon.exporter.system import KernelRoute, System
from smolmon.exporter.vocabulary import Labels, metric

# An address of no cluster, behind the default route (TEST-NET-2 of RFC 5737); nothing is sent.
ELSEWHERE = IPv4Address("198.51.100.1")


def device(member: Member, system: System) -> str:
    """The interface that `member` names, by name or by hardware address; "" if there is none."""
    if member.interface is not None:
        return member.interface
    return system.interface(member.mac) if member.mac is not None else ""


def is_present(route: Route, device: str, table: Iterable[KernelRoute]) -> bool:
    """Whether packets to the destination of `route` leave by its gateway, on `device` (or any, "").

    Of several routes to one destination the kernel uses the one with the lowest metric, the first
    in the table where they are equal, and passes over the dead. It does use one whose interface has
    no carrier, in vain: such a route counts as missing.
    """
    candidates = [r for r in table if r.destination == route.destination and not r.dead]
    used = min(candidates, key=lambda r: r.metric, default=None)
    return (
        used is not None
        and used.gateway == route.via
        and not used.linkdown
        and device in ("", used.device)
    )


class RouteWatch:
    """Looks whether the declared routes are there, and counts how often each went missing.

    Belongs to the thread of its `system`. `wall` gives Unix time.
    """

    def __init__(
        self, cluster: Cluster, node: str, system: System, wall: Callable[[], float] = time.time
    ) -> None:
        self._wanted = [
            (route, member)
            for route in derive.routes(cluster, node)
            if (member := cluster.segment(route.link).member(node))
        ]
        self._system = system
        self._wall = wall
        self._present: dict[Route, bool] = {}
        self._losses = dict.fromkeys((route for route, _ in self._wanted), 0)
        self._changed: dict[Route, float] = {}

    def look(self) -> dict[Route, str]:
        """Look now; the device of each declared route. Raises OSError."""
        if not self._wanted:
            return {}
        table = self._system.routes()
        names = {m: device(m, self._system) for m in {member for _, member in self._wanted}}
        devices = {}
        for route, member in self._wanted:
            devices[route] = names[member]
            present = is_present(route, devices[route], table)
            before = self._present.get(route, present)
            if before != present:
                self._changed[route] = self._wall()
                self._losses[route] += before
            self._present[route] = present
        return devices

    def take_over(self, other: RouteWatch) -> None:
        """Go on counting where `other` left off."""
        self._present.update((r, v) for r, v in other._present.items() if r in self._losses)
        self._changed.update((r, v) for r, v in other._changed.items() if r in self._losses)
        self._losses.update((r, v) for r, v in other._losses.items() if r in self._losses)

    def collect(self) -> Iterator[Metric]:
        """What is seen now, and what was since the start. Raises OSError."""
        rows = [(_labels(r, name), r) for r, name in self.look().items()]
        yield metric("smolmon_route_present", [(labels, self._present[r]) for labels, r in rows])
        yield metric(
            "smolmon_route_losses_total", [(labels, self._losses[r]) for labels, r in rows]
        )
        yield metric(
            "smolmon_route_last_change_timestamp_seconds",
            [(labels, self._changed[r]) for labels, r in rows if r in self._changed],
        )


def default_route(cluster: Cluster, node: str, system: System) -> Iterator[Metric]:
    """Which way internet traffic leaves, and whether that is a cable of the cluster.

    Raises OSError.
    """
    address = cluster.internet.address if cluster.internet else ELSEWHERE
    way = system.way(address)
    yield metric("smolmon_default_route_present", [({}, way is not None)])
    if way:
        via = str(way.gateway or "")
        yield metric("smolmon_default_route_info", [({"device": way.device, "via": via}, 1)])
    yield metric(
        "smolmon_default_route_on_segment",
        [
            ({"link": link, "device": name}, way is not None and way.device == name)
            for link, name in names(cluster, node, system).items()
            if name
        ],
    )


def server_way(cluster: Cluster, node: str, system: System) -> Iterator[Metric]:
    """Whether the kernel, all rules and tables considered, sends packets for the server the
    declared way: a tunnel's route or rule may take them although the declared route is there.

    Raises OSError.
    """
    samples: list[tuple[Labels, float]] = []
    for probe in derive.probes(cluster, node):
        if probe.kind is not ProbeKind.SERVER:
            continue
        way = system.way(probe.address)
        member = cluster.segment(probe.link).member(node)
        wanted = next(
            (r.via for r in derive.routes(cluster, node) if probe.address in r.destination), None
        )
        name = device(member, system) if member else ""
        labels = {"probe": probe.kind.value, "target": probe.target, "link": probe.link}
        as_declared = way is not None and way.gateway == wanted and name in ("", way.device)
        samples.append((labels, as_declared))
    yield metric("smolmon_path_first_hop_as_declared", samples)


def _labels(route: Route, name: str) -> Labels:
    return {
        "destination": str(route.destination),
        "via": str(route.via),
        "via_node": route.via_node,
        "to": route.to,
        "link": route.link,
        "device": name,
        "purpose": route.purpose.value,
    }

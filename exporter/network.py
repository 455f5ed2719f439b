"""Every check of a node's network beside the pings: what runs, and what there is to scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any

from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster, derive
from smolmon.cluster.derive import ProbeKind
from smolmon.exporter import collectors, interfaces, routes, training
from smolmon.exporter.hops import HopCheck
from smolmon.exporter.host import Host
from smolmon.exporter.neighbours import NeighbourWatch
from smolmon.exporter.routes import RouteWatch
from smolmon.exporter.system import NotAvailableError, Topic
from smolmon.exporter.tcp import TcpCheck
from smolmon.exporter.watch import Watch

Collect = Callable[[], Iterable[Metric]]


class Network:
    """Lives on one event loop; asks the host's `system` in the thread of `worker` only."""

    def __init__(self, cluster: Cluster, node: str, host: Host, worker: Executor) -> None:
        self._cluster = cluster
        self._node = node
        self._system = host.system
        self._worker = worker
        self._routes = RouteWatch(cluster, node, host.system)
        self._neighbours = NeighbourWatch(cluster, node, host.system)
        self._watch = Watch(host.system.changes, self._look)
        self._server = next(
            (p for p in derive.probes(cluster, node) if p.kind is ProbeKind.SERVER), None
        )
        self._tcp: TcpCheck | None = None
        self._hops: HopCheck | None = None
        if self._server:
            address = str(self._server.address)
            self._tcp = TcpCheck(address, cluster.server.port, host.handshakes)
            if host.open_tracer:
                self._hops = HopCheck(self._server, host.open_tracer)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What has to run all the time, each until cancelled."""
        loops = [self._watch.run()]
        if self._tcp:
            loops.append(self._tcp.run())
        if self._hops:
            loops.append(self._hops.run())
        return loops

    def collectors(self) -> dict[str, Collect]:
        """What to run for a scrape, in the thread of the system. Call it on the event loop."""
        place = (self._cluster, self._node, self._system)
        collect: dict[str, Collect] = {
            "route": self._routes.collect,
            "default_route": partial(routes.default_route, *place),
            "forwarding": partial(collectors.forwarding, self._system),
            "interface": partial(interfaces.collect, *place),
            "neighbor": self._neighbours.collect,
            "training": partial(training.sockets, *place, self.own_ports),
            "wifi": partial(interfaces.wifi, self._system),
            "firewall": partial(collectors.firewall, self._system),
            "events": _now(self._watch.collect),
        }
        if self._server:
            collect["server_route"] = partial(routes.server_way, *place)
        if self._tcp and self._server:
            collect["tcp_connect"] = partial(
                training.connects,
                *(self._server.target, self._server.link, self._tcp.port, self._tcp.tally()),
            )
        if self._hops:
            collect["path"] = _now(self._hops.collect)
        return {name: partial(_available, each) for name, each in collect.items()}

    def take_over(self, other: Network) -> None:
        """Go on counting where `other`, which has stopped, left off: with what both observe."""
        self._routes.take_over(other._routes)
        self._neighbours.take_over(other._neighbours)
        self._watch.take_over(other._watch)
        if self._server != other._server:
            return
        if self._tcp and other._tcp and self._tcp.port == other._tcp.port:
            self._tcp.take_over(other._tcp)
        if self._hops and other._hops:
            self._hops.path = other._hops.path

    def is_settled(self) -> bool:
        """Whether every check has had its first result."""
        return (self._tcp is None or self._tcp.tally().state is not None) and (
            self._hops is None or self._hops.has_ended
        )

    def own_ports(self) -> frozenset[int]:
        """The local ports of our own attempts to connect, which are no training."""
        return self._tcp.own_ports if self._tcp else frozenset()

    async def _look(self, topics: frozenset[Topic]) -> None:
        if self._hops and Topic.ROUTES in topics:
            self._hops.soon()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self._see, topics)

    def _see(self, topics: frozenset[Topic]) -> None:
        # What cannot be read is reported by the next scrape.
        if topics != {Topic.NEIGHBOURS}:
            with suppress(OSError, NotAvailableError):
                self._routes.look()
        with suppress(OSError, NotAvailableError):
            self._neighbours.look()


def _now(collect: Collect) -> Collect:
    """What `collect` yields at this moment, on this thread."""
    metrics = list(collect())
    return lambda: metrics


def _available(collect: Collect) -> Iterator[Metric]:
    """What `collect` yields; nothing where the operating system never says."""
    try:
        yield from list(collect())
    except NotAvailableError:
        return

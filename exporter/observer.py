"""Everything that is observed for one version of the cluster file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster, derive
from smolmon.cluster.derive import Probe
from smolmon.exporter import collectors, pings
from smolmon.exporter.bandwidth.service import Bandwidth
from smolmon.exporter.declaration import Declaration
from smolmon.exporter.host import Host
from smolmon.exporter.isolation import IsolationChecks
from smolmon.exporter.network import Network
from smolmon.exporter.pinger import EDGES, Pinger
from smolmon.exporter.prober import Prober
from smolmon.exporter.routes import device
from smolmon.exporter.scrape import Collect, CollectorError

INTERVAL = 1.0  # seconds from one ping of a target to the next
TIMEOUT = 1.0  # seconds that a reply may take
AGAIN = 0.1  # seconds until a task that does not end is cancelled once more


class Observer:
    """Observes what `declaration` says of its node. Lives on one event loop.

    Questions to the operating system are asked in the one thread of `worker`, to which
    `host.system` belongs. `extra_edges` (seconds) make the round-trip histogram finer. With
    `measuring` it takes part in the bandwidth tests of the timetable.
    """

    def __init__(
        self,
        declaration: Declaration,
        host: Host,
        worker: ThreadPoolExecutor,
        extra_edges: Iterable[float] = (),
        measuring: bool = False,
    ) -> None:
        cluster, node = declaration.cluster, declaration.node
        self.declaration = declaration
        # What is the same in every scrape.
        self.constant = collectors.declared(cluster, node, declaration.digest)
        self.probes = derive.probes(cluster, node)
        self.prober = Prober(
            Pinger(
                [str(p.address) for p in self.probes],
                TIMEOUT,
                limits=[p.rtt for p in self.probes],
                edges={*edges(cluster), *extra_edges},
            ),
            host.open_echo,
        )
        self._host = host
        self._worker = worker
        self._network = Network(cluster, node, host, worker)
        self._bandwidth: Bandwidth | None = None
        if measuring:
            self._bandwidth = Bandwidth(
                *(cluster, node, host.system, host.another()), self._network.own_ports
            )
        self._isolation = derive.isolation(cluster, node)
        self.checks = IsolationChecks(self._isolation, host.open_echo, self._device_of)

    def collectors(self) -> dict[str, Collect]:
        """What to collect now.

        What changes all the time is looked at here, at one moment; the thread gets a copy.
        """
        seen = pings.look(self.probes, self.prober)
        states = list(self.checks.states.items())
        return {
            "ping": _unless(self.prober.trouble, partial(pings.ping, seen)),
            "isolation": _unless(self.checks.trouble, partial(collectors.isolation, states)),
            **self._network.collectors(),
            **(self._bandwidth.collectors() if self._bandwidth else {}),
        }

    def take_over(self, other: Observer) -> None:
        """Go on where `other`, which has stopped, left off: with what both observe."""
        places = {_key(p): index for index, p in enumerate(other.probes)}
        self.prober.pinger.take_over(
            other.prober.pinger, [places.get(_key(p)) for p in self.probes]
        )
        self.prober.lateness = other.prober.lateness
        self.prober.overruns = other.prober.overruns
        self.prober.clock = other.prober.clock
        self._network.take_over(other._network)
        if self._bandwidth and other._bandwidth:
            self._bandwidth.take_over(other._bandwidth)
        self.checks.states = {
            check: state for check, state in other.checks.states.items() if check in self._isolation
        }

    def rounds(self) -> int:
        """How often everything has been observed; 0 while any check has no result at all."""
        isolated = len(self.checks.states) == len(self._isolation) or self.checks.trouble
        if not isolated or not self._network.is_settled():
            return 0
        with self.prober.lock:
            self.prober.settle()
            return min((t.requests for t in self.prober.pinger.tallies()), default=sys.maxsize)

    async def run(self, interval: float = INTERVAL) -> None:
        """Observe until cancelled. Should any part of it fail, so does the whole.

        `interval` is the time from one ping of a target to the next, in seconds.
        """
        tasks = [asyncio.create_task(coroutine) for coroutine in self._loops(interval)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # Before Python 3.12 wait_for() may swallow a cancellation: say it again.
            while left := [task for task in tasks if not task.done()]:
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=AGAIN)
            self.prober.close()
            if self._bandwidth:
                self._bandwidth.close()

    def _loops(self, interval: float) -> Iterator[Coroutine[Any, Any, object]]:
        """What goes on for ever."""
        if self.probes:
            yield self.prober.run(interval)
        if self._isolation:
            yield self.checks.run()
        yield from self._network.loops()
        if self._bandwidth:
            yield from self._bandwidth.loops()

    async def _device_of(self, segment: str) -> str:
        d = self.declaration
        member = d.cluster.segment(segment).member(d.node)
        if member is None:
            return ""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, device, member, self._host.system)


def edges(cluster: Cluster) -> set[float]:
    """Where the buckets of the round-trip histogram end, in seconds.

    Every expectation of the cluster is one of them, so that the share of replies above it is exact;
    all nodes have the same, so that they can be added up.
    """
    declared = {segment.expect.rtt for segment in cluster.segments}
    if cluster.internet:
        declared.add(cluster.internet.expect.rtt)
    return {*EDGES, *declared}


def _key(probe: Probe) -> tuple[object, ...]:
    return probe.kind, probe.target, probe.link, probe.address


def _unless(trouble: str | None, collect: Collect) -> Collect:
    """`collect`, or a collector that fails for that reason."""

    def fail() -> Iterator[Metric]:
        raise CollectorError(trouble)

    return fail if trouble else collect

"""The bandwidth tests as the exporter sees them: something to run, and something to scrape."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster
from smolmon.exporter.bandwidth import collect, consent
from smolmon.exporter.bandwidth.local import Local
from smolmon.exporter.bandwidth.runner import Runner
from smolmon.exporter.system import System

Collect = Callable[[], Iterable[Metric]]


class Bandwidth:
    """Lives on one event loop. `system` is asked in the thread of scrapes.

    `looks` is asked in a thread of its own: training must not wait for a scrape, which may take
    seconds where tools do the asking.
    """

    def __init__(
        self,
        cluster: Cluster,
        node: str,
        system: System,
        looks: System,
        own_ports: Callable[[], Collection[int]],
    ) -> None:
        self._place = (cluster, node)
        self._system = system
        self._looks = looks
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="looks")
        self._local = Local(cluster, node, looks, self._looking, own_ports)
        self.runner = Runner(cluster, node, self._local)

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on until it is cancelled."""
        cluster, node = self._place
        yield self.runner.run()
        if node == cluster.server.node:
            yield consent.keep(cluster, self._local)

    def close(self) -> None:
        """Give back what the looks hold open. Once the loops are over."""
        self._looking.submit(self._looks.close)
        self._looking.shutdown(wait=False)

    def collectors(self) -> dict[str, Collect]:
        """What to run for a scrape, in the thread of the system. Call it on the event loop."""
        cluster, node = self._place
        if not cluster.bandwidth.enabled:
            return {}
        found = list(collect.results(self.runner, cluster))
        return {
            "bandwidth": lambda: found,
            "bandwidth_progress": partial(
                collect.in_progress, cluster, node, self.runner.busy, time.time(), self._system
            ),
        }

    def take_over(self, other: Bandwidth) -> None:
        """Go on counting where `other`, which has stopped, left off: with what both test."""
        self.runner.take_over(other.runner)

"""One look at a cluster: by Prometheus, or by the exporters themselves where there is none."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from attrs import evolve

from smolmon.cluster import Cluster, derive
from smolmon.observe import exporters
from smolmon.observe.exporters import Credentials, Scrape
from smolmon.observe.prometheus import Prometheus
from smolmon.observe.sample import ObserveError, Sample
from smolmon.status.seen import ANSWERED, GAUGES, LOSS, RTT, UP, Seen, between

WINDOW, LOSS_WINDOW = 60.0, 300.0  # seconds; one lost ping in a minute is more than one per cent
FIRST = 3.0  # seconds between the first two looks at the exporters, which ping once a second

Look = Callable[[], Seen]


def looks(cluster: Cluster, url: str, credentials: Callable[[], Credentials]) -> Look:
    """What gives one look after the other. It raises nothing: who is silent is part of the look."""
    prometheus = Prometheus(url)
    themselves = _Exporters(cluster, credentials)

    def look() -> Seen:
        try:
            return by_prometheus(cluster, prometheus)
        except ObserveError as error:
            return themselves.look(f"without Prometheus: {error}")

    return look


def by_prometheus(cluster: Cluster, prometheus: Prometheus) -> Seen:
    """What Prometheus knows now. Raises ObserveError, also if it does not watch this cluster."""
    this = f'cluster="{cluster.name}"'
    ups = prometheus.query(f'min by (cluster, node) (up{{job="smolmon",{this}}})')
    if not ups:
        raise ObserveError(f"Prometheus at {prometheus.url} does not watch {cluster.name}")
    samples = [Sample(UP, s.labels, s.value, s.time) for s in ups]
    samples += prometheus.query(f'{{__name__=~"{"|".join(GAUGES)}",job="smolmon",{this}}}')
    for name, expr in _QUERIES.items():
        found = prometheus.query(expr.replace("$this", this))
        samples += [Sample(name, s.labels, s.value, s.time) for s in found]
    return Seen(
        "Prometheus",
        time.time(),
        tuple(samples),
        tuple(prometheus.alerts()),
        WINDOW,
        LOSS_WINDOW,
        address=prometheus.url,
    )


_BY = "by (cluster, node, probe, target, link)"
_QUERIES = {
    RTT: "rate(smolmon_ping_rtt_seconds_sum{$this}[1m])"
    " / (rate(smolmon_ping_rtt_seconds_count{$this}[1m]) > 0)",
    LOSS: f'1 - sum {_BY} (rate(smolmon_ping_results_total{{$this,result="reply"}}[5m]))'
    f" / (sum {_BY} (rate(smolmon_ping_requests_total{{$this}}[5m])) > 0)",
    # Of those that do not answer now: when they last did.
    ANSWERED: 'max by (cluster, node) (max_over_time(timestamp(up{job="smolmon",$this} == 1)'
    '[1h:30s])) and on (cluster, node) up{job="smolmon",$this} == 0',
}


class _Exporters:
    """The exporters, and what they said in the last minutes: counters need two looks."""

    def __init__(self, cluster: Cluster, credentials: Callable[[], Credentials]) -> None:
        self._cluster = cluster
        self._credentials = credentials
        self._kept: deque[tuple[float, dict[str, Scrape]]] = deque()

    def look(self, note: str) -> Seen:
        """The state now, and the mean of the looks of the last minutes."""
        seen = Seen("the exporters", time.time(), alerts=None, note=note)
        try:
            credentials = self._credentials()
            if not self._kept:
                self._keep(exporters.scrape(self._cluster, credentials))
                time.sleep(FIRST)
            now = exporters.scrape(self._cluster, credentials)
        except ObserveError as error:
            return evolve(seen, note=f"{note}; {error}")
        since, before = self._kept[0]
        self._keep(now)
        samples: list[Sample] = []
        for name, scrape in now.items():
            samples += [s for s in scrape.samples if s.name in GAUGES]
            samples += between(before[name].samples, scrape.samples)
            labels = derive.labels(self._cluster, name)
            samples.append(Sample(UP, labels, 0.0 if scrape.why else 1.0, time.time()))
            if scrape.why:
                samples += self._answered(name)
        window = time.time() - since
        silent = {name: one.error for name, one in now.items() if one.why}
        return evolve(
            seen,
            time=time.time(),
            samples=tuple(samples),
            window=window,
            loss_window=window,
            silent=silent,
        )

    def _keep(self, scrapes: dict[str, Scrape]) -> None:
        self._kept.append((time.time(), scrapes))
        while self._kept[0][0] < time.time() - LOSS_WINDOW:
            self._kept.popleft()

    def _answered(self, node: str) -> list[Sample]:
        times = [at for at, scrapes in self._kept if not scrapes[node].why]
        labels = derive.labels(self._cluster, node)
        return [Sample(ANSWERED, labels, max(times), max(times))] if times else []

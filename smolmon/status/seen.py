"""What was asked and answered, before anything is concluded from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from smolmon.observe.prometheus import Alert
from smolmon.observe.sample import Sample

# Metrics that are looked at as they stand. All have the labels `cluster` and `node`.
GAUGES = (
    "smolmon_ping_up",
    "smolmon_ping_rtt_threshold_seconds",
    "smolmon_bandwidth_bytes_per_second",
    "smolmon_bandwidth_expected_bytes_per_second",
    "smolmon_bandwidth_last_success_timestamp_seconds",
    "smolmon_training_connections",
)
UP = "up"  # 1 for a node whose exporter answered, 0 for one that did not
RTT = "rtt"  # mean round-trip time of the window, in seconds, by the labels of a probe
LOSS = "loss"  # share of the window's requests that were not answered in time
ANSWERED = "answered"  # Unix time at which the exporter last answered, of nodes that do not now


@frozen
class Seen:
    """One look at a cluster: at `time` (Unix), by asking `source` at `address`.

    `window` and `loss_window` are the seconds that RTT and LOSS are of. `alerts` is None where
    nobody evaluates rules. `silent` says why an exporter gave nothing.
    """

    source: str
    time: float
    samples: tuple[Sample, ...] = ()
    alerts: tuple[Alert, ...] | None = None
    window: float = 0.0
    loss_window: float = 0.0
    silent: Mapping[str, str] = field(factory=dict)
    note: str = ""
    address: str = ""


def between(before: Iterable[Sample], after: Iterable[Sample]) -> list[Sample]:
    """Round-trip times and loss of the time between two scrapes of the same exporter.

    A probe without new results has none. Counters that fell began anew.
    """
    old = {_key(s): s.value for s in before}
    sums: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    labels = {}
    for sample in after:
        kind = _COUNTED.get(sample.name)
        if kind is None:
            continue
        if kind == "results" and sample.labels.get("result") != "reply":
            continue
        was = old.get(_key(sample), 0.0)
        probe = {k: v for k, v in sample.labels.items() if k != "result"}
        key = tuple(sorted(probe.items()))
        labels[key] = (probe, sample.time)
        sums.setdefault(key, {})[kind] = sample.value - (was if was <= sample.value else 0.0)
    found = []
    for key, new in sums.items():
        probe, time = labels[key]
        if new.get("count", 0) > 0 and "sum" in new:
            found.append(Sample(RTT, probe, new["sum"] / new["count"], time))
        if new.get("requests", 0) > 0 and "results" in new:
            # Both are read at the same moment; still, never less than nothing.
            found.append(Sample(LOSS, probe, max(0.0, 1 - new["results"] / new["requests"]), time))
    return found


_COUNTED = {
    "smolmon_ping_rtt_seconds_sum": "sum",
    "smolmon_ping_rtt_seconds_count": "count",
    "smolmon_ping_requests_total": "requests",
    "smolmon_ping_results_total": "results",
}


def _key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))

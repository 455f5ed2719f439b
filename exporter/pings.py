"""From the pings' accounts to metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen
from prometheus_client.metrics_core import Metric

from smolmon.cluster.derive import Probe
from smolmon.exporter.echo import Invalid
from smolmon.exporter.pinger import Tally
from smolmon.exporter.prober import LAG_EDGES, Prober
from smolmon.exporter.vocabulary import histogram, metric


@frozen
class Pings:
    """What a prober knew at one moment: a tally for each probe, and its own conduct."""

    probes: Sequence[Probe]
    tallies: Sequence[Tally]
    edges: Sequence[float]
    invalid: Mapping[Invalid, int]
    lag_counts: Sequence[int]
    lag_total: float
    overruns: int
    clock_steps: int


def look(probes: Sequence[Probe], prober: Prober) -> Pings:
    """What is known now. `prober` pings the probes' addresses, in their order."""
    with prober.lock:
        prober.settle()
        pinger, lateness = prober.pinger, prober.lateness
        return Pings(
            probes=probes,
            tallies=pinger.tallies(),
            edges=pinger.edges,
            invalid=dict(pinger.invalid),
            lag_counts=tuple(lateness.counts),
            lag_total=lateness.total,
            overruns=prober.overruns,
            clock_steps=prober.clock.steps,
        )


def ping(seen: Pings) -> Iterator[Metric]:
    """Results and round trips of the probes. What is not known yet has no sample."""
    rows = [(path_of(p), t) for p, t in zip(seen.probes, seen.tallies, strict=True)]
    known = [(path, t) for path, t in rows if t.stamped_by and t.error is not None]
    yield metric("smolmon_ping_requests_total", [(path, t.requests) for path, t in rows])
    yield metric(
        "smolmon_ping_results_total",
        (
            ({**path, "result": result.value}, count)
            for path, t in rows
            for result, count in t.results.items()
        ),
    )
    yield metric(
        "smolmon_ping_unreachable_total",
        (
            ({**path, "code": code.value}, count)
            for path, t in rows
            for code, count in t.unreachable.items()
        ),
    )
    yield metric("smolmon_ping_inflight", [(path, t.in_flight) for path, t in rows])
    yield metric("smolmon_ping_late_replies_total", [(path, t.late) for path, t in rows])
    yield metric("smolmon_ping_duplicate_replies_total", [(path, t.duplicates) for path, t in rows])
    yield metric("smolmon_ping_slow_replies_total", [(path, t.slow) for path, t in rows])
    yield metric(
        "smolmon_ping_invalid_replies_total",
        [({"reason": reason.value}, count) for reason, count in seen.invalid.items()],
    )
    yield histogram(
        "smolmon_ping_rtt_seconds", seen.edges, [(path, t.counts, t.rtt_sum) for path, t in rows]
    )
    yield metric(
        "smolmon_ping_rtt_error_seconds", [(path, t.error) for path, t in known if t.error]
    )
    yield metric("smolmon_ping_up", [(path, t.up) for path, t in rows if t.up is not None])
    yield metric(
        "smolmon_ping_last_reply_timestamp_seconds",
        [(path, t.last_reply) for path, t in rows if t.last_reply is not None],
    )
    yield metric(
        "smolmon_ping_timestamping_info",
        [
            ({**path, "tx": t.stamped_by[0].value, "rx": t.stamped_by[1].value}, 1)
            for path, t in known
            if t.stamped_by
        ],
    )
    yield histogram(
        "smolmon_scheduler_lag_seconds", LAG_EDGES, [({}, seen.lag_counts, seen.lag_total)]
    )
    yield metric("smolmon_probe_overruns_total", [({}, seen.overruns)])
    yield metric("smolmon_clock_steps_total", [({}, seen.clock_steps)])


def path_of(probe: Probe) -> dict[str, str]:
    """The labels that say which probe."""
    return {"probe": probe.kind.value, "target": probe.target, "link": probe.link}

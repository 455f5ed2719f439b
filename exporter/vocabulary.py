"""Every metric that smolmon exports: one table, and the only way to make one.

The rules are Prometheus' own (prometheus.io/docs/practices/naming): base units, counters end in
`_total`, an unknown value is absent rather than 0. `instance` and the labels that the scrape
configuration attaches (cluster, node, role, gateway, segment) never stand in this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from attrs import frozen
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

Labels = Mapping[str, str]


class Type(str, Enum):
    """The metric types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"  # always 1; what it says stands in its labels


@frozen
class Entry:
    """One metric. `unit` is the base unit that its name ends in, or "" for a plain number."""

    name: str
    type: Type
    unit: str
    labels: tuple[str, ...]
    help: str


_PATH = ("probe", "target", "link")

TABLE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "smolmon_ping_requests_total",
            Type.COUNTER,
            "",
            _PATH,
            "Echo requests accounted for: answered, timed out or refused, never in flight.",
        ),
        Entry(
            "smolmon_ping_results_total",
            Type.COUNTER,
            "",
            (*_PATH, "result"),
            "Echo requests accounted for, by result; the results add up to the requests.",
        ),
        Entry(
            "smolmon_ping_late_replies_total",
            Type.COUNTER,
            "",
            _PATH,
            "Echo replies that came after their request had been accounted for as lost.",
        ),
        Entry(
            "smolmon_ping_duplicate_replies_total",
            Type.COUNTER,
            "",
            _PATH,
            "Echo replies to a request that had already had one.",
        ),
        Entry(
            "smolmon_ping_foreign_replies_total",
            Type.COUNTER,
            "",
            (),
            "Echo replies whose sender, sequence number or payload match no request of ours.",
        ),
        Entry(
            "smolmon_ping_rtt_seconds",
            Type.HISTOGRAM,
            "seconds",
            _PATH,
            "Round-trip time of the echo requests that were answered in time.",
        ),
        Entry(
            "smolmon_ping_rtt_threshold_seconds",
            Type.GAUGE,
            "seconds",
            _PATH,
            "Declared expectation of the round-trip time.",
        ),
        Entry(
            "smolmon_ping_timestamping_info",
            Type.INFO,
            "",
            (*_PATH, "tx", "rx"),
            "Which clock (kernel or user) stamped the last answered request and its reply.",
        ),
        Entry(
            "smolmon_ping_up",
            Type.GAUGE,
            "",
            _PATH,
            "1 if one of the last three accounted requests was answered, 0 if none was.",
        ),
        Entry(
            "smolmon_ping_last_reply_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            _PATH,
            "Unix time of the last echo reply that came in time.",
        ),
        Entry(
            "smolmon_path_hop_info",
            Type.INFO,
            "",
            (*_PATH, "hop"),
            "A gateway on the declared path of a probe.",
        ),
        Entry(
            "smolmon_check_state",
            Type.GAUGE,
            "",
            ("check", "target", "link", "state"),
            "1 for the state (pass, fail or inconclusive) that the check is in, 0 for the others.",
        ),
        Entry(
            "smolmon_route_present",
            Type.GAUGE,
            "",
            ("destination", "via", "via_node", "to", "link", "device", "purpose"),
            "1 if the kernel would use the declared route, 0 if it is missing or overruled.",
        ),
        Entry(
            "smolmon_ip_forwarding_enabled",
            Type.GAUGE,
            "",
            ("family",),
            "1 if the node forwards packets between its interfaces.",
        ),
        Entry(
            "smolmon_ip_forwarding_expected",
            Type.GAUGE,
            "",
            ("family",),
            "1 if the declared cluster needs the node to forward packets.",
        ),
        Entry(
            "smolmon_node_info",
            Type.INFO,
            "",
            ("platform", "ssh"),
            "The node's platform and ssh destination, as declared.",
        ),
        Entry(
            "smolmon_topology_info",
            Type.INFO,
            "",
            ("hash",),
            "Digest of the cluster file that the exporter runs with.",
        ),
        Entry(
            "smolmon_build_info",
            Type.INFO,
            "",
            ("version", "python"),
            "Version of smolmon, and of the Python that runs it.",
        ),
        Entry(
            "smolmon_collector_success",
            Type.GAUGE,
            "",
            ("collector",),
            "1 if the collector succeeded in this scrape, 0 if it failed.",
        ),
        Entry(
            "smolmon_collector_duration_seconds",
            Type.GAUGE,
            "seconds",
            ("collector",),
            "How long the collector took in this scrape.",
        ),
        Entry(
            "smolmon_collector_last_success_timestamp_seconds",
            Type.GAUGE,
            "seconds",
            ("collector",),
            "Unix time of the collector's last success.",
        ),
    )
}


def metric(name: str, samples: Iterable[tuple[Labels, float]]) -> Metric:
    """The counter, gauge or info metric `name` with a sample for each (labels, value).

    Raises KeyError for a name that is not in the table, ValueError for labels that are not its own.
    """
    entry = TABLE[name]
    if entry.type is Type.INFO:
        info = InfoMetricFamily(name.removesuffix("_info"), entry.help)
        for labels, _ in samples:
            _values(entry, labels)
            info.add_metric([], dict(labels))
        return info
    make = CounterMetricFamily if entry.type is Type.COUNTER else GaugeMetricFamily
    family = make(name, entry.help, labels=entry.labels, unit=entry.unit)
    for labels, value in samples:
        family.add_metric(_values(entry, labels), value)
    return family


def histogram(
    name: str, edges: Sequence[float], samples: Iterable[tuple[Labels, Sequence[int], float]]
) -> Metric:
    """The histogram `name` with a series for each (labels, counts, sum).

    `counts` holds one number for each bucket that ends at an edge, and one for what lies above the
    last; they do not accumulate.
    """
    entry = TABLE[name]
    family = HistogramMetricFamily(name, entry.help, labels=entry.labels, unit=entry.unit)
    for labels, counts, total in samples:
        buckets: list[tuple[str, float]] = []
        below = 0
        for edge, count in zip([*map(repr, edges), "+Inf"], counts, strict=True):
            below += count
            buckets.append((edge, below))
        family.add_metric(_values(entry, labels), buckets, total)
    return family


def _values(entry: Entry, labels: Labels) -> list[str]:
    if labels.keys() != set(entry.labels):
        raise ValueError(f"{entry.name} has labels {entry.labels}, not {tuple(labels)}")
    return [labels[name] for name in entry.labels]

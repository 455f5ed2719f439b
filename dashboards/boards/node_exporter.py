"""Node's lower half: what the exporter costs, and how good its measurements are."""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.boards.columns import MERGE, organized
from smolmon.dashboards.common import C, N
from smolmon.dashboards.grafana import NONE_IS_GOOD, graph, override, query, states, table

YES_NO = {1: ("yes", "green"), 0: ("no", "red")}


def cost() -> tuple[Any, ...]:
    """Processor, memory, files, lag, collectors."""
    lag = f"sum by (le) (rate(smolmon_scheduler_lag_seconds_bucket{{{N}}}[$__rate_interval]))"
    return (
        graph(
            "Processor",
            "Share of one core that the exporter uses.",
            [query(f"rate(process_cpu_seconds_total{{{N}}}[$__rate_interval])", "exporter")],
            unit="percentunit",
            size=(8, 7),
        ),
        graph(
            "Memory",
            "Memory that the exporter keeps, and that it has been promised.",
            [
                query(f"process_resident_memory_bytes{{{N}}}", "resident"),
                query(f"process_virtual_memory_bytes{{{N}}}", "virtual"),
            ],
            unit="bytes",
            size=(8, 7),
        ),
        graph(
            "Open files",
            "File descriptors, sockets included, and how many there may be.",
            [
                query(f"process_open_fds{{{N}}}", "open"),
                query(f"process_max_fds{{{N}}}", "limit"),
            ],
            unit="short",
            logarithmic=True,
            low=None,
            size=(8, 7),
        ),
        graph(
            "Lag",
            "How late bursts of echo requests left: median and 99th percentile. More than the "
            "expected round trips: the machine is too busy to measure them well.",
            [
                query(f"histogram_quantile({q}, {lag})", name)
                for q, name in ((0.5, "median"), (0.99, "p99"))
            ],
            unit="s",
            interval="1m",
            size=(8, 7),
        ),
        graph(
            "Collectors",
            "How long each part of a scrape took, and whether it failed.",
            [
                query(f"smolmon_collector_duration_seconds{{{N}}}", "{{collector}}"),
            ],
            unit="s",
            size=(8, 7),
        ),
        table(
            "Collectors' state",
            "Whether each part of the last scrape worked, and when it last did.",
            [
                query(f"min by (collector) (smolmon_collector_success{{{N}}})", table=True),
                query(
                    "1000 * max by (collector) "
                    f"(smolmon_collector_last_success_timestamp_seconds{{{N}}})",
                    table=True,
                ),
            ],
            transformations=[
                MERGE,
                organized(
                    "collector",
                    "Value #A",
                    "Value #B",
                    **{"Value #A": "works", "Value #B": "last worked"},
                ),
            ],
            overrides=[
                override("works", {"mappings": states(YES_NO)}),
                override("last worked", {"unit": "dateTimeFromNow"}),
            ],
            size=(8, 7),
        ),
    )


def quality() -> tuple[Any, ...]:
    """What may be wrong with the numbers."""
    return (
        graph(
            "Bursts left out, clocks set",
            "Bursts of requests that were left out because the process was held up, and how often "
            "the system's clock was set or the machine slept.",
            [
                query(
                    f"increase(smolmon_probe_overruns_total{{{N}}}[$__rate_interval])", "left out"
                ),
                query(f"increase(smolmon_clock_steps_total{{{N}}}[$__rate_interval])", "clock set"),
            ],
            unit="short",
            draw="bars",
            fill=80,
            thresholds=NONE_IS_GOOD,
            size=(8, 7),
        ),
        graph(
            "Replies that match no request",
            "By what is wrong with them: somebody else's, or not ours any more.",
            [
                query(
                    f"rate(smolmon_ping_invalid_replies_total{{{N}}}[$__rate_interval])",
                    "{{reason}}",
                )
            ],
            unit="cps",
            size=(8, 7),
        ),
        graph(
            "Error of the measurement",
            "How far round-trip times may be off, by the clocks that measured them.",
            [
                query(
                    f"max by (target, probe) (smolmon_ping_rtt_error_seconds{{{N}}})",
                    "{{target}} ({{probe}})",
                )
            ],
            unit="s",
            size=(8, 7),
        ),
        table(
            "Which file it runs with",
            "Digest of the cluster file. All nodes must have the same.",
            [query(f"max by (node, hash) (smolmon_topology_info{{{C}}})", table=True)],
            transformations=[organized("node", "hash", hidden=["Value"])],
            size=(12, 7),
        ),
        table(
            "Clocks in use",
            "Which clock stamped the last request and its reply, for each address.",
            [
                query(
                    f"max by (target, probe, tx, rx) (smolmon_ping_timestamping_info{{{N}}})",
                    table=True,
                )
            ],
            transformations=[
                organized("target", "probe", "tx", "rx", hidden=["Value"], tx="sent", rx="received")
            ],
            size=(12, 7),
        ),
    )

"""Training and bandwidth: what the network can carry, and what training makes of it."""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.boards.columns import MERGE, organized
from smolmon.dashboards.common import TRAINING, C, events, variables
from smolmon.dashboards.grafana import (
    AT_LEAST,
    Section,
    bars,
    graph,
    override,
    query,
    stat,
    table,
    timeline,
)
from smolmon.dashboards.grafana import (
    board as board_of,
)
from smolmon.dashboards.mend import Json

KEYS = "cluster, node, target, link, direction"
RECEIVED = f'{C},direction="receive"'
ACTIVE = f"max by (cluster) (smolmon_training_connections{{{C}}}) > 0"


def board() -> Json:
    """The board."""
    return board_of(
        TRAINING,
        "smolmon · Training and bandwidth",
        "Bandwidth tests: when, how much, against what; and how training loads the network.",
        [
            Section("Training", _training()),
            Section("Results", _results()),
            Section("Timetable", _timetable()),
        ],
        variables=variables(),
        annotations=events(),
        since="now-6h",
        refresh="30s",
    )


def _mean(condition: str) -> str:
    pings = f'{C},probe="server"'
    return (
        "(max by (node, target) ("
        f"rate(smolmon_ping_rtt_seconds_sum{{{pings}}}[$__rate_interval])"
        f" / (rate(smolmon_ping_rtt_seconds_count{{{pings}}}[$__rate_interval]) > 0)"
        f" {condition}))"
    )


def _training() -> tuple[Any, ...]:
    busy = "on (cluster, link) max by (cluster, link)"
    test = f"smolmon_bandwidth_test_in_progress{{{C}}}"
    return (
        graph(
            "Connections",
            "Established connections to the training server: while there are any, no bandwidth "
            "test starts.",
            [
                query(
                    f"sum by (node, port) (smolmon_training_connections{{{C}}})",
                    "{{node}}:{{port}}",
                )
            ],
            unit="short",
            size=(8, 8),
        ),
        timeline(
            "A server listens",
            "Whether a program listens where training clients connect to.",
            [query(f"smolmon_listener_present{{{C}}}", "{{node}} {{address}}:{{port}}")],
            values={1: ("listens", "green"), 0: ("nobody listens", "text")},
            size=(8, 8),
        ),
        timeline(
            "Training and tests",
            "When training ran, and when a bandwidth test may have used a segment.",
            [
                query(
                    f"max by (cluster) (smolmon_training_connections{{{C}}}) > bool 0", "training"
                ),
                query(f"max by (link) ({test})", "test on {{link}}"),
            ],
            values={1: ("active", "blue"), 0: ("idle", "text")},
            size=(8, 8),
        ),
        graph(
            "Round trip to the server, link idle",
            "Mean round-trip time while neither training nor a bandwidth test loads the link.",
            [
                query(
                    _mean(f"unless {busy} ({test} == 1) unless on (cluster) {ACTIVE}"),
                    "{{node}}",
                )
            ],
            unit="s",
            size=(8, 8),
        ),
        graph(
            "Round trip to the server, during tests",
            "The same while a bandwidth test loads the link: the difference is what its queues "
            "add.",
            [query(_mean(f"and {busy} ({test} == 1)"), "{{node}}")],
            unit="s",
            draw="points",
            size=(8, 8),
        ),
        graph(
            "Round trip to the server, during training",
            "The same while clients are connected to the training server.",
            [query(_mean(f"and on (cluster) {ACTIVE}"), "{{node}}")],
            unit="s",
            size=(8, 8),
        ),
    )


def _results() -> tuple[Any, ...]:
    rate = f"max by ({KEYS}) (smolmon_bandwidth_bytes_per_second{{{RECEIVED}}})"
    floor = f"max by ({KEYS}) (smolmon_bandwidth_expected_bytes_per_second{{{RECEIVED}}})"
    base = f"max by ({KEYS}) (smolmon_bandwidth_baseline_bytes_per_second{{{RECEIVED}}})"
    done = (
        f"1000 * max by ({KEYS}) (smolmon_bandwidth_last_success_timestamp_seconds{{{RECEIVED}}})"
    )
    cpu = f"max by ({KEYS}) (smolmon_bandwidth_cpu_ratio{{{RECEIVED}}})"
    again = f"max by (cluster, node, target, link) (smolmon_bandwidth_retransmits{{{C}}})"
    letters = [f"Value #{letter}" for letter in "ABCDE"]
    names = ["received", "at least", "baseline", "tested", "busiest core"]
    return (
        bars(
            "Last results: share of what is expected",
            "What each node received from each target, divided by what is expected of that path. "
            "100 % is the expectation.",
            [query(f"sort({rate} / {floor})", "{{target}} to {{node}}", instant=True)],
            unit="percentunit",
            thresholds=AT_LEAST,
            size=(8, 12),
        ),
        table(
            "Last results",
            "As the receiving end saw it. A core that is busy throughout (100 %) is the limit, not "
            "the link.",
            [
                query(expr, table=True)
                for expr in (f"8 * {rate}", f"8 * {floor}", f"8 * {base}", done, cpu)
            ],
            transformations=[
                MERGE,
                organized(
                    "target",
                    "node",
                    "link",
                    *letters,
                    hidden=["cluster", "direction"],
                    target="from",
                    node="to",
                    **dict(zip(letters, names, strict=True)),
                ),
            ],
            overrides=[
                override("^(received|at least|baseline)$", {"unit": "bps"}, regex=True),
                override("tested", {"unit": "dateTimeFromNow"}),
                override("busiest core", {"unit": "percentunit", "decimals": 0}),
            ],
            size=(16, 12),
        ),
        graph(
            "Results over time",
            "The last result of each path, until the next one.",
            [query(f"8 * {rate}", "{{target}} to {{node}}")],
            unit="bps",
            logarithmic=True,
            low=None,
            size=(12, 10),
        ),
        graph(
            "Over what is expected",
            "The same divided by what is expected: below 100 % is too little.",
            [query(f"{rate} / {floor}", "{{target}} to {{node}}")],
            unit="percentunit",
            thresholds=AT_LEAST,
            size=(12, 10),
        ),
        graph(
            "Retransmits",
            "TCP segments that the last test of each path sent again.",
            [query(again, "{{node}} to {{target}}")],
            unit="short",
            size=(12, 8),
        ),
        table(
            "Which test explains which",
            "A bad result over several links is explained by a bad one over a single link on the "
            "way.",
            [
                query(
                    "max by (node, target, direction, part_source, part_target, part_link) "
                    f"(smolmon_bandwidth_part_info{{{C}}})",
                    table=True,
                )
            ],
            transformations=[
                organized(
                    "node",
                    "target",
                    "direction",
                    "part_source",
                    "part_target",
                    "part_link",
                    hidden=["Value"],
                    part_source="by the test from",
                    part_target="to",
                    part_link="over",
                )
            ],
            size=(12, 8),
        ),
    )


def _timetable() -> tuple[Any, ...]:
    def counted(what: str, title: str, description: str) -> Any:  # noqa: ANN401
        return graph(
            title,
            description,
            [
                query(
                    f"sum by (reason) (increase(smolmon_bandwidth_tests_{what}_total"
                    f"{{{C}}}[$__rate_interval]))",
                    "{{reason}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            stacked=True,
            size=(8, 8),
        )

    return (
        stat(
            "Period",
            "Time in which every path is tested once each way.",
            [query(f"max by (cluster) (smolmon_bandwidth_period_seconds{{{C}}})", instant=True)],
            unit="s",
            size=(6, 4),
        ),
        stat(
            "Nodes that can test",
            "Share of the nodes on which libiperf can be loaded.",
            [query(f"avg by (cluster) (smolmon_bandwidth_available{{{C}}})", instant=True)],
            unit="percentunit",
            thresholds=AT_LEAST,
            size=(6, 4),
        ),
        stat(
            "Moved by tests today",
            "Bytes that the tests of all nodes have sent and received today (UTC).",
            [query(f"sum by (cluster) (smolmon_bandwidth_spent_bytes{{{C}}})", instant=True)],
            unit="decbytes",
            size=(6, 4),
        ),
        stat(
            "Share of the daily budget",
            "Of the node that has used most of its own. Unknown where no budget is declared.",
            [
                query(
                    f"max by (cluster) (smolmon_bandwidth_spent_bytes{{{C}}}"
                    f" / smolmon_bandwidth_budget_bytes{{{C}}})",
                    instant=True,
                )
            ],
            unit="percentunit",
            thresholds=((None, "green"), (0.8, "orange"), (1, "red")),
            size=(6, 4),
        ),
        graph(
            "Slots by result",
            "Slots of the timetable that are over, by what became of them.",
            [
                query(
                    "sum by (result) (increase("
                    f"smolmon_bandwidth_tests_total{{{C}}}[$__rate_interval]))",
                    "{{result}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            stacked=True,
            size=(12, 8),
        ),
        graph(
            "Traffic of the tests",
            "What tests send and receive, all nodes together.",
            [
                query(
                    "8 * sum by (direction) (rate("
                    f"smolmon_bandwidth_test_bytes_total{{{C}}}[$__rate_interval]))",
                    "{{direction}}",
                )
            ],
            unit="bps",
            size=(12, 8),
        ),
        counted("skipped", "Skipped, by reason", "Tests that did not start: training comes first."),
        counted("aborted", "Ended early, by reason", "Tests that were ended before their time."),
        counted("failed", "Failed, by reason", "Tests that started and went wrong."),
        table(
            "Last slot of each segment",
            "Until when a test may last have used each segment.",
            [
                query(
                    f"1000 * max by (link) (smolmon_bandwidth_last_slot_timestamp_seconds{{{C}}})",
                    table=True,
                )
            ],
            transformations=[organized("link", "Value", Value="last used")],
            overrides=[override("last used", {"unit": "dateTimeFromNow"})],
            size=(24, 6),
        ),
    )

"""Home's lower half: every node by every peer, and each link against what is expected of it."""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.boards.columns import MERGE, NOTHING, organized, to_link
from smolmon.dashboards.common import LINK, C, link_to
from smolmon.dashboards.grafana import AT_LEAST, AT_MOST, override, query, table

PATHS = "cluster, node, target, probe, link"
RTT = (
    f"max by ({PATHS}) (rate(smolmon_ping_rtt_seconds_sum{{{C}}}[5m])"
    f" / (rate(smolmon_ping_rtt_seconds_count{{{C}}}[5m]) > 0))"
)
RTT_EXPECTED = f"max by ({PATHS}) (smolmon_ping_rtt_threshold_seconds{{{C}}})"
LOSS = (
    f"1 - sum by ({PATHS}) "
    f'(rate(smolmon_ping_results_total{{{C},result="reply"}}[5m]))'
    f" / (sum by ({PATHS}) (rate(smolmon_ping_requests_total{{{C}}}[5m])) > 0)"
)
RECEIVED = f'smolmon_bandwidth_bytes_per_second{{{C},direction="receive"}}'
RATE = f"max by (cluster, node, target, link) ({RECEIVED})"
RATE_EXPECTED = (
    "max by (cluster, node, target, link) "
    f'(smolmon_bandwidth_expected_bytes_per_second{{{C},direction="receive"}})'
)
PINGED = f"group by ({PATHS}) (smolmon_ping_up{{{C}}})"


def per_probe(expr: str) -> str:
    """`expr` of a node and a target, once for each probe between them."""
    return f"{PINGED} * on (cluster, node, target, link) group_left () {expr}"


def matrix(title: str, description: str, expr: str, **look: Any) -> Any:  # noqa: ANN401
    """A table of `expr` with a row for each node and a column for each target."""
    corner = "node\\target"
    link = link_to(
        LINK,
        "Link to ${__field.name}",
        node='${__data.fields["node\\\\target"]}',
        peer="${__field.name}",
    )
    return table(
        title,
        description,
        [query(f"max by (node, target) ({expr})", table=True)],
        transformations=[
            {
                "id": "groupingToMatrix",
                "options": {
                    "rowField": "node",
                    "columnField": "target",
                    "valueField": "Value",
                    "emptyValue": "null",
                },
            }
        ],
        overrides=[
            # What nobody measures has no colour; else it would get that of the lowest threshold.
            override("^(?!node)", {"links": link, "mappings": [NOTHING]}, regex=True),
            override(corner, {"custom.cellOptions": {"type": "auto"}, "custom.width": 110}),
        ],
        cell="color-background",
        size=(8, 8),
        **look,
    )


def matrices() -> tuple[Any, ...]:
    """Round trips, loss and bandwidth, node by peer."""
    return (
        matrix(
            "Round trips: share of what is expected",
            "Mean round-trip time of five minutes, divided by the declared expectation of that "
            "path. 100 % is the expectation. The times themselves stand in the link budget.",
            f"{RTT} / on ({PATHS}) {RTT_EXPECTED}",
            unit="percentunit",
            thresholds=AT_MOST,
        ),
        matrix(
            "Loss",
            "Share of five minutes' echo requests that were not answered in time. The guide: none, "
            "and above 1 % something is to be done.",
            LOSS,
            unit="percentunit",
            thresholds=((None, "green"), (1e-9, "orange"), (0.01, "red")),
        ),
        matrix(
            "Bandwidth: share of what is expected",
            "What the node received from the peer in the last test, divided by what is expected of "
            "that path. Below 100 % is too little.",
            f"{RATE} / on (cluster, node, target, link) {RATE_EXPECTED}",
            unit="percentunit",
            thresholds=AT_LEAST,
        ),
    )


def budget() -> Any:  # noqa: ANN401
    """Every probed path, the one that uses most of its budget first."""
    used = f"{RTT} / on ({PATHS}) {RTT_EXPECTED}"
    short = per_probe(f"({RATE_EXPECTED} / on (cluster, node, target, link) {RATE})")
    worst = (
        f'max by ({PATHS}) (label_replace({used}, "of", "rtt", "", "")'
        f' or label_replace({short}, "of", "rate", "", ""))'
    )
    names = ["used", "RTT", "RTT expected", "loss", "received", "at least", "answered in 24 h"]
    letters = [f"Value #{letter}" for letter in "ABCDEFG"]
    gauge = {
        "unit": "percentunit",
        "min": 0,
        "max": 1.5,
        "custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "color"},
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"value": None, "color": "green"},
                {"value": 0.8, "color": "orange"},
                {"value": 1, "color": "red"},
            ],
        },
    }
    return table(
        "Measured against expected, worst first",
        "`used` is the worse of two shares: round-trip time of the allowed one, and expected "
        "bandwidth of the measured one. 100 % is the published expectation; more is too much.",
        [
            query(expr, table=True)
            for expr in (
                worst,
                RTT,
                RTT_EXPECTED,
                LOSS,
                per_probe(f"(8 * {RATE})"),
                per_probe(f"(8 * {RATE_EXPECTED})"),
                f"max by ({PATHS}) (avg_over_time(smolmon_ping_up{{{C}}}[24h]))",
            )
        ],
        transformations=[
            MERGE,
            organized(
                "node",
                "target",
                "probe",
                "link",
                *letters,
                hidden=["cluster"],
                **dict(zip(letters, names, strict=True)),
            ),
        ],
        overrides=[
            override("used", gauge),
            override("^RTT", {"unit": "s"}, regex=True),
            override("^(received|at least)$", {"unit": "bps"}, regex=True),
            override("^(loss|answered in 24 h)$", {"unit": "percentunit"}, regex=True),
            override("target", {"links": to_link()}),
        ],
        sort=("used", True),
        size=(24, 12),
    )

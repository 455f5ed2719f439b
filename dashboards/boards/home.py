"""Home: may I start a training run?"""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from smolmon.cluster import Cluster
from smolmon.dashboards.boards.columns import MERGE, organized, to_node
from smolmon.dashboards.boards.home_links import budget, matrices
from smolmon.dashboards.checklist import STATES, since, state
from smolmon.dashboards.checks import CHECKS
from smolmon.dashboards.common import HOME, C, events, variables
from smolmon.dashboards.grafana import (
    AT_LEAST,
    COLUMNS,
    Section,
    override,
    query,
    stat,
    states,
    table,
    timeline,
)
from smolmon.dashboards.grafana import board as board_of
from smolmon.dashboards.mend import Json
from smolmon.dashboards.topology import picture

FIRING = f'ALERTS{{{C},alertstate="firing"'
WATCHDOG = 'ALERTS{alertname="Watchdog",alertstate="firing"}'

# What blocks is known as soon as the pings show it; alerts come some seconds later. Silence of the
# monitor is never READY: its own alert that always fires must be there.
VERDICT = f"""
    2 + 0 * count by (cluster) (
      {FIRING},severity="critical"}} or smolmon_ping_up{{{C},probe="server"}} == 0
    )
    or 1 + 0 * count by (cluster) (
      {FIRING},severity="warning"}} or up{{job="smolmon",{C}}} == 0
    )
    or 0 * count by (cluster) (up{{job="smolmon",{C}}} == 1 and on () {WATCHDOG})
"""
REASON = f"""
    topk(1, max by (alertname, node) (
      4 * {FIRING},severity="critical",class="cause"}}
      or 3 * {FIRING},severity="critical",class!="cause"}}
      or 2 * {FIRING},severity="warning",class="cause"}}
      or {FIRING},severity="warning",class!="cause"}}
      or label_replace(0 * {WATCHDOG}, "alertname", "No alert fires", "", "")
    ))
"""


def board(cluster: Cluster | None) -> Json:
    """The board; the picture of `cluster` if there is one, else its nodes as a timeline."""
    name = cluster.name if cluster else ""
    drawn = picture(cluster) if cluster else _nodes()
    place = drawn.gridPos
    beside = place.w < COLUMNS
    firing = _firing((COLUMNS - place.w, place.h) if beside else (COLUMNS, 6))
    return board_of(
        HOME,
        "smolmon · Home",
        "May I start a training run? If not: which one thing is broken, where, and what repairs "
        "it.",
        [
            Section("", (*_verdict(), drawn, firing)),
            Section("The guide's checks, live", (_checklist(),)),
            Section("Node by peer", matrices()),
            Section("Link budget", (budget(),)),
        ],
        variables=variables(cluster=name),
        annotations=events(),
    )


def _verdict() -> tuple[Any, ...]:
    return (
        stat(
            "May I start a training run?",
            "BLOCKED: a critical alert fires, or a node cannot reach the training server. "
            "DEGRADED: a warning fires, or a node is not scraped. READY: neither, and the rules "
            "are known to work. Unknown: no node is scraped, or the rules are silent.",
            [query(VERDICT, "verdict", instant=True)],
            values={0: ("READY", "green"), 1: ("DEGRADED", "orange"), 2: ("BLOCKED", "red")},
            thresholds=((None, "green"), (1, "orange"), (2, "red")),
            background=True,
            empty="UNKNOWN",
            size=(8, 5),
        ),
        stat(
            "Because of",
            "The alert that weighs most: causes before symptoms, critical before warning.",
            [query(REASON, "{{alertname}} {{node}}", instant=True)],
            text="name",
            thresholds=((None, "green"), (1, "orange"), (3, "red")),
            background=True,
            empty="the rules are silent",
            size=(8, 5),
        ),
        stat(
            "Nodes scraped",
            "Share of the declared nodes whose exporter is scraped now.",
            [query(f'avg by (cluster) (up{{job="smolmon",{C}}})', "scraped", instant=True)],
            unit="percentunit",
            thresholds=AT_LEAST,
            size=(4, 5),
        ),
        stat(
            "Training connections",
            "Established connections to the training server. More than none: somebody trains now.",
            [
                query(
                    f"sum by (cluster) (smolmon_training_connections{{{C}}})",
                    "connections",
                    instant=True,
                )
            ],
            unit="short",
            size=(4, 5),
        ),
    )


def _nodes() -> Any:  # noqa: ANN401
    return timeline(
        "Nodes",
        "Whether each node is scraped. `smolmon render` puts the picture of your cluster here.",
        [query(f'min by (node) (up{{job="smolmon",{C}}})', "{{node}}")],
        values={1: ("up", "green"), 0: ("down", "red")},
        size=(24, 8),
    )


def _checklist() -> Any:  # noqa: ANN401
    *values, started = (f"Value #{ref}" for ref in ascii_uppercase[: len(CHECKS) + 1])
    return table(
        "Checklist",
        "Every check and troubleshooting row of the network guide. Where a check fails: a row for "
        "each node, since when, the likely cause, and a command (open the cell to copy it) that "
        "looks or repairs.",
        [query(state(c), table=True) for c in CHECKS] + [query(since(), table=True)],
        transformations=[
            MERGE,
            # Each row has the value of one check: one column for all of them.
            {
                "id": "calculateField",
                "options": {
                    "mode": "reduceRow",
                    "reduce": {"reducer": "max", "include": values},
                    "alias": "state",
                    "replaceFields": False,
                },
            },
            organized(
                "check",
                "state",
                "node",
                "target",
                started,
                "cause",
                "fix",
                "guide",
                hidden=["cluster", *values],
                **{started: "since"},
            ),
        ],
        overrides=[
            override(
                "state",
                {
                    "mappings": states(STATES),
                    "custom.cellOptions": {"type": "color-background", "mode": "basic"},
                    "custom.width": 110,
                    "custom.align": "left",
                },
            ),
            override("since", {"unit": "dateTimeFromNow", "custom.width": 130}),
            override("fix", {"custom.inspect": True, "custom.minWidth": 320}),
            override("check", {"custom.width": 330}),
            override("node", {"custom.width": 90, "links": to_node()}),
            override("target", {"custom.width": 100}),
        ],
        sort=("state", False),
        size=(24, 22),
    )


def _firing(size: tuple[int, int]) -> Any:  # noqa: ANN401
    labels = "severity, alertname, node, target"
    return table(
        "Firing alerts",
        "All alerts that fire, with the symptoms that a cause explains (Alertmanager does not send "
        "those). The runbook has a section for each name.",
        [
            query(
                f'1000 * max by ({labels}) (ALERTS_FOR_STATE{{{C},severity=~"critical|warning"}}'
                f" and ignoring (alertstate) {FIRING}}})",
                table=True,
            )
        ],
        transformations=[
            organized(
                "severity",
                "alertname",
                "node",
                "target",
                "Value",
                Value="since",
            )
        ],
        overrides=[
            override("since", {"unit": "dateTimeFromNow", "custom.width": 120}),
            override("node", {"links": to_node(), "custom.width": 80}),
            override("target", {"custom.width": 80}),
            override("alertname", {"custom.minWidth": 220}),
            override(
                "severity",
                {
                    "custom.cellOptions": {"type": "color-text"},
                    "custom.width": 80,
                    "mappings": [
                        {
                            "type": "value",
                            "options": {
                                "critical": {"color": "red", "index": 0},
                                "warning": {"color": "orange", "index": 1},
                            },
                        }
                    ],
                },
            ),
        ],
        sort=("severity", False),
        size=size,
    )

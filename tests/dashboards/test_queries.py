"""Every query is PromQL, and asks for what is published."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import yaml

from smolmon.dashboards.checks import CHECKS
from smolmon.exporter.vocabulary import TABLE, Type
from tests.dashboards.made import ALL, rules
from tests.dashboards.questions import Question, filled, questions

VALUES = {
    "cluster": "guide",
    "node": "pi4",
    "peer": "mini1",
    "probe": "server",
    "__rate_interval": "1m",
}
QUESTIONS = [q for board in ALL.values() for q in questions(board)]

# Of others: Prometheus', the Python client library's, Alertmanager's.
FOREIGN = {
    "ALERTS", "ALERTS_FOR_STATE", "up", "scrape_duration_seconds", "scrape_samples_scraped",
    "process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
    "process_open_fds", "process_max_fds", "process_start_time_seconds",
    "prometheus_rule_evaluation_failures_total", "prometheus_notifications_errors_total",
    "alertmanager_notifications_failed_total",
}  # fmt: skip
# Published, and on no board, because ...
UNUSED: dict[str, str] = {}


def used() -> set[str]:
    """The names of all metrics that the boards ask for."""
    return {name for q in QUESTIONS for name in metrics_of(q.expr)}


def metrics_of(expr: str) -> set[str]:
    """The metrics in an expression: the names before a brace, and those that are smolmon's."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    named = re.findall(r"([a-zA-Z_:][\w:]*)[{\[]", bare) + re.findall(r"smolmon[\w:]+", bare)
    return {_family(name) for name in named}


def _family(name: str) -> str:
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return base if base in TABLE and TABLE[base].type is Type.HISTOGRAM else name


def test_every_query_is_promql(tool: Callable[[str], str], tmp_path: Path) -> None:
    """As a rule each, so that promtool parses it, with its variables filled in."""
    made = [
        {"record": f"question:{number}", "expr": filled(q.expr, VALUES)}
        for number, q in enumerate(QUESTIONS)
    ]
    path = tmp_path / "questions.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": made}]}))
    done = subprocess.run(
        [tool("promtool"), "check", "rules", "--lint=none", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(QUESTIONS)} rules found" in done.stdout


def test_every_metric_asked_for_is_published() -> None:
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}
    assert used() - TABLE.keys() - recorded - FOREIGN == set()


def test_every_published_metric_is_on_a_board() -> None:
    assert TABLE.keys() - used() == UNUSED.keys()


def test_the_lists_hold_nothing_else() -> None:
    assert used() >= FOREIGN
    assert TABLE.keys() >= UNUSED.keys()


def test_every_selector_asks_for_one_cluster_alone() -> None:
    """One Prometheus may watch several. But for what has no such label: of the monitor itself."""
    of_the_monitor = re.compile(r"(prometheus|alertmanager)_\w+$|ALERTS\{[^}]*Watchdog")
    for q in QUESTIONS:
        asked_for = [s for s in selectors(q.expr) if not of_the_monitor.match(s)]
        wanted = r'[{,]cluster="[\w-]+"' if _drawn(q) else r'[{,]cluster="\$cluster"'
        for selector in asked_for:
            assert re.search(wanted, selector), (str(q), selector)


def selectors(expr: str) -> list[str]:
    """Each metric that an expression asks for, with its matchers."""
    # Texts may hold braces and names of metrics; those of matchers are kept.
    bare = re.sub(r'([=~]?)"[^"]*"', lambda m: m.group() if m[1] else '""', expr)
    found = re.finditer(
        r"(?<![\w:])(?:(?:smolmon|process|prometheus|alertmanager|scrape)[\w:]*_\w+|"
        r"smolmon:[\w:]+|ALERTS\w*|up)(?![\w:(])(?:\{[^}]*\})?",
        bare,
    )
    return [match.group() for match in found]


def test_selectors_are_found_with_their_matchers() -> None:
    expr = 'rate(smolmon_a_total{cluster="$cluster"}[5m]) + on (node) up * ALERTS{node="up"}'
    wanted = ['smolmon_a_total{cluster="$cluster"}', "up", 'ALERTS{node="up"}']
    assert selectors(expr) == wanted


def _drawn(question: Question) -> bool:
    return question.panel.startswith("Topology of ")


def test_counters_are_asked_for_their_growth() -> None:
    plain = ("max by (node, to, destination, via_node, via, device, purpose)",)
    for q in QUESTIONS:
        for name in metrics_of(q.expr):
            if name in TABLE and TABLE[name].type is Type.COUNTER:
                grown = re.search(rf"(rate|increase)\({name}\{{", q.expr)
                assert grown or q.expr.startswith(plain), (str(q), name)


# Alerts that no row of the checklist has, because ...
NO_ROW = {
    "SmolmonMonitorCutOff": "is of no node; each of them fails the row for management",
    "SmolmonLinkSaturated": "a busy link is not broken; the Node board shows it",
}


def test_the_checklist_has_every_alert_by_its_name() -> None:
    """But for those of the monitor itself, and of what only mutes others."""
    judged = {"cause", "symptom", "performance"}
    names = {
        str(rule["alert"])
        for rule in rules()
        if "alert" in rule and cast("dict[str, str]", rule["labels"])["class"] in judged
    }
    assert {"SmolmonForwardingDisabled", "SmolmonServerUnreachable"} <= names
    shown = {n for n in names for check in CHECKS if re.fullmatch(check.alerts, n)}
    assert names - shown == NO_ROW.keys()


def test_a_check_asks_for_alerts_that_exist() -> None:
    """Unless it knows by itself since when it fails."""
    names = {str(rule["alert"]) for rule in rules() if "alert" in rule}
    for check in CHECKS:
        there = any(re.fullmatch(check.alerts, name) for name in names)
        assert there or check.since, check.name

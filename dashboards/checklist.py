"""The checklist's queries, which always give an answer.

Each check is one query, and gives one row for each node that fails it, with the command that looks
or repairs; else one row that says how many pass; else one that says that nothing is known. A row
never just disappears.
"""

from __future__ import annotations

from smolmon.dashboards.checks import CHECKS, Check
from smolmon.dashboards.common import C

FAIL, UNKNOWN, PASS = 0, 1, 2  # in the order in which they are shown
STATES = {FAIL: ("FAIL", "red"), UNKNOWN: ("NOT KNOWN", "#6e7077"), PASS: ("PASS", "green")}

_NODE = f"max by (cluster, node, platform, ssh) (smolmon_node_info{{{C}}})"


def state(check: Check) -> str:
    """The query for the rows of `check`: the value is PASS, FAIL or UNKNOWN."""
    passed = _named(f"{PASS} + 0 * min by (cluster) ({check.holds})", node="all")
    unknown = _named(f"vector({UNKNOWN})", node="none")
    rows = f"{_failed(check)} or on () {passed} or on () {unknown}"
    return _named(rows, check=check.name, guide=check.guide)


def _failed(check: Check) -> str:
    """The nodes at which the check fails, with `target`, `cause` and `fix`."""
    said = f"({check.holds}) == 0"
    if check.what != "target":
        said = f'label_replace({said}, "target", "$1", "{check.what}", "(.+)")'
    said = f"max by (cluster, node, target) ({said})"
    # Without the node's own word the row is there all the same, but for the command.
    said = (
        f"({said} * on (cluster, node) group_left (platform, ssh) {_NODE}"
        f" or on (cluster, node) {said})"
    )
    if check.known:
        told = f"{said} * on (cluster, node, target) group_left (cause, hop) {check.known}"
        told = f'label_join({told}, "cause", " at ", "cause", "hop")'
        said = f"({told} or on (cluster, node, target) {said})"
    said = f'label_replace({said}, "cause", "{check.cause}", "cause", "")'
    said = f'label_join({said}, "key", " ", "platform", "ssh", "target", "node")'
    for platform, command in check.fix.items():
        said = f'label_replace({said}, "fix", "{command}", "key", "{platform} (.+) (.*) (.+)")'
    if not check.fix:
        said = _named(said, fix="smolmon verify")
    return f"max by (cluster, node, target, cause, fix) ({said})"


def _named(expr: str, **labels: str) -> str:
    for name, text in labels.items():
        expr = f'label_replace({expr}, "{name}", "{text}", "", "")'
    return expr


def since() -> str:
    """Since when each failed check fails, in milliseconds: check and node are the labels."""
    parts = []
    for check in CHECKS:
        failed = f"({check.holds}) == 0"
        times = [f"{check.since} and {failed}"] if check.since else []
        if check.alerts:
            # Of nodes whose row is there: others would get a row with nothing else in it.
            alerts = f'ALERTS_FOR_STATE{{{C},alertname=~"{check.alerts}"}}'
            times.append(f"{alerts} and on (cluster, node) {failed}")
        parts += [f"max by (check, node) ({_named(time, check=check.name)})" for time in times]
    return "1000 * (" + " or ".join(parts) + ")"

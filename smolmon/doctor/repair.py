"""Let setup repair what it knows how to: through its own plan, question, rollback and proof."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from smolmon.cluster import Cluster, Node
from smolmon.doctor.finding import Examination, Finding
from smolmon.setup import agent
from smolmon.setup.bundle import Identity
from smolmon.setup.report import one_line, plan_data, plan_lines
from smolmon.setup.saved import Saved, digest
from smolmon.setup.session import Request, run_setup
from smolmon.setup.ssh import connections
from smolmon.setup.steps import Plan
from smolmon.setup.survey import Job, Survey, survey
from smolmon.setup.together import run

# There is nobody to talk to.
OUT_OF_REACH = ("SmolmonNodeDown", "SmolmonManagementUnreachable", "SmolmonMonitorCutOff")

# Seconds for what was repaired to be seen: Prometheus lets an alert fire on for 20 s after its
# cause is gone, and symptoms are judged after that.
PATIENCE = 90.0
PAUSE = 2.0


# No change for so long is the end of it.
STEADY = 35.0


@frozen
class Known:
    """`plans`: what setup has to do, by node. `refused`: why it would not go to others."""

    plans: Mapping[str, Plan]
    refused: tuple[str, ...]


def reachable(cluster: Cluster, findings: Iterable[Finding]) -> list[Node]:
    """The nodes that something is wrong with, and that can be talked to."""
    found = list(findings)
    away = {f.node for f in found if f.alert in OUT_OF_REACH}
    named = {f.node for f in found if f.kind != "symptom"} - away
    return [node for node in cluster.nodes if node.name in named]


def known(cluster: Cluster, nodes: list[Node], cluster_file: bytes) -> Known:
    """What setup would do on these nodes; changes nothing. Raises AgentError and TrustError."""
    if not nodes:
        return Known({}, ())
    with connections(nodes) as runners:

        async def surveyed() -> Survey:
            load = asyncio.ensure_future(asyncio.to_thread(_load, cluster, nodes))
            return await survey(cluster, nodes, runners, Job(cluster_file, load=load))

        found = run(surveyed())
    return Known(
        {name: target.plan for name, target in found.targets.items() if target.plan.steps},
        tuple(line for lines in found.refused.values() for line in lines),
    )


def _load(cluster: Cluster, nodes: list[Node]) -> tuple[bytes, Mapping[str, Identity]]:
    from smolmon.setup.trust.store import identities  # noqa: PLC0415 - slow

    return agent.build(), identities(cluster, nodes)


def shown(cluster: Cluster, plans: Mapping[str, Plan]) -> Iterator[str]:
    """The plans as setup shows them."""
    for name, plan in plans.items():
        yield from map(one_line, plan_lines(name, cluster.node(name).ssh, plan))
    if any(plan.network for plan in plans.values()):
        yield (
            "the network's steps undo themselves unless they are seen to work over a new connection"
        )


def repair(
    cluster: Cluster, plans: Mapping[str, Plan], cluster_file: bytes
) -> tuple[int, dict[str, Any]]:
    """Let setup carry out exactly these plans; its exit code and its report.

    What it tells meanwhile goes to standard error.
    """
    data = {name: plan_data(plan) for name, plan in plans.items()}
    saved = Saved(cluster.name, digest(cluster_file), False, False, data)
    said = io.StringIO()
    nodes = [node for node in cluster.nodes if node.name in plans]
    with contextlib.redirect_stdout(said):
        code = run_setup(cluster, nodes, Request(cluster_file, yes=True, as_json=True, saved=saved))
    try:
        report: dict[str, Any] = json.loads(said.getvalue())
    except ValueError:  # it ended before it had anything to report
        report = {}
    return code, report


def settled(
    look: Callable[[], Examination],
    before: Examination,
    names: Iterable[str],
    tell: Callable[[str], None],
) -> Examination:
    """Look again until what was wrong on the repaired nodes is over, or nothing changes any more.

    So it is with what a repair itself stirs up for a moment, and what is only held back.
    """
    repaired = set(names)
    wanted = {f.key for f in before.findings if f.node in repaired}
    known_before = {f.key for f in before.findings}
    end = time.monotonic() + PATIENCE
    quiet = time.monotonic() + STEADY
    last: set[tuple[str, str]] | None = None
    while True:
        after = look()
        seen = {f.key for f in after.findings}
        waiting = (wanted & seen) | (seen - known_before)
        if waiting != last:
            last, quiet = waiting, time.monotonic() + STEADY
        if not waiting or time.monotonic() > min(end, quiet):
            return after
        tell(f"waiting for the repair to be seen: {', '.join(sorted({a for a, _ in waiting}))}")
        time.sleep(PAUSE)

"""`smolmon setup` and `smolmon verify` from beginning to end. Both return an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

import click

from smolmon.cluster import Cluster, Node
from smolmon.setup import agent
from smolmon.setup.apply import ApplyError, apply
from smolmon.setup.bundle import Identity
from smolmon.setup.report import (
    check_data,
    one_line,
    plan_data,
    plan_lines,
    summary,
    table,
)
from smolmon.setup.ssh import Runner, connections
from smolmon.setup.survey import Survey, Target, survey
from smolmon.setup.together import run, together
from smolmon.setup.trust import TrustError
from smolmon.setup.verify import Check, Verdict, verify


def chosen(cluster: Cluster, names: Sequence[str]) -> list[Node]:
    """The nodes called `names`, all of them for none. Raises click.UsageError."""
    known = [node.name for node in cluster.nodes]
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no node {name}; nodes are {', '.join(known)}")
    return [node for node in cluster.nodes if not names or node.name in names]


def run_verify(cluster: Cluster, nodes: Sequence[Node], *, as_json: bool) -> int:
    """Compare expected with seen, from each of `nodes`."""
    with connections(nodes) as runners:
        checks, silent = run(verify(cluster, nodes, runners))
    if as_json:
        data = {"checks": [check_data(c) for c in checks], "unreachable": silent}
        click.echo(json.dumps(data))
    else:
        for line in table(checks) if checks else ():
            click.echo(one_line(line))
        _tell(silent)
        click.echo(summary(checks, silent))
    return _as_expected(checks, silent)


def run_setup(
    cluster: Cluster,
    nodes: Sequence[Node],
    cluster_file: bytes,
    *,
    only_plan: bool,
    yes: bool,
    as_json: bool,
    confirm_within: int,
) -> int:
    """Provision `nodes`: read them all, show the plan, ask, carry it out, verify."""
    began = time.monotonic()
    report: dict[str, object] = {}
    with connections(nodes) as runners:
        try:
            found = run(_surveyed(cluster, nodes, runners, cluster_file))
        except (agent.AgentError, TrustError) as error:
            click.echo(str(error), err=True)
            return 1
        code = _shown(found, report, confirm_within, only_plan=only_plan, as_json=as_json)
        if code is None and not yes:
            code = _asked(found)
        if code is None:
            code = run(_carried_out(cluster, found, confirm_within, report, as_json))
    if as_json:
        click.echo(json.dumps(report))
    elif code == 0 and not only_plan:
        click.echo(f"done in {time.monotonic() - began:.1f} s")
    return code


async def _surveyed(
    cluster: Cluster,
    nodes: Sequence[Node],
    runners: Mapping[str, Runner],
    cluster_file: bytes,
) -> Survey:
    built = asyncio.ensure_future(asyncio.to_thread(agent.build))
    known = asyncio.ensure_future(asyncio.to_thread(_identities, cluster, nodes))
    return await survey(cluster, nodes, runners, built, cluster_file, identities=known)


def _identities(cluster: Cluster, nodes: Sequence[Node]) -> Mapping[str, Identity]:
    from smolmon.setup.trust.store import identities  # noqa: PLC0415 - slow; here beside ssh

    return identities(cluster, nodes)


def _shown(
    found: Survey,
    report: dict[str, object],
    confirm_within: int,
    *,
    only_plan: bool,
    as_json: bool,
) -> int | None:
    """Print the plan. An exit code where that is all there is to do."""
    pending = any(t.plan.steps for t in found.targets.values())
    report["plan"] = {name: plan_data(t.plan) for name, t in found.targets.items()}
    report["refused"] = [line for lines in found.refused.values() for line in lines]
    if not as_json:
        for target in found.targets.values():
            if target.plan.steps or target.plan.notes or only_plan:
                for line in plan_lines(target.node.name, target.node.ssh, target.plan):
                    click.echo(one_line(line))
        if any(t.plan.network for t in found.targets.values()):
            click.echo(
                f"nmcli steps undo themselves after {confirm_within} s unless they are seen to "
                "work over a new connection (a NetworkManager checkpoint on the node)"
            )
    if found.refused:
        _tell(line for lines in found.refused.values() for line in lines)
        if pending:
            click.echo("nothing was changed on any node", err=True)
        return 1
    if only_plan:
        return 2 if pending else 0
    return None


def _asked(found: Survey) -> int | None:
    """Ask whether to go on. An exit code where the answer is no, or nobody can be asked."""
    changing = [name for name, t in found.targets.items() if t.plan.steps]
    if not changing:
        return None
    if not sys.stdin.isatty():
        click.echo("there is no terminal to ask on; look at --plan, then add --yes", err=True)
        return 2
    if click.confirm(f"Carry this out on {', '.join(changing)}?"):
        return None
    click.echo("nothing was changed")
    return 1


async def _carried_out(
    cluster: Cluster, found: Survey, confirm_within: int, report: dict[str, object], as_json: bool
) -> int:
    def say(line: str, *, err: bool = as_json) -> None:
        # A terminal that was closed must not keep a node from being rolled back.
        with contextlib.suppress(OSError):
            click.echo(one_line(line), err=err)

    async def one(target: Target) -> str | None:
        try:
            await apply(target, say, confirm_within)
        except ApplyError as error:
            say(str(error), err=True)
            return str(error)
        return None

    targets = list(found.targets.values())
    changing = [t for t in targets if t.plan.steps]
    if not changing:
        say("nothing to do: every node is as wanted")
    failed = [line for line in await together(one, changing) if line]
    runners = {t.node.name: t.runner for t in targets}
    checks, silent = await verify(cluster, [t.node for t in targets], runners)
    differences = [c for c in checks if c.verdict is not Verdict.PASS]
    report["changed"] = [t.node.name for t in changing]
    report["failed"] = failed
    report["checks"] = [check_data(c) for c in checks]
    report["unreachable"] = silent
    if not as_json:
        for line in table(differences) if differences else ():
            click.echo(one_line(line))
        _tell(silent)
    answered = len(targets) - len(silent)
    nodes = "1 node" if answered == 1 else f"{answered} nodes"
    say(f"verified from {nodes}: {summary(checks, silent)}")
    return 1 if failed else _as_expected(checks, silent)


def _as_expected(checks: Sequence[Check], silent: Sequence[str]) -> int:
    return 1 if silent or any(c.verdict is not Verdict.PASS for c in checks) else 0


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(one_line(line), err=True)

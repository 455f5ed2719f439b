"""`smolmon setup` and `smolmon verify` from beginning to end. Both return an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
from attrs import evolve, frozen

from smolmon.cluster import Cluster, Node
from smolmon.setup import agent, destination
from smolmon.setup.apply import CONFIRM_WITHIN
from smolmon.setup.bundle import Identity
from smolmon.setup.errors import FactsError
from smolmon.setup.permission import SudoersError, drop_in
from smolmon.setup.report import (
    check_data,
    one_line,
    plan_data,
    plan_lines,
    summary,
    table,
)
from smolmon.setup.rollout import rollout
from smolmon.setup.saved import Saved, SavedError, differences, digest, write
from smolmon.setup.silence import silenced
from smolmon.setup.ssh import Runner, SshError, connections
from smolmon.setup.steps import Plan
from smolmon.setup.survey import Job, Survey, survey
from smolmon.setup.system import UnsupportedError
from smolmon.setup.together import run
from smolmon.setup.trust import TrustError
from smolmon.setup.verify import QUICK, Check, Verdict, verify, verify_stored
from smolmon.setup.waves import waves


def chosen(cluster: Cluster, names: Sequence[str]) -> list[Node]:
    """The nodes called `names`, all of them for none. Raises click.UsageError."""
    known = [node.name for node in cluster.nodes]
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no node {name}; nodes are {', '.join(known)}")
    return [node for node in cluster.nodes if not names or node.name in names]


def run_verify(
    cluster: Cluster, nodes: Sequence[Node], *, as_json: bool, after_reboot: bool = False
) -> int:
    """Compare expected with seen, from each of `nodes`; or what is stored with what is live."""
    live = sys.stderr.isatty() and not as_json

    def progress(line: str) -> None:
        if live:
            click.echo(one_line(line), err=True)

    with connections(nodes) as runners:
        if after_reboot:
            checks, silent = run(verify_stored(cluster, nodes, runners))
        else:
            checks, silent = run(verify(cluster, nodes, runners, progress=progress))
    if as_json:
        data = {"checks": [check_data(c) for c in checks], "unreachable": silent}
        click.echo(json.dumps(data))
    else:
        for line in table(checks) if checks else ():
            click.echo(one_line(line))
        _tell(silent)
        click.echo(summary(checks, silent))
    return _as_expected(checks, silent)


def run_sudoers(cluster: Cluster, node: Node) -> int:
    """Print what sudo must allow on `node`, checked by its own visudo."""
    with connections([node]) as runners:
        try:
            text = run(drop_in(cluster, node, runners[node.name]))
        except (SshError, UnsupportedError, FactsError, SudoersError) as error:
            line = str(error)
            _tell([line if line.startswith(f"{node.name}: ") else f"{node.name}: {line}"])
            return 1
    click.echo(text, nl=False)
    _tell(
        [
            f"to install it, keep it in a file F, then: scp F {node.ssh}:smolmon.sudoers && "
            f"ssh -t {node.ssh} sudo install -m 0440 smolmon.sudoers /etc/sudoers.d/smolmon"
        ]
    )
    return 0


@frozen
class Request:
    """What `smolmon setup` was asked to do."""

    cluster_file: bytes
    only_plan: bool = False
    yes: bool = False
    as_json: bool = False
    confirm_within: int = CONFIRM_WITHIN
    only_network: bool = False
    remove: bool = False
    output: Path | None = None  # where to save the plan
    saved: Saved | None = None  # the plan to carry out, and no other


def run_setup(cluster: Cluster, nodes: Sequence[Node], request: Request) -> int:
    """Provision `nodes`: read them all, show the plan, ask, carry it out, verify."""
    began = time.monotonic()
    report: dict[str, object] = {}
    if sys.stderr.isatty() and not request.as_json:
        click.echo(f"asking {'1 node' if len(nodes) == 1 else f'{len(nodes)} nodes'}", err=True)
    with connections(nodes) as runners:
        try:
            found = run(_surveyed(cluster, nodes, runners, request))
        except (agent.AgentError, TrustError) as error:
            click.echo(str(error), err=True)
            return 1
        code = _shown(cluster, found, report, request)
        if code is None and not request.yes:
            code = _asked(found)
        if code is None:
            code = run(_carried_out(cluster, found, request, report))
    if request.as_json:
        click.echo(json.dumps(report))
    elif code == 0 and not request.only_plan:
        click.echo(f"done in {time.monotonic() - began:.1f} s")
    return code


async def _surveyed(
    cluster: Cluster, nodes: Sequence[Node], runners: Mapping[str, Runner], request: Request
) -> Survey:
    job = Job(request.cluster_file, remove=request.remove)
    if not (request.remove or request.only_network):
        # Beside the first connections, which mostly wait.
        load = asyncio.ensure_future(asyncio.to_thread(_load, cluster, nodes))
        job = evolve(job, load=load)
    return await survey(cluster, nodes, runners, job)


def _load(cluster: Cluster, nodes: Sequence[Node]) -> tuple[bytes, Mapping[str, Identity]]:
    """The agent, and the identity of each node."""
    from smolmon.setup.trust.store import identities  # noqa: PLC0415 - slow; here beside ssh

    return agent.build(), identities(cluster, nodes)


def _shown(
    cluster: Cluster, found: Survey, report: dict[str, object], request: Request
) -> int | None:
    """Print the plan, save it. An exit code where that is all there is to do."""
    pending = any(t.plan.steps for t in found.targets.values())
    plans = {name: target.plan for name, target in found.targets.items()}
    report["plan"] = {name: plan_data(plan) for name, plan in plans.items()}
    report["refused"] = [line for lines in found.refused.values() for line in lines]
    if not request.as_json:
        for target in found.targets.values():
            if target.plan.steps or target.plan.notes or request.only_plan:
                for line in plan_lines(target.node.name, target.node.ssh, target.plan):
                    click.echo(one_line(line))
        if any(plan.network for plan in plans.values()):
            click.echo(
                "the network's steps undo themselves after "
                f"{request.confirm_within} s unless they are seen to work over a new connection "
                "(on Linux by a NetworkManager checkpoint on the node)"
            )
    refused = [line for lines in found.refused.values() for line in lines]
    if request.saved:
        refused += differences(
            request.saved, {n: p for n, p in plans.items() if n not in found.refused}
        )
    if refused:
        report["refused"] = refused
        _tell(refused)
        if pending or request.saved:
            click.echo("nothing was changed on any node", err=True)
        return 1
    if request.output:
        try:
            write(request.output, _saved(cluster, plans, request))
        except SavedError as error:
            _tell([str(error)])
            return 1
    if request.only_plan:
        return 2 if pending else 0
    return None


def _saved(cluster: Cluster, plans: Mapping[str, Plan], request: Request) -> Saved:
    return Saved(
        cluster.name,
        digest(request.cluster_file),
        request.only_network,
        request.remove,
        {name: plan_data(plan) for name, plan in plans.items()},
    )


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
    cluster: Cluster, found: Survey, request: Request, report: dict[str, object]
) -> int:
    def tell(line: str, *, err: bool) -> None:
        # A terminal that was closed must not keep a node from being rolled back.
        with contextlib.suppress(OSError):
            click.echo(one_line(line), err=err)

    say, complain = partial(tell, err=request.as_json), partial(tell, err=True)
    targets = found.targets
    changing = [name for name, t in targets.items() if t.plan.steps]
    if not changing:
        gone = "nothing of smolmon is on any node"
        say(f"nothing to do: {gone if request.remove else 'every node is as wanted'}")
        if request.only_network and not request.remove:
            # Each has just said what it stores, applied and has: that is all this run is about.
            say("stored, applied and live settings were compared; `smolmon verify` tries the links")
            report.update(changed=[], failed=[], checks=[], unreachable=[])
            return 0
    idle = {name for name in changing if targets[name].plan.idle}
    order = waves(cluster, destination.behind(found.ways), destination.here(found.ways), idle)
    with silenced(cluster, changing, say):
        failed = await rollout(targets, order, say, complain, request.confirm_within)
    report["changed"] = [name for name in changing if name not in failed]
    report["failed"] = list(failed.values())
    if request.remove:
        return 1 if failed else 0
    runners = {name: t.runner for name, t in targets.items()}
    checks, silent = await verify(cluster, [t.node for t in targets.values()], runners, QUICK)
    differing = [c for c in checks if c.verdict is not Verdict.PASS]
    report["checks"] = [check_data(c) for c in checks]
    report["unreachable"] = silent
    if not request.as_json:
        for line in table(differing) if differing else ():
            click.echo(one_line(line))
        _tell(silent)
    answered = len(targets) - len(silent)
    count = "1 node" if answered == 1 else f"{answered} nodes"
    say(f"verified from {count}: {summary(checks, silent)}")
    return 1 if failed else _as_expected(checks, silent)


def _as_expected(checks: Sequence[Check], silent: Sequence[str]) -> int:
    return 1 if silent or any(c.verdict is not Verdict.PASS for c in checks) else 0


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(one_line(line), err=True)

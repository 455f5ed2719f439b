"""`smolmon doctor`: what is wrong, why, and the command that repairs it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smolmon.commands.options import cluster_option, load_cluster, prometheus_option
from smolmon.observe.prometheus import Prometheus
from smolmon.observe.sample import ObserveError, one_line

if TYPE_CHECKING:
    from smolmon.cluster import Cluster
    from smolmon.doctor.finding import Examination


@click.command()
@cluster_option
@prometheus_option("Where Prometheus is.")
@click.option("--fix", is_flag=True, help="Let setup repair what it can, and look again.")
@click.option("--yes", is_flag=True, help="With --fix: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, cluster_file: str, url: str | None, fix: bool, yes: bool, as_json: bool) -> None:
    """Name the active causes, and the repair.

    Asks Prometheus for what is active, with the evidence, the command that repairs it, and the
    symptoms that it explains. Where there is no Prometheus, asks every exporter itself.

    With --fix shows what setup would do about it, asks, does it, and looks again.

    Exit code: 0 nothing is wrong (any more), 1 something is, 2 wrong usage or nothing to be seen.
    """
    if yes and not fix:
        raise click.UsageError("--yes answers what --fix asks; add --fix")
    if as_json and fix and not yes:
        raise click.UsageError("--json shows no plan to agree to; add --yes")
    cluster = load_cluster(cluster_file)
    url = url or cluster.monitor.prometheus
    from smolmon.setup.agent import AgentError  # noqa: PLC0415 - see cli.py
    from smolmon.setup.trust import TrustError  # noqa: PLC0415

    try:
        found = _examine(cluster, url)
        report = _data(found)
        if not as_json:
            _show(found)
        code = 0 if found.healthy else 1
        if fix and found.findings:
            code, report = _fix(cluster, url, found, Path(cluster_file), yes=yes, as_json=as_json)
        if as_json:
            click.echo(json.dumps(report))
    except (ObserveError, TrustError, AgentError) as error:
        click.echo(one_line(str(error)), err=True)
        code = 2
    except (KeyboardInterrupt, click.Abort):  # the latter at the question
        code = 130
    sys.exit(code)


def _examine(cluster: Cluster, url: str) -> Examination:
    from smolmon.commands.credentials import credentials_of  # noqa: PLC0415
    from smolmon.doctor.examine import examine  # noqa: PLC0415

    return examine(cluster, Prometheus(url), lambda: credentials_of(cluster))


def _data(found: Examination) -> dict[str, object]:
    from smolmon.doctor.report import data  # noqa: PLC0415

    return data(found)


def _show(found: Examination) -> None:
    from smolmon.doctor.report import lines  # noqa: PLC0415

    for line in lines(found, time.time()):
        click.echo(line, color=_colour())


def _colour() -> bool | None:
    """No colours where nobody wants them (https://no-color.org); else click sees to it."""
    import os  # noqa: PLC0415

    return False if os.environ.get("NO_COLOR") else None


def _fix(
    cluster: Cluster, url: str, found: Examination, file: Path, *, yes: bool, as_json: bool
) -> tuple[int, dict[str, object]]:
    """Repair, look again, and say what is healed; the exit code, and what --json shows."""
    from smolmon.doctor.repair import known, reachable, repair, settled, shown  # noqa: PLC0415

    def tell(line: str) -> None:
        click.echo(one_line(line), err=True)

    def waiting(line: str) -> None:
        if sys.stderr.isatty():
            tell(line)

    content = file.read_bytes()
    nodes = reachable(cluster, found.findings)
    if nodes:
        tell(f"asking setup what it would do on {', '.join(node.name for node in nodes)}")
    plan = known(cluster, nodes, content)
    for line in plan.refused:
        tell(line)
    done: dict[str, object] = {"nodes": list(plan.plans), "refused": list(plan.refused)}
    done |= {"healed": [], "setup": None}
    if not plan.plans:
        tell("there is nothing that setup could repair; what there is to do stands above")
        return 1, _data(found) | {"repair": done}
    for line in () if as_json else shown(cluster, plan.plans):
        click.echo(line)
    if not yes and (code := _asked(list(plan.plans))):
        return code, {}
    _, done["setup"] = repair(cluster, plan.plans, content)
    after = settled(lambda: _examine(cluster, url), found, plan.plans, waiting)
    left = {f.key for f in after.findings}
    healed = [f for f in found.findings if f.key not in left]
    done["healed"] = [{"alert": f.alert, "node": f.node or None} for f in healed]
    if not as_json:
        click.echo("")
        for finding in healed:
            text = click.style(one_line(f"healed: {finding.summary}"), fg="green")
            click.echo(text, color=_colour())
        _show(after)
    return (0 if after.healthy else 1), _data(after) | {"repair": done}


def _asked(names: list[str]) -> int:
    """Ask whether to go on: 0, or an exit code where the answer is no, or nobody can be asked."""
    if not sys.stdin.isatty():
        click.echo("there is no terminal to ask on; add --yes", err=True)
        return 2
    if click.confirm(f"Carry this out on {', '.join(names)}?"):
        return 0
    click.echo("nothing was changed")
    return 1

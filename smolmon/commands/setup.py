"""`smolmon setup`: provision the network and the exporters."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smolmon.commands.options import cluster_option, load_cluster

if TYPE_CHECKING:
    from smolmon.cluster import Cluster
    from smolmon.setup.saved import Saved


@click.command()
@click.argument("plan_file", metavar="[PLAN]", required=False, type=click.Path(path_type=Path))
@cluster_option
@click.option("--plan", "only_plan", is_flag=True, help="Show the exact commands; change nothing.")
@click.option(
    "-o",
    "output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --plan: save it; `smolmon setup FILE` carries out that plan or none.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--node", "names", metavar="NODE", multiple=True, help="Only this one; repeatable.")
@click.option(
    "--only",
    type=click.Choice(["network"]),
    help="Only the network, with its proof: neither agent nor exporter.",
)
@click.option("--remove", is_flag=True, help="Take away all that smolmon installed, nothing else.")
@click.option(
    "--sudoers", metavar="NODE", help="Print a sudoers file that allows what setup does on NODE."
)
@click.option(
    "--confirm-within",
    type=click.IntRange(40, 3600),
    default=90,
    show_default=True,
    metavar="SECONDS",
    help="A node undoes a network change that is not confirmed in this time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def setup(
    *,
    plan_file: Path | None,
    cluster_file: str,
    only_plan: bool,
    output: Path | None,
    yes: bool,
    names: tuple[str, ...],
    only: str | None,
    remove: bool,
    sudoers: str | None,
    confirm_within: int,
    as_json: bool,
) -> None:
    """Provision the network and the exporters.

    Shows the plan for each node, asks, and carries it out over SSH. Every network change undoes
    itself on the node unless it was seen to work over a new connection. A second run does nothing.

    With the file of a saved PLAN it carries out exactly that, or changes nothing.

    Exit code: 0 as wanted, 1 not; with --plan 2 if there is something to do.
    """
    if as_json and not (yes or only_plan):
        raise click.UsageError("--json shows no plan to agree to; add --plan, or --yes")
    if output and not only_plan:
        raise click.UsageError("-o saves a plan; add --plan")
    if plan_file and (only_plan or names or only or remove or sudoers):
        raise click.UsageError("a saved plan says itself what to do; give only --yes beside it")
    if remove and only:
        raise click.UsageError("--remove takes away everything; leave out --only")
    from smolmon.setup.session import Request, chosen, run_setup, run_sudoers  # noqa: PLC0415

    try:
        cluster = load_cluster(cluster_file)
        content = Path(cluster_file).read_bytes()
        if sudoers:
            sys.exit(run_sudoers(cluster, chosen(cluster, [sudoers])[0]))
        saved = _read(plan_file, cluster, content) if plan_file else None
        code = run_setup(
            cluster,
            chosen(cluster, tuple(saved.nodes) if saved else names),
            Request(
                content,
                only_plan=only_plan,
                yes=yes,
                as_json=as_json,
                confirm_within=confirm_within,
                only_network=saved.only_network if saved else only == "network",
                remove=saved.remove if saved else remove,
                output=output,
                saved=saved,
            ),
        )
    except (KeyboardInterrupt, click.Abort):  # the latter at the question
        code = 130
        with contextlib.suppress(OSError):  # a terminal that was closed
            click.echo("interrupted; `smolmon setup --plan` shows what is left to do", err=True)
    sys.exit(code)


def _read(file: Path, cluster: Cluster, content: bytes) -> Saved:
    """The saved plan; exit 2 and one line where it is none, or one for another cluster file."""
    from smolmon.setup.saved import SavedError, digest, read  # noqa: PLC0415

    try:
        saved = read(file)
        if saved.cluster_file != digest(content):
            raise SavedError(
                f"{file}: the cluster file is another one since this plan of {saved.cluster} was "
                "made; make a new one: `smolmon setup --plan -o FILE`"
            )
        if not saved.nodes or {*saved.nodes} - {node.name for node in cluster.nodes}:
            raise SavedError(f"{file}: this plan is not one for {cluster.name}; make a new one")
    except SavedError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    return saved

"""`smolmon setup`: provision the network and the exporters."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from smolmon.commands.options import cluster_option, load_cluster


@click.command()
@cluster_option
@click.option("--plan", "only_plan", is_flag=True, help="Show the exact commands; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--node", "names", metavar="NODE", multiple=True, help="Only this one; repeatable.")
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
    cluster_file: str,
    only_plan: bool,
    yes: bool,
    names: tuple[str, ...],
    confirm_within: int,
    as_json: bool,
) -> None:
    """Provision the network and the exporters.

    Shows the plan for each node, asks, and carries it out over SSH. Every network change undoes
    itself on the node unless it was seen to work over a new connection. A second run does nothing.

    Exit code: 0 as wanted, 1 not; with --plan 2 if there is something to do.
    """
    if as_json and not (yes or only_plan):
        raise click.UsageError("--json shows no plan to agree to; add --plan, or --yes")
    from smolmon.setup.session import chosen, run_setup  # noqa: PLC0415 - kept out of `smolmon --help`

    try:
        cluster = load_cluster(cluster_file)
        code = run_setup(
            cluster,
            chosen(cluster, names),
            Path(cluster_file).read_bytes(),
            only_plan=only_plan,
            yes=yes,
            as_json=as_json,
            confirm_within=confirm_within,
        )
    except (KeyboardInterrupt, click.Abort):  # the latter at the question
        code = 130
        with contextlib.suppress(OSError):  # a terminal that was closed
            click.echo("interrupted; `smolmon setup --plan` shows what is left to do", err=True)
    sys.exit(code)

"""`smolmon verify`: compare expected with seen, from every node."""

from __future__ import annotations

import sys

import click

from smolmon.commands.options import cluster_option, load_cluster


@click.command()
@cluster_option
@click.option("--node", "names", metavar="NODE", multiple=True, help="Only this one; repeatable.")
@click.option(
    "--after-reboot",
    is_flag=True,
    help="Compare what each node keeps for its next boot with what is live; needs no boot.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(*, cluster_file: str, names: tuple[str, ...], after_reboot: bool, as_json: bool) -> None:
    """Compare expected with seen, from every node.

    Pings what must answer and what must not, counts the gateways on the way, looks at routes,
    forwarding and the training port. Exit code: 0 as expected, 1 not.
    """
    from smolmon.setup.session import chosen, run_verify  # noqa: PLC0415 - see cli.py

    cluster = load_cluster(cluster_file)
    try:
        code = run_verify(
            cluster, chosen(cluster, names), as_json=as_json, after_reboot=after_reboot
        )
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)

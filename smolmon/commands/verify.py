"""`smolmon verify`: compare expected with seen, from every node."""

from __future__ import annotations

import sys

import click

from smolmon.commands.options import cluster_option, load_cluster


@click.command()
@cluster_option
@click.option("--node", "names", metavar="NODE", multiple=True, help="Only this one; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(cluster_file: str, names: tuple[str, ...], as_json: bool) -> None:
    """Compare expected with seen, from every node.

    Pings what must answer and what must not, looks at routes and forwarding. Exit code: 0 as
    expected, 1 not.
    """
    from smolmon.setup.session import chosen, run_verify  # noqa: PLC0415 - see cli.py

    cluster = load_cluster(cluster_file)
    try:
        code = run_verify(cluster, chosen(cluster, names), as_json=as_json)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)

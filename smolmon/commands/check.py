"""`smolmon check`: is this a sound cluster file?"""

from __future__ import annotations

import json
from collections.abc import Sized

import click

from smolmon.cluster import derive
from smolmon.cluster.rules import warnings_of
from smolmon.commands.options import cluster_option, load_cluster


@click.command()
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(cluster_file: str, as_json: bool) -> None:
    """Validate the cluster file, and warn of what will bite."""
    cluster = load_cluster(cluster_file)
    warnings = warnings_of(cluster)
    gateways = derive.gateways(cluster)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "cluster": cluster.name,
                    "nodes": [n.name for n in cluster.nodes],
                    "segments": [s.name for s in cluster.segments],
                    "gateways": list(gateways),
                    "server": f"{cluster.server_address}:{cluster.server.port}",
                    "warnings": [{"key": key, "message": message} for key, message in warnings],
                }
            )
        )
        return
    for key, message in warnings:
        click.echo(f"warning: {key}: {message}")
    click.echo(
        f"{cluster_file}: {cluster.name}: {_count(cluster.nodes, 'node')}, "
        f"{_count(cluster.segments, 'segment')}, gateways {', '.join(gateways) or 'none'}, "
        f"server {cluster.server.node} at {cluster.server_address}:{cluster.server.port}"
    )


def _count(things: Sized, what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"

"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from smolmon.cluster import Cluster, ClusterError, load


def _default_file() -> str:
    """`./cluster.yaml` where there is one, else what $SMOLMON_CLUSTER names."""
    here = "cluster.yaml"
    return here if Path(here).exists() else os.environ.get("SMOLMON_CLUSTER", here)


cluster_option = click.option(
    "--cluster",
    "cluster_file",
    metavar="FILE",
    default=_default_file,
    show_default="./cluster.yaml, then $SMOLMON_CLUSTER",
    help="The cluster file.",
)


clusters_option = click.option(
    "--cluster",
    "-c",
    "cluster_files",
    metavar="FILE",
    multiple=True,
    default=lambda: (_default_file(),),
    show_default="./cluster.yaml, then $SMOLMON_CLUSTER",
    help="The cluster file; several, for several clusters.",
)


def load_cluster(cluster_file: str) -> Cluster:
    """The cluster declared in `cluster_file`; exit 2 and a line for each problem if it has any."""
    try:
        return load(Path(cluster_file))
    except ClusterError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(2)

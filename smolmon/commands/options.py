"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from smolmon.cluster import Cluster, ClusterError, load


def _default_file() -> str:
    """`./cluster.yaml` where there is one, else what $SMOLMON_CLUSTER names."""
    here = "cluster.yaml"
    try:
        there = Path(here).exists()
    except OSError:  # a folder that one may not enter; told by whoever reads the file
        there = True
    return here if there else os.environ.get("SMOLMON_CLUSTER", here)


F = TypeVar("F", bound=Callable[..., object])

cluster_option = click.option(
    "--cluster",
    "-c",
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


def prometheus_option(help_: str) -> Callable[[F], F]:
    """`--prometheus`, which is None where it is not given: the cluster file knows then."""
    return click.option(
        "--prometheus",
        "url",
        metavar="URL",
        callback=_checked,
        show_default="the cluster file's `monitor.prometheus`",
        help=help_,
    )


def _checked(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    from smolmon.observe.fetch import parts_of  # noqa: PLC0415 - see cli.py
    from smolmon.observe.sample import ObserveError  # noqa: PLC0415

    try:
        if url is not None:
            parts_of(url)
    except ObserveError as error:
        raise click.BadParameter(str(error)) from error
    return url


def load_cluster(cluster_file: str) -> Cluster:
    """The cluster declared in `cluster_file`; exit 2 and a line for each problem if it has any."""
    try:
        return load(Path(cluster_file))
    except ClusterError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(2)

"""`smolmon status`: what the cluster does now, on one screen."""

from __future__ import annotations

import json
import os
import sys
import time

import click

from smolmon.cluster import Cluster
from smolmon.commands.options import cluster_option, load_cluster, prometheus_option
from smolmon.observe.exporters import Credentials

EVERY = 2.0  # seconds


@click.command()
@cluster_option
@click.option("--once", is_flag=True, help="Print one frame and end; so does a pipe.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and end.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.5, 3600),
    help=f"How often to look; {EVERY:g} if not given.",
)
@prometheus_option("Whom to ask; without an answer, the exporters themselves.")
@click.option("--plain", is_flag=True, help="No colours and no cursor movements.")
def status(
    *,
    cluster_file: str,
    once: bool,
    as_json: bool,
    interval: float | None,
    url: str | None,
    plain: bool,
) -> None:
    """Show live what the cluster does.

    The topology, round trips, loss and bandwidth, what is wrong and what repairs it, and whether a
    training run may start. Ctrl-C ends it. Exit code with --once and --json: 0 READY, 1 not.
    """
    from smolmon.status import screen  # noqa: PLC0415 - see cli.py
    from smolmon.status.ask import looks  # noqa: PLC0415
    from smolmon.status.data import data  # noqa: PLC0415
    from smolmon.status.judge import picture  # noqa: PLC0415
    from smolmon.status.model import Word  # noqa: PLC0415

    cluster = load_cluster(cluster_file)
    look = looks(cluster, url or cluster.monitor.prometheus, lambda: _credentials(cluster))
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    colour = terminal and not plain and not os.environ.get("NO_COLOR")
    try:
        if as_json:
            seen = picture(cluster, look())
            click.echo(json.dumps(data(cluster, seen, time.time())))
        elif once or not (terminal or plain or interval):
            seen = screen.show_once(cluster, look, colour=colour, out=sys.stdout)
        elif terminal and not plain:
            screen.live(cluster, look, interval or EVERY, colour=colour)
            return
        else:
            screen.show_frames(cluster, look, interval or EVERY, sys.stdout)
            return
    except KeyboardInterrupt:
        sys.exit(130 if once or as_json else 0)
    except BrokenPipeError:
        # Whoever read has gone; Python would say so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0 if seen.verdict.word is Word.READY else 1)


def _credentials(cluster: Cluster) -> Credentials:
    """What opens the exporters. Raises ObserveError."""
    from smolmon.commands.credentials import credentials_of  # noqa: PLC0415
    from smolmon.observe.sample import ObserveError  # noqa: PLC0415
    from smolmon.setup.trust import TrustError  # noqa: PLC0415

    try:
        return credentials_of(cluster)
    except TrustError as error:
        raise ObserveError(str(error)) from error

"""`smolmon render`: the monitor's configuration, written into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from smolmon.alerts.render import (
    DEFAULT_WEBHOOK,
    HEADER,
    RenderError,
    check_webhook,
    parse_speed,
    write,
)
from smolmon.alerts.render import render as texts_of
from smolmon.alerts.speed import duration, interval
from smolmon.commands.options import cluster_option, load_cluster
from smolmon.dashboards import provisioning


@click.command()
@click.argument("directory", metavar="DIR")
@cluster_option
@click.option(
    "--speed",
    metavar="N",
    default="1",
    show_default=True,
    help="Divide every duration by N, to prove slow alerts quickly.",
)
@click.option(
    "--webhook",
    metavar="URL",
    default=DEFAULT_WEBHOOK,
    show_default=True,
    help="Where Alertmanager posts notifications.",
)
def render(directory: str, cluster_file: str, speed: str, webhook: str) -> None:
    """Write the monitor's configuration.

    DIR gets prometheus/ (prometheus.yml, rules, targets), alertmanager/ (alertmanager.yml), and
    grafana/ (provisioning: data source, folder, boards).
    """
    try:
        factor, url = parse_speed(speed), check_webhook(webhook)
        cluster = load_cluster(cluster_file)
        grafana = provisioning.texts(cluster, HEADER, duration(interval(factor)))
        for path in write(Path(directory), texts_of(cluster, factor, url) | grafana):
            click.echo(path)
    except RenderError as error:
        click.echo(str(error), err=True)
        sys.exit(2)

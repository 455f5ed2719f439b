"""`smolmon render`: the monitor's configuration, written into a folder."""

from __future__ import annotations

import sys
from pathlib import Path, PurePath

import click

from smolmon.alerts.notify_secrets import notes
from smolmon.alerts.render import (
    HEADER,
    RenderError,
    Trust,
    check_webhook,
    parse_speed,
    write,
)
from smolmon.alerts.render import render as texts_of
from smolmon.alerts.speed import duration, interval
from smolmon.cluster import Cluster
from smolmon.commands.options import cluster_option, load_cluster
from smolmon.dashboards import provisioning
from smolmon.setup.trust import TrustError


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
    help="Post notifications here alone, whatever the cluster file says under `notify`.",
)
@click.option(
    "--secrets",
    metavar="DIR",
    help="Where Alertmanager sees the cluster file's folder, for files of secrets whose paths are "
    "relative: the mount point, in a container.  [default: that folder]",
)
def render(
    directory: str, cluster_file: str, speed: str, webhook: str | None, secrets: str | None
) -> None:
    """Write the monitor's configuration.

    DIR gets prometheus/ (prometheus.yml, rules, targets, tls), alertmanager/ (alertmanager.yml) and
    grafana/ (provisioning: data source, folder, boards). tls/prometheus.key opens every exporter:
    it is for the user that Prometheus runs as, alone.
    """
    try:
        factor = parse_speed(speed)
        url = None if webhook is None else check_webhook(webhook)
        cluster = load_cluster(cluster_file)
        grafana = provisioning.texts(cluster, HEADER, duration(interval(factor)))
        home = Path(cluster_file).resolve().parent
        texts = texts_of(cluster, trust_of(cluster), factor, url, PurePath(secrets or home))
        for path in write(Path(directory), texts | grafana):
            click.echo(path)
        for line in notes(cluster.notify, home) if url is None else ():
            click.echo(line, err=True)
    except (RenderError, TrustError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def trust_of(cluster: Cluster) -> Trust:
    """What Prometheus needs for TLS, from the authority, which is made if there is none yet."""
    from smolmon.setup.trust.store import monitor_identity  # noqa: PLC0415 - it takes 0.1 s

    identity = monitor_identity(cluster)
    return Trust(identity.certificate.decode(), identity.key.decode(), identity.authority.decode())

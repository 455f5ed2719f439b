"""`smolmon render`: the monitor's configuration, written into a folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import click
from attrs import evolve

from smolmon.alerts.notify import HERE
from smolmon.alerts.notify_secrets import notes
from smolmon.alerts.prometheus import Names, interval, prometheus_of
from smolmon.alerts.render import (
    HEADER,
    RenderError,
    Trust,
    check_webhook,
    parse_speed,
    write,
)
from smolmon.alerts.render import render as texts_of
from smolmon.alerts.shared import disagreement, monitor_of, notify_of
from smolmon.alerts.speed import duration
from smolmon.cluster import Cluster, Monitor
from smolmon.cluster.monitor import DEFAULT_ALERTMANAGER, DEFAULT_PROMETHEUS
from smolmon.commands.options import clusters_option, load_cluster
from smolmon.dashboards import provisioning
from smolmon.setup.trust import TrustError

# What docker-compose.yml calls its services.
IN_COMPOSE = Names("http://prometheus:9090", "http://alertmanager:9093", data="/prometheus")


@click.command()
@click.argument("directory", metavar="DIR")
@clusters_option
@click.option(
    "--compose",
    is_flag=True,
    help="For the containers of docker-compose.yml, which `smolmon up` starts.",
)
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
    directory: str,
    *,
    cluster_files: Sequence[str],
    compose: bool,
    speed: str,
    webhook: str | None,
    secrets: str | None,
) -> None:
    """Write the monitor's configuration.

    DIR gets prometheus/ (prometheus.yml, rules, targets, tls), alertmanager/ (alertmanager.yml) and
    grafana/ (provisioning: data source, folder, boards). tls/CLUSTER/prometheus.key opens every
    exporter: it is for the user that Prometheus runs as, alone.

    Give --cluster several times to watch several clusters with one Prometheus. DIR then holds
    those and no others.
    """
    names = IN_COMPOSE if compose else Names()
    try:
        factor = parse_speed(speed)
        url = None if webhook is None else check_webhook(webhook)
        clusters = [load_cluster(file) for file in cluster_files]
        home = Path(directory) / "alertmanager" if compose else folder_of(cluster_files, clusters)
        seen = PurePath(secrets) if secrets else HERE if compose else home
        for path in written(Path(directory), texts(clusters, factor, url, names, seen)):
            click.echo(path)
        for line in notes(notify_of(clusters), home) if url is None else ():
            click.echo(line, err=True)
    except (RenderError, TrustError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def written(directory: Path, texts: dict[str, str]) -> list[Path]:
    """Write `texts` below `directory`, and take away what earlier runs wrote beyond them.

    The files' paths. Raises RenderError.
    """
    paths = write(directory, texts)
    for path in provisioning.stale(directory, paths):
        path.unlink(missing_ok=True)
    return paths


def folder_of(files: Sequence[str], clusters: Sequence[Cluster]) -> Path:
    """The folder of the cluster file whose receivers count, to which their files are relative."""
    said = (f for f, c in zip(files, clusters, strict=True) if c.notify == notify_of(clusters))
    return Path(next(said)).resolve().parent


def texts(
    clusters: Sequence[Cluster],
    speed: float,
    webhook: str | None,
    names: Names,
    secrets: PurePath = HERE,
) -> dict[str, str]:
    """Every file's text, by its path below the output folder. Raises RenderError, TrustError.

    `secrets` is where Alertmanager finds receivers' files whose paths are relative.
    """
    if names.data == IN_COMPOSE.data:
        clusters = in_containers(clusters)
        _check_reached(clusters, webhook)
    first, *others = clusters
    more = {cluster: trust_of(cluster) for cluster in others}
    monitor = texts_of(first, trust_of(first), speed, webhook, secrets, others=more, names=names)
    declared = monitor_of(clusters)
    every, url = duration(interval(declared, speed)), prometheus_of(declared, names)
    return monitor | provisioning.texts(clusters, HEADER, every, url, names.long_term)


def in_containers(clusters: Sequence[Cluster]) -> list[Cluster]:
    """The clusters as their monitor's containers see them: nothing is on this machine's loopback.

    A monitor that answers there is the one in the containers, whatever port it is shown at. The
    receiver `local`, which is there by default, is left out. Clusters that disagree stay as they
    are, for whoever tells of it.
    """
    if disagreement(clusters):
        return list(clusters)
    monitor, notify = monitor_of(clusters), notify_of(clusters)
    if _on_loopback(monitor.prometheus):
        monitor = evolve(monitor, prometheus=DEFAULT_PROMETHEUS)
    if _on_loopback(monitor.alertmanager):
        monitor = evolve(monitor, alertmanager=DEFAULT_ALERTMANAGER)
    if _on_loopback(notify.local):
        notify = evolve(notify, local="")
    return [evolve(cluster, monitor=monitor, notify=notify) for cluster in clusters]


def starts_alertmanager(monitor: Monitor) -> bool:
    """Whether the containers have one: not for an agent, nor where one of one's own is named."""
    return not monitor.agent and monitor.alertmanager == DEFAULT_ALERTMANAGER


def _check_reached(clusters: Sequence[Cluster], webhook: str | None) -> None:
    """Refuse what a container would send to itself. Raises RenderError, with a line for each."""
    monitor, receivers = monitor_of(clusters), notify_of(clusters).receivers
    stores = enumerate(monitor.remote_write)
    sent = {f"monitor.remote_write[{number}].url": store.url for number, store in stores}
    if starts_alertmanager(monitor):
        if webhook is not None:
            sent["--webhook"], receivers = webhook, ()
        for each in receivers:
            sent[f"notify.receivers.{each.name}.url"] = each.url
            sent[f"notify.receivers.{each.name}.smarthost"] = f"//{each.smarthost}"
    wrong = [
        f"{key}: in a container, {urlsplit(url).hostname} is the container; "
        "write an address of this machine, at which it listens"
        for key, url in sent.items()
        if _on_loopback(url)
    ]
    if wrong:
        raise RenderError("\n".join(wrong))


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def trust_of(cluster: Cluster) -> Trust:
    """What Prometheus needs for TLS, from the authority, which is made if there is none yet."""
    from smolmon.setup.trust.store import monitor_identity  # noqa: PLC0415 - it takes 0.1 s

    identity = monitor_identity(cluster)
    return Trust(identity.certificate.decode(), identity.key.decode(), identity.authority.decode())

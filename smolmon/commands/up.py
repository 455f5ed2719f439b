"""`smolmon up` and `smolmon down`: the monitor in containers."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

import click
from attrs import evolve

from smolmon.alerts.render import HEADER, RenderError, check_webhook, write
from smolmon.alerts.shared import monitor_of, notify_of
from smolmon.alerts.speed import duration
from smolmon.cluster import Cluster
from smolmon.commands.options import clusters_option, load_cluster
from smolmon.commands.render import IN_COMPOSE, in_containers, starts_alertmanager, texts, written
from smolmon.compose import engine as engines
from smolmon.compose import ready, settings
from smolmon.compose.engine import ComposeError, Engine
from smolmon.dashboards import provisioning
from smolmon.setup.trust import TrustError

STORE = "http://long-term:8428"
IN_LAB = "http://lab:19090"

directory_option = click.option(
    "--directory",
    metavar="DIR",
    default="monitor",
    show_default=True,
    help="Where the configuration is written, as by `smolmon render`.",
)


@click.command()
@clusters_option
@directory_option
@click.option("--long-term", is_flag=True, help="Keep samples for years, in VictoriaMetrics.")
@click.option(
    "--lab", "emulated", is_flag=True, help="Emulate the cluster, in a privileged container."
)
@click.option(
    "--webhook",
    metavar="URL",
    help="Post notifications here alone, whatever the cluster file says under `notify`.",
)
def up(
    cluster_files: Sequence[str],
    directory: str,
    long_term: bool,
    emulated: bool,
    webhook: str | None,
) -> None:
    """Start the monitor in containers.

    Renders the configuration, starts Prometheus, Alertmanager and Grafana by Docker Compose (or
    Podman's) and waits until they answer. A second run takes over what has changed since.

    With --lab the cluster is emulated instead, with a monitor of its own beside Grafana, by
    default in DIR-lab. That needs a checkout of smolmon.
    """
    clusters = [load_cluster(file) for file in cluster_files]
    names = evolve(IN_COMPOSE, long_term=STORE) if long_term else IN_COMPOSE
    folder = Path(directory)
    try:
        url = None if webhook is None else check_webhook(webhook)
        if emulated:
            _start_lab(cluster_files, clusters, folder.with_name(f"{folder.name}-lab"))
            return
        engine = engines.find()
        _check_credentials(clusters, folder)
        inside = in_containers(clusters)
        if url is None and starts_alertmanager(monitor_of(inside)):
            _check_receivers(inside, folder)
        made = texts(clusters, 1.0, url, names)
        _say(f"writing the configuration into {folder}")
        written(folder, made)
        _start(engine, folder, clusters, services_of(inside, long_term))
    except (ComposeError, RenderError, TrustError) as error:
        click.echo(str(error), err=True)
        sys.exit(1 if isinstance(error, ComposeError) else 2)


@click.command()
@directory_option
def down(directory: str) -> None:
    """Stop the monitor's containers.

    What they have recorded stays, for the next `smolmon up`.
    """
    folder = Path(directory)
    try:
        if not (folder / settings.ENVIRONMENT).exists():
            raise ComposeError(f"{folder}: `smolmon up` has not written here; name it: --directory")
        engines.run(engines.find(), [*_project(folder), "down", "--remove-orphans"])
        _say("stopped; what was recorded is kept")
    except ComposeError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def services_of(clusters: Sequence[Cluster], long_term: bool) -> list[str]:
    """The services that this monitor needs.

    An agent has neither alerts nor anything to show; with an Alertmanager of one's own, another is
    not wanted.
    """
    monitor = monitor_of(clusters)
    found = ["prometheus"]
    if starts_alertmanager(monitor):
        found.append("alertmanager")
    if not monitor.agent:
        found.append("grafana")
    return [*found, "long-term"] if long_term else found


def _check_credentials(clusters: Sequence[Cluster], folder: Path) -> None:
    stores = monitor_of(clusters).remote_write
    named = [f for store in stores for f in (store.password_file, store.credentials_file) if f]
    inside = folder / "prometheus"
    for name in settings.missing_files(inside, named):
        raise ComposeError(
            f"monitor.remote_write: {name} cannot be read in the container; put the file into "
            f"{inside / 'secrets'}, readable by you alone, and write `secrets/{Path(name).name}`"
        )


def _check_receivers(clusters: Sequence[Cluster], folder: Path) -> None:
    notify = notify_of(clusters)
    named = [file for receiver in notify.receivers for file in receiver.files().values()]
    if notify.heartbeat:
        named.append(notify.heartbeat.url_file)
    inside = folder / "alertmanager"
    for name in settings.missing_files(inside, named):
        raise ComposeError(
            f"notify: {name} cannot be read in the container; put the file into "
            f"{inside / 'secrets'}, readable by you alone, and write `secrets/{Path(name).name}`"
        )
    if not notify.receivers and not notify.local:
        _say("note: nobody is told of alerts; name a receiver under `notify` in the cluster file")


def _start_lab(cluster_files: Sequence[str], clusters: Sequence[Cluster], folder: Path) -> None:
    """Grafana, and the container that emulates the cluster. No certificate is made for that."""
    source = Path(str(files("smolmon"))).resolve().parent
    if not (source / "deploy" / "lab.Dockerfile").is_file():
        raise ComposeError("--lab: the image is built from a checkout of smolmon; run it from one")
    if len(clusters) != 1:
        raise ComposeError("--lab: emulates one cluster; name one cluster file")
    engine = engines.find()
    every = duration(clusters[0].monitor.scrape_interval)
    _say(f"writing Grafana's configuration into {folder}")
    write(folder, provisioning.texts(clusters, HEADER, every, IN_LAB))
    more = {
        "SMOLMON_SOURCE": str(source),
        "SMOLMON_CLUSTER_FILE": str(Path(cluster_files[0]).resolve()),
    }
    _start(engine, folder, clusters, ["lab", "grafana"], more)


def _start(
    engine: Engine,
    folder: Path,
    clusters: Sequence[Cluster],
    services: Sequence[str],
    more: Mapping[str, str] | None = None,
) -> None:
    chosen = settings.ports(folder, os.environ)
    network = settings.subnet(clusters, folder, os.environ, emulated="lab" in services)
    settings.write(folder, engine, chosen, network, more)
    project = _project(folder)
    running = engines.running(engine, _name(folder), services)
    new = {s: (settings.PORTS[s][0], chosen[s]) for s in services if s not in running}
    again = "smolmon up --lab" if "lab" in services else "smolmon up"
    ready.check_free(new, again)
    _say(f"starting {', '.join(services)} (the first time, their images are fetched)")
    try:
        # The lab's image is made anew where the checkout has changed.
        build = ["--build"] if "lab" in services else []
        engines.run(engine, [*project, "up", "--detach", *build, *services], _progress)
    except ComposeError as error:
        # Docker's words, and Podman's.
        if not re.search("Pool overlaps|subnet .* already used", str(error)):
            raise
        raise ComposeError(
            f"{error}; {network} is another network's here: choose one that is free, "
            f"{settings.SUBNET}=10.1.2.0/24 {again}"
        ) from error
    # One that was made anew has read its files, and might not survive a signal so early.
    now = engines.running(engine, _name(folder), ("prometheus", "alertmanager"))
    if kept := [service for service in now if now[service] == running.get(service)]:
        engines.run(engine, [*project, "kill", "--signal", "HUP", *kept])
    logs = f"{engine.name} --project-name {_name(folder)} logs"
    if "lab" in services:
        _say(f"the cluster boots, the first time for some minutes; watch it: {logs} --follow lab")
    alive = partial(engines.running, engine, _name(folder), services)
    ready.wait(services, chosen, _say, alive, logs)
    for service in services:
        click.echo(f"{service:13} {ready.url(chosen[service])}")
    if "grafana" in services:
        click.echo(f"{'':13} log in as admin; the password is in {folder / settings.PASSWORD}")
    for cluster in clusters:
        for node in cluster.nodes:
            if node.management.endswith(".local"):
                click.echo(
                    f"warning: nodes.{node.name}.management: {node.management} may not be found "
                    "from inside a container; write its address"
                )


def _project(folder: Path) -> list[str]:
    file = Path(str(files("smolmon.compose") / "docker-compose.yml"))
    environment = ["--env-file", str(folder / settings.ENVIRONMENT)]
    profiles = ["--profile", "long-term", "--profile", "lab"]
    return ["--project-name", _name(folder), "--file", str(file), *environment, *profiles]


def _name(folder: Path) -> str:
    """What compose calls all of it: the lab's is another than the real monitor's."""
    return "smolmon-lab" if folder.name.endswith("-lab") else "smolmon"


def _progress(line: str) -> None:
    """Compose tells each step of each image; of those, what a person waits for."""
    # Podman's: of what runs and stays, and which program it had run.
    if "name is already in use" in line or line.startswith("Error: executing "):
        return
    # The build of an image comes by here too, and installs a libgpg-error0.
    if line.endswith(("Pulled", "Started", "Recreated")) or re.search(r"(?i)\berror\b", line):
        _say(f"  {line}")


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()

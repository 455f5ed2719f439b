"""Prometheus' configuration: what it scrapes, where its alerts and its samples go.

Several clusters can share one Prometheus. Each has a job of its own, with targets and certificates,
for each has its own authority; the label `job` is `smolmon` for all, as rules and boards want it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from smolmon.alerts.shared import monitor_of
from smolmon.alerts.speed import MIN_INTERVAL, duration, scaled
from smolmon.cluster import Cluster, Monitor, derive
from smolmon.cluster.monitor import DEFAULT_ALERTMANAGER, DEFAULT_PROMETHEUS, RemoteWrite

JOB = "smolmon"
PORTS = {"http": 80, "https": 443}
# After so long Prometheus says again what fires and, for 15 minutes, what is over. By itself it
# waits a minute, longer than Alertmanager's group interval: the ends of two earlier alerts, by
# turns, would have a third that still fires told of again each time.
RESEND = "20s"


@frozen
class Names:
    """Where the programs of the monitor find each other, unless the cluster file says.

    `prometheus` is for Grafana; Prometheus itself is always at its own loopback address.
    `long_term` is a store beside it that gets every sample too, if there is one. `data` is where
    Prometheus keeps its own, if that is not its to say.
    """

    prometheus: str = DEFAULT_PROMETHEUS
    alertmanager: str = DEFAULT_ALERTMANAGER
    long_term: str | None = None
    data: str | None = None


def interval(monitor: Monitor, speed: float) -> float:
    """Seconds between two scrapes, and between two evaluations."""
    return max(monitor.scrape_interval / speed, MIN_INTERVAL)


def prometheus_of(monitor: Monitor, names: Names) -> str:
    """Where Grafana asks."""
    chosen = monitor.prometheus
    return names.prometheus if chosen == DEFAULT_PROMETHEUS else chosen


def alertmanager_of(monitor: Monitor, names: Names) -> str:
    """Where Prometheus hands its alerts over."""
    chosen = monitor.alertmanager
    return names.alertmanager if chosen == DEFAULT_ALERTMANAGER else chosen


def config(clusters: Sequence[Cluster], speed: float, names: Names) -> dict[str, Any]:
    """prometheus.yml. Its paths are relative to its own folder, so that the folder can be moved.

    An agent scrapes and sends on, and refuses the sections on rules and alerts.
    """
    monitor = monitor_of(clusters)
    every = duration(interval(monitor, speed))
    labels = dict(monitor.external_labels)
    if len(clusters) == 1:
        # For alerts that are of no node; all others carry the label already.
        labels = {"cluster": clusters[0].name, **labels}
    whole: dict[str, Any] = {"global": {"scrape_interval": every}}
    scrapes = [*map(_scrape, clusters), _itself(monitor)]
    if not monitor.agent:
        whole["global"]["evaluation_interval"] = every
        url = alertmanager_of(monitor, names)
        whole["rule_files"] = ["rules/*.yml"]
        whole["alerting"] = {"alertmanagers": [{"scheme": urlsplit(url).scheme, **_static(url)}]}
        scrapes.append(_other("alertmanager", url))
    if labels:
        whole["global"]["external_labels"] = labels
    stores = [*monitor.remote_write]
    if names.long_term:
        stores.append(RemoteWrite(f"{names.long_term}/api/v1/write"))
    if stores:
        whole["remote_write"] = [_remote_write(store) for store in stores]
    return whole | {"scrape_configs": scrapes}


def flags(monitor: Monitor, data: str | None = None, speed: float = 1.0) -> str:
    """What cannot stand in prometheus.yml: for its command line, as `@prometheus.flags`."""
    kind = "agent" if monitor.agent else "tsdb"
    told = ["--agent"] if monitor.agent else [f"--storage.tsdb.retention.time={monitor.retention}"]
    if not monitor.agent:
        told.append(f"--rules.alert.resend-delay={scaled(RESEND, speed, 0.1)}")
    if data:
        told.append(f"--storage.{kind}.path={data}/{kind}")
    return "".join(f"{flag}\n" for flag in told)


def _scrape(cluster: Cluster) -> dict[str, Any]:
    tls = f"tls/{cluster.name}"
    return {
        "job_name": f"{JOB}-{cluster.name}",
        "scheme": "https",
        # Each node's certificate holds the address that is scraped.
        "tls_config": {
            "ca_file": f"{tls}/authority.crt",
            "cert_file": f"{tls}/prometheus.crt",
            "key_file": f"{tls}/prometheus.key",
            "min_version": "TLS13",
        },
        "file_sd_configs": [{"files": [f"targets/{cluster.name}.json"]}],
        "relabel_configs": [{"target_label": "job", "replacement": JOB}],
    }


def _itself(monitor: Monitor) -> dict[str, Any]:
    """Prometheus scrapes itself where it listens, which is on loopback in any case."""
    parts = urlsplit(monitor.prometheus)
    port = parts.port or PORTS[parts.scheme]
    if parts.hostname in ("127.0.0.1", "localhost"):
        return _other("prometheus", f"http://127.0.0.1:{port}")
    return _other("prometheus", monitor.prometheus)


def _other(job: str, url: str) -> dict[str, Any]:
    return {"job_name": job, "scheme": urlsplit(url).scheme, **_static(url)}


def _static(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return {"static_configs": [{"targets": [f"{host}:{port}"]}]}


def _remote_write(store: RemoteWrite) -> dict[str, Any]:
    told: dict[str, Any] = {"url": store.url}
    if store.username:
        told["basic_auth"] = {"username": store.username, "password_file": store.password_file}
    if store.credentials_file:
        told["authorization"] = {"credentials_file": store.credentials_file}
    return told


def targets(cluster: Cluster) -> str:
    """The nodes and their labels, for Prometheus' file_sd: JSON.

    Nodes are scraped at their management address, so that a fault of the fabric does not blind the
    monitor to it.
    """
    groups = [
        {
            "targets": [f"{node.management}:{cluster.exporter_port}"],
            "labels": derive.labels(cluster, node.name),
        }
        for node in cluster.nodes
    ]
    return json.dumps(groups, indent=2) + "\n"

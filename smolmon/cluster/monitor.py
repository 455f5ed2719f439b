"""How the cluster is watched: the section `monitor` of a cluster file, as plain data."""

from __future__ import annotations

from attrs import frozen

DEFAULT_PROMETHEUS = "http://127.0.0.1:9090"
DEFAULT_ALERTMANAGER = "http://127.0.0.1:9093"


@frozen
class RemoteWrite:
    """A store that Prometheus sends every sample to. Who we are there is read from files.

    Either `username` with `password_file`, or `credentials_file` (a bearer token), or nothing.
    Their paths are those of the machine that Prometheus runs on; a relative one begins at the
    folder of prometheus.yml.
    """

    url: str
    username: str = ""
    password_file: str = ""
    credentials_file: str = ""


@frozen
class Monitor:
    """Where Prometheus and Alertmanager answer, how often is scraped, how long is kept.

    `scrape_interval` is in seconds, `retention` as Prometheus writes durations. An `agent` only
    scrapes and sends on: no queries, no rules, no alerts.
    """

    prometheus: str = DEFAULT_PROMETHEUS
    alertmanager: str = DEFAULT_ALERTMANAGER
    scrape_interval: float = 5.0
    retention: str = "90d"
    external_labels: tuple[tuple[str, str], ...] = ()
    remote_write: tuple[RemoteWrite, ...] = ()
    agent: bool = False

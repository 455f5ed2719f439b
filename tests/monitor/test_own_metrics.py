"""What is rendered runs: real programs watch themselves, for the panels of the Meta board."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import pytest
from attrs import evolve

from smolmon.alerts.prometheus import Names
from smolmon.cluster import Cluster, load
from smolmon.commands.render import texts, written
from smolmon.dashboards.boards import boards
from tests.alerts.scenarios import ROOT
from tests.dashboards.questions import ask, filled, questions
from tests.programs import NEWER, OLDER, program

DEADLINE = 30.0  # seconds
PANELS = {
    "Rule evaluations that failed",
    "Notifications that Prometheus could not hand over",
    "Notifications that Alertmanager could not send",
}


def free_address() -> str:
    with create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def running(log: Path, *command: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()


def nearby(name: str, prometheus: str, alertmanager: str) -> Cluster:
    """An example whose exporters are all asked for on loopback, where there is none."""
    cluster = load(ROOT / "examples" / f"{name}.yaml")
    monitor = evolve(
        cluster.monitor,
        prometheus=f"http://{prometheus}",
        alertmanager=f"http://{alertmanager}",
        scrape_interval=1.0,
    )
    nodes = tuple(evolve(node, management="127.0.0.1") for node in cluster.nodes)
    return evolve(cluster, nodes=nodes, exporter_port=1, monitor=monitor)


@pytest.mark.parametrize("age", [OLDER, NEWER])
def test_the_monitor_watches_itself_and_several_clusters(age: str, tmp_path: Path) -> None:
    prometheus, alertmanager = free_address(), free_address()
    clusters = [nearby(name, prometheus, alertmanager) for name in ("guide", "switch")]
    nowhere = f"http://{free_address()}/"
    written(tmp_path, texts(clusters, 1.0, nowhere, Names()))
    with (
        running(
            tmp_path / "alertmanager.log",
            program("alertmanager"),
            f"--config.file={tmp_path}/alertmanager/alertmanager.yml",
            f"--storage.path={tmp_path}/alertmanager-data",
            "--cluster.listen-address=",
            f"--web.listen-address={alertmanager}",
        ),
        running(
            tmp_path / "prometheus.log",
            program("prometheus", age),
            f"@{tmp_path}/prometheus/prometheus.flags",
            f"--config.file={tmp_path}/prometheus/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address={prometheus}",
        ),
    ):
        wanted = {
            q.panel: filled(q.expr, {"__rate_interval": "10s"})
            for q in questions(boards()["meta"])
            if q.panel in PANELS
        }
        assert wanted.keys() == PANELS
        watched = 'count by (cluster) (up{job="smolmon"})'
        silent = {**wanted, "nodes of both clusters": f"count({watched}) == 2"}
        end = time.monotonic() + DEADLINE
        while silent := {
            what: expr for what, expr in silent.items() if not found(prometheus, expr)
        }:
            assert time.monotonic() < end, silent
            time.sleep(0.2)


def found(prometheus: str, expr: str) -> bool:
    """Whether the query has an answer; none while Prometheus starts."""
    try:
        return bool(ask(f"http://{prometheus}", "query", query=expr)["result"])
    except OSError:
        return False

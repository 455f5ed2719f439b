"""Real Prometheus and Alertmanager, many scenarios at once: who is notified, how often, of what.

Each scenario is a cluster of its own. One small server plays all their exporters and receives the
notifications. Everything is on loopback, and at speed 20.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.request import urlopen

import yaml

from smolmon.alerts.render import ALERTMANAGER, render, targets, write
from smolmon.alerts.speed import seconds
from smolmon.commands.render import trust_of
from tests.alerts.scenarios import GUIDE, NO_SERVER, SCENARIOS, Scenario

SPEED = 20.0
DEADLINE = 60.0  # seconds for each step
TIMEOUT = 1.5  # seconds: by then Prometheus has given up on a node that does not answer
# One of each kind, as many as one Prometheus can watch at this speed on a small machine.
CHOSEN = [
    s
    for s in SCENARIOS
    if s.name
    in {
        "healthy",
        "forwarding-off",
        "return-route-missing",
        "server-dead",
        "middle-of-the-chain-dead",
        "exporter-dead",
        "wifi-out",
        "wifi-out-everywhere",
        "cable-pulled",
        "switch-off",
        "port-off",
        "address-taken",
        "default-route-stolen",
        "internet-out",
        "server-answers-nobody",
        "switch-hangs",
        "two-faults",
        "nested-inner-forwarding-off",
    }
]

Tool = Callable[[str], str]
# The nodes whose alert was firing, in each notification of one (cluster, alert, node of a cause).
History = dict[tuple[str, str], list[frozenset[str]]]


class World(ThreadingHTTPServer):
    """Serves /cluster/node, the metrics of one node, and takes notifications by POST."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scenarios = {s.name: s for s in CHOSEN}
        self.history: History = defaultdict(list)
        self.stopped = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def heal(self) -> None:
        self.scenarios = {s.name: s.healed() for s in CHOSEN}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """As usual, but say nothing when Prometheus is killed with its connections open."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def is_away(self, path: str) -> bool:
        """Whether nothing answers at the node's management address."""
        _, cluster, node = path.split("/")
        return node in self.scenarios[cluster].dead | self.scenarios[cluster].away

    def text(self, path: str) -> str | None:
        _, cluster, node = path.split("/")
        lines = []
        for series in self.scenarios[cluster].metrics(node):
            labels = ",".join(f'{key}="{value}"' for key, value in series.labels.items())
            lines.append(f"{series.name}{{{labels}}} {series.value}\n")
        return "".join(lines) or None

    def notified(self, payload: dict[str, Any]) -> None:
        common = payload["groupLabels"]
        firing = frozenset(
            a["labels"].get("node", "") for a in payload["alerts"] if a["status"] == "firing"
        )
        self.history[common["cluster"], common["alertname"]].append(firing)


class _Handler(BaseHTTPRequestHandler):
    server: World
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.server.is_away(self.path):
            self.server.stopped.wait(TIMEOUT)
        text = self.server.text(self.path)
        self._answer(503 if text is None else 200, text or "")

    def do_POST(self) -> None:
        self.server.notified(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(200, "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(world: World) -> Iterator[None]:
    thread = threading.Thread(target=world.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        world.stopped.set()
        world.shutdown()
        world.server_close()
        thread.join()


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


def free_address() -> str:
    with create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def configure(directory: Path, world: World, alertmanager: str) -> None:
    """What `smolmon render` writes, with every scenario's nodes as targets of one Prometheus."""
    texts = render(GUIDE, trust_of(GUIDE), SPEED, f"http://{world.address}/")
    groups = [g for s in CHOSEN for g in json.loads(targets(s.cluster))]
    for group in groups:
        labels = group["labels"]
        group["targets"] = [world.address]
        labels["__scheme__"] = "http"
        labels["__metrics_path__"] = f"/{labels['cluster']}/{labels['node']}"
    texts[f"prometheus/targets/{GUIDE.name}.json"] = json.dumps(groups)
    name = "prometheus/prometheus.yml"
    assert ALERTMANAGER in texts[name]
    texts[name] = texts[name].replace(ALERTMANAGER, alertmanager)
    write(directory, texts)


def until(what: Callable[[], object], expected: object) -> None:
    """Wait until `what()` is as expected."""
    end = time.monotonic() + DEADLINE
    while (seen := what()) != expected:
        assert time.monotonic() < end, f"{seen} after {DEADLINE} s, not {expected}"
        time.sleep(0.1)


def alerts(alertmanager: str) -> list[dict[str, Any]]:
    """The alerts that Alertmanager holds; none while it starts."""
    try:
        with urlopen(f"http://{alertmanager}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found
    except OSError:
        return []


def names(alertmanager: str) -> set[str]:
    """The names of the alerts that Alertmanager holds."""
    return {alert["labels"]["alertname"] for alert in alerts(alertmanager)}


def muted(alertmanager: str, for_seconds: float) -> set[tuple[str, str]]:
    """(cluster, node) of each symptom that has been muted, and for so long."""
    now = datetime.now(timezone.utc)
    return {
        (alert["labels"]["cluster"], alert["labels"]["node"])
        for alert in alerts(alertmanager)
        if alert["labels"]["alertname"] == "SmolmonServerUnreachable"
        and alert["status"]["inhibitedBy"]
        and (now - datetime.fromisoformat(alert["startsAt"].replace("Z", "+00:00"))).total_seconds()
        > for_seconds
    }


def ready(alertmanager: str) -> bool:
    try:
        with urlopen(f"http://{alertmanager}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def expected_history(scenarios: list[Scenario]) -> History:
    """One notification of each cause, and one of what no cause explains."""
    history: History = {}
    for s in scenarios:
        history |= {(s.name, alert): [frozenset({node})] for alert, node in s.causes}
        for alert in {alert for alert, _ in s.told}:
            history[s.name, alert] = [frozenset(node for a, node in s.told if a == alert)]
    return history


def test_one_fault_is_one_notification(tool: Tool, tmp_path: Path) -> None:
    world = World()
    alertmanager = free_address()
    configure(tmp_path, world, alertmanager)
    route = yaml.safe_load((tmp_path / "alertmanager" / "alertmanager.yml").read_text())["route"]
    # By then a symptom that is not muted would have been notified.
    symptom_wait = seconds(route["routes"][1]["group_wait"]) + seconds(route["group_interval"])

    with ExitStack() as stack:
        stack.enter_context(serving(world))
        stack.enter_context(
            running(
                tmp_path / "alertmanager.log",
                tool("alertmanager"),
                f"--config.file={tmp_path / 'alertmanager' / 'alertmanager.yml'}",
                f"--storage.path={tmp_path / 'alertmanager-data'}",
                f"--web.listen-address={alertmanager}",
                "--cluster.listen-address=",
            )
        )
        until(lambda: ready(alertmanager), True)
        stack.enter_context(
            running(
                tmp_path / "prometheus.log",
                tool("prometheus"),
                f"--config.file={tmp_path / 'prometheus' / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'prometheus-data'}",
                f"--web.listen-address={free_address()}",
            )
        )

        broken = expected_history(CHOSEN)
        explained = {
            (s.name, node)
            for s in CHOSEN
            for node in s.suffering
            if (NO_SERVER, node) not in s.told
        }
        until(world.history.keys, broken.keys())
        until(lambda: muted(alertmanager, symptom_wait), explained)
        assert world.history == broken

        world.heal()
        until(lambda: names(alertmanager) - {"Watchdog"}, set())
        until(lambda: all(seen[-1] == frozenset() for seen in world.history.values()), True)
        assert world.history.keys() == broken.keys()
        for key, seen in world.history.items():
            # Nodes may recover one after another; none may be reported again.
            assert seen[0] == broken[key][0]
            assert all(after < before for before, after in pairwise(seen))

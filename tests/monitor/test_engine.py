"""`smolmon up` on this machine's own Docker or Podman.

No registry is asked: the images are made of the emulated cluster's root file system and of Debian's
newest Prometheus and Alertmanager; in Grafana's place stands a program that reads the same files.
They bear the names of the published ones, so an engine that has such images, or a monitor of
smolmon's, is left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smolmon.compose import engine as engines
from smolmon.compose.engine import ComposeError
from smolmon.lab import place, rootfs
from smolmon.observe.fetch import get_json
from smolmon.observe.sample import ObserveError
from tests.alerts.scenarios import ROOT
from tests.monitor.test_own_metrics import free_address
from tests.programs import NEWER
from tests.programs import program as program_of

pytestmark = pytest.mark.long

BASE = "smolmon-test:base"
OURS = "--filter=label=com.docker.compose.project=smolmon"
# By service: what its image runs, and the folder that it writes.
PROGRAMS = {
    "prometheus": (["prometheus"], "/prometheus"),
    "alertmanager": (["alertmanager"], "/alertmanager"),
    "grafana": (["python3", "/grafana.py"], "/var/lib/grafana"),
}
GRAFANA = """
import http.server, os, pathlib
assert pathlib.Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text()
boards = [p.read_bytes() for p in pathlib.Path("/etc/grafana/provisioning").rglob("*.json")]
assert boards
pathlib.Path("/var/lib/grafana/grafana.db").touch()
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("", 3000), Health).serve_forever()
"""
# Grafana's image has it, and its health is asked by it.
WGET = '#!/bin/sh\nfor url; do :; done\nexec curl -fsS -o /dev/null "$url"\n'
DEADLINE = 90.0  # seconds


def images() -> dict[str, str]:
    """The images' names by service, from the compose file itself."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    named = re.findall(r"^  ([a-z-]+):\n(?:    .*\n)*?    image: (\S+)$", text, re.MULTILINE)
    return {service: image for service, image in named if service in PROGRAMS}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """The engine's own command, once it has the images."""
    try:
        program = engines.find().program
    except ComposeError as error:
        pytest.skip(str(error))

    def run(*words: str | Path, **options: Any) -> str:
        done = subprocess.run([program, *words], capture_output=True, check=False, **options)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def known(image: str) -> bool:
        command = [program, "image", "inspect", image]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if run("ps", "--all", "--quiet", OURS) or run("volume", "ls", "--quiet", OURS):
        pytest.skip("there is a monitor of smolmon's here")
    for image in images().values():
        if known(image):
            pytest.skip(f"{image} is here already")
    try:
        made = rootfs.ensure("bookworm", place.cache(), print)
        with subprocess.Popen(["tar", "-C", made, "-c", "."], stdout=subprocess.PIPE) as tar:
            run("import", "-", BASE, stdin=tar.stdout)
        for service, image in images().items():
            folder = tmp_path_factory.mktemp(service)
            start, data = PROGRAMS[service]
            root = folder / "root"
            (root / "usr/bin").mkdir(parents=True)
            for name in ("prometheus", "promtool", "alertmanager-program", "amtool"):
                shutil.copy(
                    program_of(name, NEWER), root / "usr/bin" / name.removesuffix("-program")
                )
            (root / "usr/bin/wget").write_text(WGET, encoding="utf-8")
            (root / "usr/bin/wget").chmod(0o755)
            (root / "grafana.py").write_text(GRAFANA, encoding="utf-8")
            (root / data.lstrip("/")).mkdir(parents=True)
            (root / data.lstrip("/")).chmod(0o777)
            lines = (f"FROM {BASE}", "COPY root /", f"VOLUME {data}", f"ENTRYPOINT {start}")
            text = "\n".join(lines).replace("'", '"')
            (folder / "Dockerfile").write_text(text, encoding="utf-8")
            run("build", "--tag", image, folder)
        yield run
    finally:
        for image in (*images().values(), BASE):
            if known(image):
                run("rmi", "--force", image)


@pytest.fixture
def home(engine: Callable[..., str], tmp_path: Path) -> Iterator[Path]:
    """A folder with a cluster whose exporters are looked for on loopback, where there is none."""
    guide = (ROOT / "examples" / "guide.yaml").read_text(encoding="utf-8")
    text = guide.replace("management: 192.168.1.", "management: 127.0.0.1")
    (tmp_path / "cluster.yaml").write_text(text, encoding="utf-8")
    yield tmp_path
    if (tmp_path / "monitor").exists():
        smolmon(tmp_path, "down")
    for volume in engine("volume", "ls", "--quiet", OURS).split():
        engine("volume", "rm", volume)


def smolmon(home: Path, *args: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "smolmon", *args],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait(what: str, look: Callable[[], Any]) -> Any:
    """What `look` finds once that is true."""
    end = time.monotonic() + DEADLINE
    while not (found := look()):
        assert time.monotonic() < end, what
        time.sleep(0.5)
    return found


def test_the_monitor_runs_in_containers(engine: Callable[..., str], home: Path) -> None:
    ports = {
        f"SMOLMON_{service.upper()}_PORT": free_address().rpartition(":")[2] for service in PROGRAMS
    }
    said = smolmon(home, "up", **ports)
    assert all(f"{service} is ready" in said for service in PROGRAMS)
    prometheus = f"http://127.0.0.1:{ports['SMOLMON_PROMETHEUS_PORT']}"

    def api(path: str) -> Any:
        try:
            return get_json(f"{prometheus}/api/v1/{path}", 5.0)["data"]
        except ObserveError:
            return None

    # It has the cluster's nodes, the key for them, the rules, and found Alertmanager.
    targets = wait("targets", lambda: api("targets")["activeTargets"])
    nodes = [t for t in targets if t["labels"]["job"] == "smolmon"]
    assert len(nodes) == 6
    wait("an answer to each scrape", lambda: all(map(tried, api("targets")["activeTargets"])))
    assert not [t for t in nodes if "certificate" in t["lastError"] or ".key" in t["lastError"]]
    assert api("rules")["groups"]
    wait("Alertmanager", lambda: api("alertmanagers")["activeAlertmanagers"])

    def healthy() -> bool:
        if engines.find().program == "podman":  # which leaves it to systemd
            ask = ["podman", "healthcheck", "run"]
            return not any(subprocess.run([*ask, c], check=False).returncode for c in containers)
        states = [engine("inspect", "--format", "{{.State.Health.Status}}", c) for c in containers]
        return states == ["healthy"] * len(PROGRAMS)

    containers = engine("ps", "--quiet", OURS).split()
    assert len(containers) == len(PROGRAMS)
    wait("the health checks", healthy)

    # A second run takes over what only a start reads.
    with (home / "cluster.yaml").open("a", encoding="utf-8") as file:
        file.write("\nmonitor: {retention: 30d}\n")
    smolmon(home, "up")
    wait("the new retention", lambda: "30d" in (api("status/flags") or {}).get(RETENTION, ""))

    assert "stopped; what was recorded is kept" in smolmon(home, "down")
    assert not engine("ps", "--all", "--quiet", OURS)
    assert engine("volume", "ls", "--quiet", OURS)


RETENTION = "storage.tsdb.retention.time"


def tried(target: dict[str, Any]) -> bool:
    return not target["lastScrape"].startswith("0001")

"""`smolmon up` and `down`: what they ask of an engine, and each trouble in one line.

The engines here are stand-ins, small programs on PATH: no daemon runs where these tests do.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from smolmon.compose import ready
from smolmon.compose.engine import ComposeError
from tests.alerts.scenarios import ROOT
from tests.programs import program

EXAMPLE = ROOT / "examples" / "guide.yaml"
DOCKER = """#!/bin/sh
echo "$@" >>"$LOG"
case "$*" in
"info "*) echo "[name=seccomp,profile=default]"; exit 0 ;;
"compose version --short") echo "${VERSION:-2.40.3}" ;;
"ps --quiet --filter=status=running --filter=label=com.docker.compose.project=$PROJECT "*)
    for last; do :; done
    grep -qx "${last##*=}" "$RUNNING" 2>/dev/null || exit 0
    echo "id${ANEW:+-$(grep -c " up --detach " "$LOG")}" ;;
*" up --detach "*)
    [ -z "$BUILD" ] || cat "$BUILD"
    echo " ${SAID:-Container smolmon-x-1  Started}" >&2
    exit "${FAIL:-0}" ;;
esac
"""
PORTS = ("PROMETHEUS", "ALERTMANAGER", "GRAFANA", "LONG_TERM")


class Ready(BaseHTTPRequestHandler):
    """Answers everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def engine(folder: Path, text: str = DOCKER, name: str = "docker") -> None:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(text)
    (folder / "bin" / name).chmod(0o755)


def smolmon(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "bin").mkdir(exist_ok=True)
    for tool in ("cat", "grep", "sh"):  # all that the stand-ins need, and no engine of this machine
        link = folder / "bin" / tool
        if not link.exists():
            link.symlink_to(f"/bin/{tool}")
    path = {"PATH": str(folder / "bin"), "LOG": str(folder / "log")}
    kept = {"SMOLMON_CONFIG": os.environ["SMOLMON_CONFIG"], "RUNNING": str(folder / "running")}
    kept["PROJECT"] = "smolmon-lab" if "--lab" in args else "smolmon"
    return subprocess.run(
        [sys.executable, "-m", "smolmon", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=path | kept | {"PYTHONPATH": str(ROOT)} | environment,
    )


def up(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return smolmon(folder, "up", "-c", str(EXAMPLE), *args, **environment)


def test_it_renders_starts_waits_and_says_where(tmp_path: Path, answering: int) -> None:
    engine(tmp_path)
    (tmp_path / "running").write_text("prometheus\nalertmanager\ngrafana\n")
    ports = {f"SMOLMON_{name}_PORT": str(answering) for name in PORTS}
    done = up(tmp_path, **ports)
    assert done.returncode == 0, done.stderr
    assert f"grafana       http://127.0.0.1:{answering}\n" in done.stdout
    assert "password is in monitor/grafana/admin-password" in done.stdout
    assert (tmp_path / "monitor/grafana/admin-password").read_text() not in done.stdout
    asked = (tmp_path / "log").read_text().splitlines()
    assert any(line.endswith("up --detach prometheus alertmanager grafana") for line in asked)
    # What runs already reads its files again.
    assert asked[-1].endswith("kill --signal HUP prometheus alertmanager")
    config = (tmp_path / "monitor/prometheus/prometheus.yml").read_text()
    assert "alertmanager:9093" in config
    # A container does not reach this machine's loopback, so nothing is sent there.
    receivers = (tmp_path / "monitor/alertmanager/alertmanager.yml").read_text()
    assert "127.0.0.1" not in receivers
    assert "note: nobody is told of alerts" in done.stdout
    command = [program("amtool"), "check-config", "monitor/alertmanager/alertmanager.yml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    done = smolmon(tmp_path, "down")
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "log").read_text().splitlines()
    assert asked[-1].endswith("down --remove-orphans")
    assert "--volumes" not in asked[-1]


def test_the_build_of_an_image_may_be_long(tmp_path: Path, answering: int) -> None:
    """Compose prints it to its standard output, and the rest to the other."""
    engine(tmp_path)
    (tmp_path / "running").write_text("lab\ngrafana\n")
    more_than_a_pipe_holds = "#8 Unpacking libgpg-error0 (1.46-1) ...\n" * 10_000
    (tmp_path / "build").write_text(more_than_a_pipe_holds)
    ports = {f"SMOLMON_{n}_PORT": str(answering) for n in ("GRAFANA", "LAB_PROMETHEUS")}
    done = up(tmp_path, "--lab", BUILD=str(tmp_path / "build"), **ports)
    assert done.returncode == 0, done.stderr
    assert "Container smolmon-x-1  Started" in done.stdout
    assert "libgpg" not in done.stdout


def test_what_was_made_anew_is_not_told_to_read_again(tmp_path: Path, answering: int) -> None:
    """It has read its files, and a signal before it listens to any ends it."""
    engine(tmp_path)
    (tmp_path / "running").write_text("prometheus\nalertmanager\ngrafana\n")
    ports = {f"SMOLMON_{name}_PORT": str(answering) for name in PORTS}
    assert up(tmp_path, ANEW="1", **ports).returncode == 0
    assert " kill " not in (tmp_path / "log").read_text()


def test_a_monitor_at_other_ports_of_this_machine_is_the_one_in_containers(
    tmp_path: Path, answering: int
) -> None:
    engine(tmp_path)
    (tmp_path / "running").write_text("prometheus\nalertmanager\ngrafana\n")
    port = str(answering)
    (tmp_path / "c.yaml").write_text(
        f"{EXAMPLE.read_text()}\nmonitor:\n  prometheus: http://127.0.0.1:{port}\n"
        f"  alertmanager: http://localhost:{port}\n"
    )
    ports = {f"SMOLMON_{name}_PORT": port for name in PORTS}
    done = smolmon(tmp_path, "up", "-c", "c.yaml", **ports)
    assert done.returncode == 0, done.stderr
    assert "starting prometheus, alertmanager, grafana" in done.stdout
    config = (tmp_path / "monitor/prometheus/prometheus.yml").read_text()
    assert port not in config
    assert "127.0.0.1:9090" in config  # where it sees itself
    assert "alertmanager:9093" in config
    source = tmp_path / "monitor/grafana/provisioning/datasources/smolmon.yml"
    assert "http://prometheus:9090" in source.read_text()


HOOK = "{kind: webhook, url: 'http://localhost:9099/'}"
MAIL = "{kind: email, to: a@b.example, from: a@b.example, smarthost: 'localhost:25'}"
REMEDY = "is the container; write an address of this machine, at which it listens\n"


@pytest.mark.parametrize(
    ("section", "options", "told"),
    [
        (f"notify: {{receivers: {{home: {HOOK}, mail: {MAIL}}}}}", [],
         f"notify.receivers.home.url: in a container, localhost {REMEDY}"
         f"notify.receivers.mail.smarthost: in a container, localhost {REMEDY}"),
        (f"notify: {{receivers: {{home: {HOOK}}}}}", ["--webhook", "http://127.0.0.2:1/x"],
         f"--webhook: in a container, 127.0.0.2 {REMEDY}"),
        ("monitor: {remote_write: [{url: 'https://m.example/'}, {url: 'http://[::1]:8428/'}]}", [],
         f"monitor.remote_write[1].url: in a container, ::1 {REMEDY}"),
    ],
)  # fmt: skip
def test_what_would_be_sent_to_the_container_itself_is_refused(
    tmp_path: Path, section: str, options: list[str], told: str
) -> None:
    engine(tmp_path)
    (tmp_path / "c.yaml").write_text(f"{EXAMPLE.read_text()}\n{section}\n")
    done = smolmon(tmp_path, "up", "-c", "c.yaml", *options)
    assert (done.returncode, done.stderr) == (2, told)
    assert not (tmp_path / "monitor").exists()
    # So it is where compose is run by hand; without containers it is right.
    rendered = smolmon(tmp_path, "render", "monitor", "-c", "c.yaml", "--compose", *options)
    assert (rendered.returncode, rendered.stderr) == (2, told)
    assert smolmon(tmp_path, "render", "monitor", "-c", "c.yaml", *options).returncode == 0


@pytest.mark.parametrize(
    "section",
    [
        "notify: {local: 'http://192.168.1.20:9099/'}",
        # Whom that tells is its own business.
        "monitor: {alertmanager: 'http://192.168.1.20:9093'}\n"
        f"notify: {{receivers: {{home: {HOOK}}}}}",
    ],
)
def test_that_nobody_is_told_is_said_where_it_is_so(
    tmp_path: Path, answering: int, section: str
) -> None:
    engine(tmp_path)
    (tmp_path / "running").write_text("prometheus\nalertmanager\ngrafana\n")
    (tmp_path / "c.yaml").write_text(f"{EXAMPLE.read_text()}\n{section}\n")
    ports = {f"SMOLMON_{name}_PORT": str(answering) for name in PORTS}
    done = smolmon(tmp_path, "up", "-c", "c.yaml", **ports)
    assert done.returncode == 0, done.stderr
    assert "nobody is told" not in done.stdout


def test_clusters_that_disagree_are_told_of(tmp_path: Path) -> None:
    engine(tmp_path)
    named = []
    for name in ("attic", "cellar"):
        text = EXAMPLE.read_text().replace("cluster: guide", f"cluster: {name}")
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"{text}\nnotify:\n  local: http://127.0.0.1:1/{name}\n")
        named += ["-c", file.name]
    done = smolmon(tmp_path, "up", *named)
    assert done.returncode == 2
    assert "attic, cellar: their `notify` sections differ" in done.stderr
    assert not (tmp_path / "monitor").exists()


def test_a_long_term_store_gets_every_sample(tmp_path: Path, answering: int) -> None:
    engine(tmp_path)
    (tmp_path / "running").write_text("prometheus\nalertmanager\ngrafana\nlong-term\n")
    ports = {f"SMOLMON_{name}_PORT": str(answering) for name in PORTS}
    done = up(tmp_path, "--long-term", **ports)
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "monitor/prometheus/prometheus.yml").read_text()
    assert "http://long-term:8428/api/v1/write" in config
    source = tmp_path / "monitor/grafana/provisioning/datasources/smolmon.yml"
    assert "http://long-term:8428\n" in source.read_text()


@pytest.mark.parametrize(
    ("docker", "environment", "message"),
    [
        (None, {}, "neither docker nor podman is here; install"),
        ("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n", {},
         "docker: its daemon does not answer; start"),
        ("#!/bin/sh\necho 'permission denied while trying' >&2; exit 1\n", {},
         "docker: you may not use its socket"),
        ("#!/bin/sh\ncase $1 in info) exit 0;; *) exit 1;; esac\n", {}, "docker has no compose"),
        (DOCKER, {"VERSION": "1.29.2"}, "docker compose is version 1.29; needs 2.20 or newer"),
        (DOCKER, {"SMOLMON_GRAFANA_PORT": "x"}, "SMOLMON_GRAFANA_PORT: 'x' is not a port"),
        (DOCKER, {"FAIL": "1", "SMOLMON_PROMETHEUS_PORT": "0"}, "SMOLMON_PROMETHEUS_PORT: '0'"),
    ],
)  # fmt: skip
def test_each_trouble_is_one_line(
    tmp_path: Path, docker: str | None, environment: dict[str, str], message: str
) -> None:
    if docker:
        engine(tmp_path, docker)
    done = up(tmp_path, **environment)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "service", "variable"),
    [
        ([], "prometheus", "SMOLMON_PROMETHEUS_PORT"),
        (["--lab"], "lab", "SMOLMON_LAB_PROMETHEUS_PORT"),
    ],
)
def test_a_port_that_is_taken_is_named_with_the_variable_that_moves_it(
    tmp_path: Path, options: list[str], service: str, variable: str
) -> None:
    engine(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = up(tmp_path, *options, **{variable: str(port)})
    assert done.returncode == 1
    assert done.stderr.startswith(f"port {port} on 127.0.0.1, for {service}, is taken by another")
    way_out = rf" {variable}=\d+ smolmon up{''.join(f' {o}' for o in options)}\n"
    assert re.search(way_out, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1
    assert "up --detach" not in (tmp_path / "log").read_text()


def test_what_does_not_stay_up_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    wait = ("prometheus",), {"prometheus": port}
    with pytest.raises(ComposeError, match="prometheus does not stay up; see why: logs prometheus"):
        ready.wait(*wait, lambda _: None, list, "logs")


PODMAN = """#!/bin/sh
case "$*" in
"ps "*) echo a-container ;;
*" up --detach "*)
    echo "Cannot connect to the Docker daemon at unix:///run/podman/podman.sock." >&2
    echo "Error: executing /usr/libexec/docker/cli-plugins/docker-compose up: exit status 1" >&2
    exit 1 ;;
esac
"""


def test_podman_that_has_docker_compose_needs_its_socket(tmp_path: Path) -> None:
    """These are Podman 5.4's own words."""
    engine(tmp_path, PODMAN, "podman")
    done = up(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("podman compose: podman runs docker-compose, which needs its")
    assert done.stderr.endswith("enable --now podman.socket\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("exit 125", "podman has no compose; needs Podman 4.7 or newer, and podman-compose 1.2"),
        ("echo podman-compose version 1.0.6", "podman-compose is version 1.0; needs 1.2 or newer"),
    ],
)
def test_a_podman_that_is_too_old_is_told(tmp_path: Path, answer: str, message: str) -> None:
    engine(tmp_path, f'#!/bin/sh\ncase "$*" in "compose version") {answer} ;; esac\n', "podman")
    done = up(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "subnet"), [([], "10.213.97.0/24"), (["--lab"], "10.97.213.0/24")]
)
def test_a_taken_subnet_is_told_with_the_way_out(
    tmp_path: Path, options: list[str], subnet: str
) -> None:
    engine(tmp_path)
    (tmp_path / "running").write_text("prometheus\nalertmanager\ngrafana\nlab\n")
    said = "failed to create network smolmon_monitor: Pool overlaps with other one"
    done = up(tmp_path, *options, FAIL="1", SAID=said)
    assert done.returncode == 1
    assert done.stderr == (
        f"docker compose: {said}; {subnet} is another network's here: choose one that is free, "
        f"{' '.join(['SMOLMON_SUBNET=10.1.2.0/24 smolmon up', *options])}\n"
    )


def test_a_lab_that_ended_is_not_waited_for(tmp_path: Path, answering: int) -> None:
    """It is not started again; fifteen minutes would go by."""
    engine(tmp_path)
    with socket.socket() as unused:  # kept from others, who do not share it
        unused.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        (tmp_path / "running").write_text("grafana\n")
        ports = {"SMOLMON_GRAFANA_PORT": str(answering), "SMOLMON_LAB_PROMETHEUS_PORT": port}
        done = up(tmp_path, "--lab", **ports)
    assert done.returncode == 1
    logs = "docker compose --project-name smolmon-lab logs"
    assert f"watch it: {logs} --follow lab\n" in done.stdout
    assert done.stderr == f"lab does not stay up; see why: {logs} lab\n"


def test_a_password_that_no_container_could_read_is_told_first(tmp_path: Path) -> None:
    engine(tmp_path)
    cluster = tmp_path / "c.yaml"
    store = "{url: 'https://m.example/w', username: u, password_file: /home/me/password}"
    cluster.write_text(f"{EXAMPLE.read_text()}\nmonitor: {{remote_write: [{store}]}}\n")
    done = smolmon(tmp_path, "up", "-c", str(cluster))
    assert done.returncode == 1
    assert "put the file into monitor/prometheus/secrets" in done.stderr
    assert not (tmp_path / "monitor").exists()


def test_down_without_up_says_so(tmp_path: Path) -> None:
    done = smolmon(tmp_path, "down")
    assert done.returncode == 1
    assert done.stderr == "monitor: `smolmon up` has not written here; name it: --directory\n"

"""`smolmon notify test`: what it says of each receiver is true, and trouble is one line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from smolmon.alertmanager import Alertmanager, stamp
from smolmon.cli import cli
from tests.alerts.scenarios import ROOT
from tests.alerts.services import Service, alertmanager, serving
from tests.alerts.test_notifications import free_address, until

Tool = Callable[[str], str]
TEXT = (ROOT / "examples" / "guide.yaml").read_text()


@frozen
class Here:
    """A cluster file and the Alertmanager that runs with what it says."""

    cluster_file: Path
    url: str
    service: Service

    def test(self, *options: str) -> Result:
        command = ["notify", "test", "--cluster", str(self.cluster_file)]
        return CliRunner().invoke(cli, [*command, "--alertmanager", self.url, *options])


@pytest.fixture(scope="module")
def here(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("monitor")
    service = Service()
    nobody = f"http://{free_address()}/"
    file = folder / "cluster.yaml"
    file.write_text(
        f"{TEXT}notify:\n  local: '{nobody}'\n  receivers:\n"
        f"    first: {{kind: webhook, url: '{service.url}/first'}}\n"
        f"    second: {{kind: webhook, url: '{service.url}/second', severities: [warning]}}\n"
        f"    gone: {{kind: webhook, url: '{nobody}'}}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMOLMON_CONFIG", str(folder / "config"))
        command = ["render", str(folder), "--cluster", str(file), "--speed", "20"]
        assert CliRunner().invoke(cli, command).exit_code == 0
    config = folder / "alertmanager" / "alertmanager.yml"
    with serving(service), alertmanager(tool, folder, config) as url:
        yield Here(file, url, service)


def test_each_receiver_is_told_apart(here: Here) -> None:
    result = here.test("--wait", "3", "--json")
    assert result.exit_code == 1
    found = {o["receiver"]: o for o in json.loads(result.output)["outcomes"]}
    assert {name: o["state"] for name, o in found.items()} == {
        "local": "failed",
        "first": "delivered",
        "second": "not told",
        # Others of its kind are told meanwhile; no success of theirs is its own.
        "gone": "failed",
    }
    assert "attempts failed within 3 s" in found["local"]["reason"]
    assert [post.json["commonLabels"]["severity"] for post in here.service.at("/first")] == [
        "critical"
    ]
    assert here.service.at("/second") == []


def test_some_of_them_only(here: Here) -> None:
    result = here.test("--severity", "warning", "--receiver", "second")
    assert result.exit_code == 0
    assert result.stdout.startswith("second (webhook): delivered after ")
    # It says of itself that it is over.
    until(
        lambda: [post.json["status"] for post in here.service.at("/second")], ["firing", "resolved"]
    )


def test_a_second_test_arrives_like_the_first(here: Here) -> None:
    before = len(here.service.at("/first"))
    for _ in range(2):
        assert here.test("--receiver", "first").exit_code == 0
    firing = [p for p in here.service.at("/first")[before:] if p.json["status"] == "firing"]
    assert len(firing) == 2


def test_the_end_of_an_earlier_test_is_no_success_of_this_one(here: Here) -> None:
    assert here.test("--receiver", "first").exit_code == 0
    result = here.test("--receiver", "gone", "--wait", "4")
    assert result.stderr.startswith("waiting until all were told that an earlier test is over")
    assert result.stdout.startswith("gone (webhook): failed: ")


def test_nobody_is_told(here: Here) -> None:
    result = here.test("--receiver", "second")
    assert result.exit_code == 1
    assert result.stdout == "second (webhook): not told: of what is critical\n"
    assert result.stderr.endswith("nobody is told of what is critical\n")


def test_a_silence_is_named(here: Here) -> None:
    now = datetime.now(timezone.utc)
    matcher = {"name": "cluster", "value": "guide", "isRegex": False, "isEqual": True}
    silence = {"matchers": [matcher], "createdBy": "x", "comment": "x"}
    silence |= {"startsAt": stamp(now), "endsAt": stamp(now + timedelta(minutes=5))}
    api = Alertmanager(here.url)
    silence["id"] = api.post_silence(silence)
    try:
        result = here.test("--receiver", "first")
    finally:
        api.post_silence(
            silence | {"endsAt": stamp(datetime.now(timezone.utc) + timedelta(seconds=1))}
        )
    assert result.exit_code == 1
    assert f"failed: a silence covers it, which Alertmanager calls {silence['id']}" in result.output


def test_a_receiver_that_is_not_known(here: Here, tmp_path: Path) -> None:
    result = here.test("--receiver", "third")
    assert result.exit_code == 2
    assert "there is no receiver third; it knows local, first, second, gone" in result.output
    file = tmp_path / "cluster.yaml"
    file.write_text(here.cluster_file.read_text() + "    third: {kind: discord, url_file: x}\n")
    result = Here(file, here.url, here.service).test("--wait", "1")
    assert result.exit_code == 1
    assert "third: is not in Alertmanager's configuration; run `smolmon render`" in result.output


def test_the_local_receiver_that_nobody_started_has_a_remedy(here: Here) -> None:
    result = here.test("--receiver", "local", "--wait", "2")
    assert result.exit_code == 1
    assert "start `smolmon notify listen`, or declare `notify: {local: none}`" in result.output


def saying(answer: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


OTHER = b'{"config": {"original": "a: 1"}}'


@pytest.mark.parametrize("answer", [None, b"", b"[1]", b"hello", OTHER])
def test_what_is_no_alertmanager_is_one_line(tmp_path: Path, answer: bytes | None) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(TEXT)
    if answer is None:
        result = Here(file, f"http://{free_address()}", Service()).test()
        assert result.output.startswith("no Alertmanager answers at http://127.0.0.1:")
        assert result.output.endswith(": Connection refused\n")
    else:
        server = ThreadingHTTPServer(("127.0.0.1", 0), saying(answer))
        with serving(server):
            url = f"http://127.0.0.1:{server.server_port}"
            result = Here(file, url, Service()).test()
        assert result.output == f"{url} is no Alertmanager\n"
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_a_configuration_of_somebody_else(tool: Tool, tmp_path: Path) -> None:
    file, config = tmp_path / "cluster.yaml", tmp_path / "am.yml"
    file.write_text(TEXT)
    config.write_text("route: {receiver: me}\nreceivers: [{name: me}]\n")
    with alertmanager(tool, tmp_path, config) as url:
        result = Here(file, url, Service()).test()
    assert result.exit_code == 1
    assert "is not one of this version of `smolmon render`; render it" in result.output
    assert result.output.count("\n") == 1


def test_a_local_receiver_prints_and_keeps_what_comes(tmp_path: Path) -> None:
    port, kept = free_address().partition(":")[2], tmp_path / "new" / "kept.jsonl"
    command = [sys.executable, "-m", "smolmon", "notify", "listen", "--port", port]
    with subprocess.Popen(
        [*command, "--file", str(kept)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        # Should it never say what we wait for.
        limit = threading.Timer(30, run.kill)
        limit.start()
        try:
            assert run.stdout.readline().startswith(f"listening at http://127.0.0.1:{port}/")
            alert = {
                "status": "firing",
                "labels": {"alertname": "A", "node": "pi4"},
                "annotations": {"summary": "No way\x1b[2J back", "fix": "smolmon setup"},
            }
            api = Alertmanager(f"http://127.0.0.1:{port}")
            api._send("/", {"alerts": [alert]})
            assert run.stdout.readline().endswith(" firing: No way [2J back\n")
            assert run.stdout.readline() == "    fix: smolmon setup\n"
        finally:
            limit.cancel()
            run.kill()
    (line,) = kept.read_text().splitlines()
    assert json.loads(line)["node"] == "pi4"


def test_a_port_that_is_taken_is_one_line(here: Here, tmp_path: Path) -> None:
    port = here.url.rpartition(":")[2]
    result = CliRunner().invoke(
        cli, ["notify", "listen", "--port", port, "--file", str(tmp_path / "x")]
    )
    assert result.exit_code == 2
    assert result.output == f"port {port}: Address already in use; choose another\n"

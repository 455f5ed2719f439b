"""What setup's silence covers, and that there is none where no Alertmanager answers."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from attrs import evolve

from smolmon.cluster import Cluster, load
from smolmon.setup.silence import affected, silenced, wanted
from tests.cluster.clusters import GUIDE, guide

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)
NESTED = load(GUIDE.with_name("five-macs.yaml"))


@pytest.mark.parametrize(
    ("changing", "expected"),
    [
        # Whoever is behind it, its neighbours on the fabric, and who reaches it through one.
        ({"mini3"}, {"mini1", "mini2", "mini3", "pi4", "jetson"}),
        # A worker: whoever is on its switch.
        ({"pi4"}, {"mini3", "pi4", "jetson"}),
        ({"pi5"}, {"mini1", "pi5"}),
        # The middle of the chain carries what goes from mini3's side to the server.
        ({"mini2"}, {"mini1", "mini2", "mini3", "pi4", "jetson"}),
        # Everybody reaches the server.
        ({"mini1"}, {"mini1", "mini2", "mini3", "pi5", "pi4", "jetson"}),
        ({"pi4", "pi5"}, {"mini1", "mini3", "pi5", "pi4", "jetson"}),
    ],
)
def test_who_sees_a_change(changing: set[str], expected: set[str]) -> None:
    assert set(affected(guide(), changing)) == expected


@pytest.mark.parametrize("cluster", [guide(), NESTED], ids=lambda c: c.name)
def test_everybody_sees_a_change_of_everything(cluster: Cluster) -> None:
    names = tuple(node.name for node in cluster.nodes)
    assert affected(cluster, names) == names


def test_the_matchers() -> None:
    silence = wanted(guide(), ["pi4"], [], NOW)
    matchers = {m["name"]: m for m in silence["matchers"]}
    assert {name: m["isEqual"] for name, m in matchers.items()} == {
        "cluster": True,
        "node": True,
        "alertname": False,
    }
    assert matchers["alertname"]["value"] == "Watchdog"
    assert (matchers["cluster"]["value"], matchers["cluster"]["isRegex"]) == ("guide", False)
    assert matchers["node"]["isRegex"]
    covered = re.compile(f"^(?:{matchers['node']['value']})$")  # as Alertmanager anchors it
    # An alert of no node has an empty label.
    assert all(covered.match(node) for node in ("pi4", "jetson", "mini3", ""))
    assert not any(covered.match(node) for node in ("pi5", "mini1", "pi", "pi44", "xpi4"))


def test_it_ends_by_itself_and_says_whose_it_is() -> None:
    silence = wanted(guide(), ["pi4", "pi5"], [], NOW)
    began, ends = (datetime.fromisoformat(silence[key]) for key in ("startsAt", "endsAt"))
    assert began == NOW
    assert 10 * 60 <= (ends - began).total_seconds() <= 3600
    assert silence["comment"] == "smolmon setup changes pi4, pi5"
    assert silence["createdBy"].startswith("smolmon setup, by ")


@pytest.mark.parametrize("answer", [b"", b"hello", b"{}", b"[1]", b'[{"labels": {}}]', b"[]"])
def test_something_else_that_answers_there_is_no_hindrance(answer: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 - as http.server calls it

        def log_message(self, *_: object) -> None:
            pass

    said: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        cluster = evolve(guide(), monitor=evolve(guide().monitor, alertmanager=url))
        with silenced(cluster, ["pi4"], said.append):
            said.append("working")
        server.shutdown()
        thread.join()
    assert said == ["working"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid:9093"])
def test_without_an_alertmanager_setup_goes_on_without_a_word(url: str) -> None:
    cluster = evolve(guide(), monitor=evolve(guide().monitor, alertmanager=url))
    said: list[str] = []
    with silenced(cluster, ["pi4"], said.append):
        said.append("working")
    assert said == ["working"]

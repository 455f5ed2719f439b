"""Setup on a watched cluster: nobody is told of what it does itself, all are of what it mends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from tests.lab.client import Lab, example, refuse_to_replace_a_lab, smolmon, until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    refuse_to_replace_a_lab()
    path = example("guide.yaml", tmp_path_factory.mktemp("lab"), linux=True)
    try:
        smolmon("lab", "up", "--speed", "10", "--cluster", str(path))
        lab = Lab(path)
        until("the healthy cluster is quiet", lab.quiet)
        yield lab
    finally:
        smolmon("lab", "down")


def silences(lab: Lab) -> list[str]:
    with urlopen(f"{lab.monitor['alertmanager']}/api/v2/silences", timeout=5) as answer:  # noqa: S310
        return [silence["status"]["state"] for silence in json.load(answer)]


def test_nobody_is_told_of_what_setup_itself_does(lab: Lab) -> None:
    told = len(lab.notifications())
    before = len(silences(lab))
    # Another cluster file for all: every exporter is started anew.
    lab.run("controller", "sh", "-c", "echo '# changed' >> /etc/smolmon/cluster.yaml")
    done = lab.run("controller", "smolmon", "setup", "--yes", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are silenced until it is done" in done.stdout
    assert len(silences(lab)) > before
    until("the silence is over", lambda: "active" not in silences(lab))
    until("the cluster is quiet", lab.quiet)
    assert lab.notifications()[told:] == []


def test_a_fault_that_was_told_is_told_to_be_over_when_setup_repairs_it(lab: Lab) -> None:
    told = len(lab.notifications())
    smolmon("lab", "break", "forwarding-off", "--node", "mini3")
    until("the fault is told", lambda: lab.notifications()[told:])
    done = lab.run("controller", "smolmon", "setup", "--yes", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    until("its end is told", lambda: len(lab.notifications()[told:]) == 2)
    cause = "SmolmonForwardingDisabled"
    assert [(n["alert"], n["node"], n["status"]) for n in lab.notifications()[told:]] == [
        (cause, "mini3", "firing"),
        (cause, "mini3", "resolved"),
    ]
    smolmon("lab", "heal")
    until("the cluster is quiet again", lab.quiet)


def test_the_path_to_the_receiver_is_tried_from_the_controller(lab: Lab) -> None:
    done = lab.run("controller", "smolmon", "notify", "test")
    assert done.stdout.startswith("local (webhook): delivered after ")
    assert lab.notifications()[-1]["summary"] == "This is a test, nothing is wrong"

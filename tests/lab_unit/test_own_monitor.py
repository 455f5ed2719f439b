"""The lab's copy of a cluster file."""

from __future__ import annotations

import pytest

from smolmon.cluster import parse
from smolmon.cluster.edit import EditError
from smolmon.cluster.monitor import Monitor
from smolmon.lab.own_monitor import with_own_monitor
from tests.cluster.clusters import GUIDE

TEXT = GUIDE.read_text(encoding="utf-8")
BLOCK = """\
monitor:  # in the attic
  prometheus: http://127.0.0.1:9091   # 9090 is taken
  alertmanager: "http://192.168.1.9:9093/"
  retention: 1y

bandwidth: {period: 2h}  # seldom
"""
IN_BRACES = "monitor: {alertmanager: http://localhost:1, prometheus: 'https://p.example'}\n"
AGENT = "monitor:\n  agent: true\n  remote_write: [{url: 'https://m.example/w'}]\n"


def test_its_monitor_is_the_labs_and_the_rest_stays() -> None:
    made = with_own_monitor(TEXT + BLOCK, "c.yaml")
    assert made == TEXT + BLOCK.replace(
        "http://127.0.0.1:9091 ", "'http://127.0.0.1:9090' "
    ).replace('"http://192.168.1.9:9093/"', "'http://127.0.0.1:9093'")
    assert parse(made, "c.yaml").monitor == Monitor(retention="1y")


@pytest.mark.parametrize("section", [IN_BRACES, AGENT])
def test_however_the_section_is_written(section: str) -> None:
    monitor = parse(with_own_monitor(TEXT + section, "c.yaml"), "c.yaml").monitor
    usual = Monitor()
    assert (monitor.prometheus, monitor.alertmanager) == (usual.prometheus, usual.alertmanager)
    assert not monitor.agent  # which is told of no alert


@pytest.mark.parametrize("section", ["", "monitor:\n", "monitor: {retention: 1y}\n"])
def test_a_file_that_names_none_is_copied(section: str) -> None:
    assert with_own_monitor(TEXT + section, "c.yaml") == TEXT + section


def test_what_cannot_be_edited_safely_is_one_line() -> None:
    shared = "monitor:\n  prometheus: &here http://127.0.0.1:1\n  alertmanager: *here\n"
    with pytest.raises(EditError, match=r"c.yaml: write the values of `prometheus`, .* where they"):
        with_own_monitor(TEXT + shared, "c.yaml")

"""The table of faults fits the clusters and the alert rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from smolmon.alerts.render import shipped_rules
from smolmon.cluster import load
from smolmon.lab import faults
from smolmon.lab.fault import replayable
from smolmon.lab.matrix_coverage import coverage
from smolmon.lab.matrix_page import page, read
from smolmon.lab.matrix_run import main, singles
from smolmon.lab.pairs import PAIRS, broken, doubles
from smolmon.lab.wire import Port, Wire, wire
from tests.lab.client import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
ALERTS = {
    rule["alert"]
    for text in shipped_rules().values()
    for group in yaml.safe_load(text)["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_a_fault_hits_and_names_nodes_of_the_cluster(path: object) -> None:
    cluster = load(path)  # type: ignore[arg-type]
    names = {n.name for n in cluster.nodes}
    for row in faults.table(cluster):
        assert set(row["nodes"]) <= names
        assert row["named"].keys() == set(row["nodes"])
        assert set(row["named"].values()) <= names | {""}
        assert len(row["nodes"]) == len(set(row["nodes"]))


def test_the_guide_can_have_every_fault() -> None:
    assert all(row["nodes"] for row in faults.table(load(ROOT / "examples" / "guide.yaml")))


def test_every_cause_is_an_alert() -> None:
    assert {fault.cause for fault in faults.FAULTS} <= ALERTS


def test_names_are_unique() -> None:
    names = [fault.name for fault in faults.FAULTS]
    assert len(names) == len(set(names))


def test_a_pulled_cable_between_two_is_told_by_the_end_farther_from_the_server() -> None:
    fault = faults.fault("cable-pulled")
    guide = load(ROOT / "examples" / "guide.yaml")
    assert fault.named(guide, "pi5") == "pi5"
    assert fault.named(guide, "mini1") == "mini1"  # of a chain of three, only its own end sees it
    assert "mini2" not in fault.nodes(guide)  # the middle loses no carrier by one cable
    switch = load(ROOT / "examples" / "switch.yaml")
    assert fault.named(switch, "mini1") == "mini3"


def test_the_matrix_tries_each_fault_or_those_that_are_named() -> None:
    guide = load(ROOT / "examples" / "guide.yaml")
    tried = [pair[0][0] for pair in singles(guide, (), every_node=False)]
    assert tried == [fault.name for fault in faults.FAULTS]
    assert len(list(singles(guide, ["node-dead"], every_node=True))) == 6
    assert list(singles(guide, ["node-dead@pi4"], every_node=True)) == [(("node-dead", "pi4"),)]


def test_there_are_twenty_double_faults_of_the_guide() -> None:
    pairs = doubles(load(ROOT / "examples" / "guide.yaml"))
    assert len(set(pairs)) == len(PAIRS.strip().splitlines()) == 20
    assert all(a[0] != b[0] for a, b in pairs)
    assert broken("node-dead@pi4  latency@jetson") == (("node-dead", "pi4"), ("latency", "jetson"))


ROW = {
    "cluster": "guide",
    "platforms": "linux",
    "speed": 20,
    "fault": "node-dead",
    "node": "pi4",
    "expected": ["SmolmonNodeDown@pi4"],
    "notified": ["SmolmonNodeDown@pi4"],
    "notifications": 1,
    "seconds": 7.5,
    "fix_healed": None,
    "resolved": True,
    "as_expected": True,
}


def test_the_page_says_what_has_not_been_run() -> None:
    guide, other = (load(ROOT / f"examples/{name}.yaml") for name in ("guide", "five-macs"))
    rows = [{**ROW, "cluster": guide.name, "fault": "node-dead", "node": "pi4"}]
    _, first, last = coverage(rows, [guide, other]).strip().rsplit("\n", 2)
    able = sum(len(f.nodes(guide)) for f in faults.FAULTS)
    assert f"| 1 of {able} | {len(faults.FAULTS) - 1} faults | 0 of 20 |" in first
    assert last.startswith("| five-macs |  |  | 0 of ")
    assert "| all |" in last


def test_the_page_keeps_what_is_real_apart_from_what_is_fast() -> None:
    rows = [
        ROW,
        {**ROW, "speed": 1, "seconds": 21.0},
        {**ROW, "platforms": "declared", "fix_healed": False, "as_expected": False},
        {**ROW, "fault": "node-dead+latency", "node": "pi4+jetson", "notified": []},
    ]
    titles = [line for line in page(rows).splitlines() if line.startswith("## ")]
    assert titles == [
        "## In real time",
        "## Nodes that are Macs",
        "## One fault",
        "## Two faults at once",
    ]
    assert "**0 of 1** as expected." in page(rows)
    assert "| SmolmonNodeDown | pi4 7.5 |  | 1 of 1 |" in page(rows)
    assert "node-dead on pi4: SmolmonNodeDown on pi4, in 1 notifications; the repair" in page(rows)


def test_results_that_stand_in_the_file_are_not_tried_again(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps(ROW) + "\n")
    asked = ["--fault", "node-dead@pi4", "--results", str(results)]
    done = CliRunner().invoke(main, asked)  # without a lab, and without root
    assert done.exit_code == 0, done.output
    assert read(results) == [ROW]


def test_a_wire_is_told_what_it_is() -> None:
    one = Wire((Port("a", "eth0", 100), Port("b", "eth1", full_duplex=False)), 0.02)
    assert wire(one.spec()) == one


def test_a_route_is_replayed_without_what_it_is_in_now() -> None:
    assert replayable("10.0.0.0/24 via 10.1.0.1 dev eth0 linkdown") == (
        "10.0.0.0/24 via 10.1.0.1 dev eth0"
    )

"""The table of faults fits the clusters and the alert rules."""

from __future__ import annotations

import pytest
import yaml

from smolmon.alerts.render import shipped_rules
from smolmon.cluster import load
from smolmon.lab import faults
from smolmon.lab.fault import replayable
from smolmon.lab.matrix_run import doubles, singles
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


def test_the_matrix_tries_each_fault_and_as_many_pairs_as_asked() -> None:
    guide = load(ROOT / "examples" / "guide.yaml")
    tried = [broken[0][0] for broken in singles(guide, (), every_node=False)]
    assert tried == [fault.name for fault in faults.FAULTS]
    pairs = doubles(guide, 20)
    assert len(set(pairs)) == 20
    assert pairs == doubles(guide, 20)
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairs)


def test_a_route_is_replayed_without_what_it_is_in_now() -> None:
    assert replayable("10.0.0.0/24 via 10.1.0.1 dev eth0 linkdown") == (
        "10.0.0.0/24 via 10.1.0.1 dev eth0"
    )

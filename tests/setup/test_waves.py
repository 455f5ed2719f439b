"""Whoever is needed to reach others comes later."""

from __future__ import annotations

import pytest

from smolmon.cluster import derive, load
from smolmon.setup.waves import waves
from tests.setup.material import ROOT, guide

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def test_the_guide_s_cluster():
    assert waves(guide()) == (("mini2", "pi5", "pi4", "jetson"), ("mini3",), ("mini1",))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_everybody_once_and_gateways_after_all_that_they_serve(file):
    cluster = load(file)
    order = waves(cluster)
    assert sorted(n for wave in order for n in wave) == sorted(n.name for n in cluster.nodes)
    number = {name: n for n, wave in enumerate(order) for name in wave}
    for node in cluster.nodes:
        for probe in derive.probes(cluster, node.name):
            for gateway in set(probe.gateways) - {node.name}:
                assert number[node.name] < number[gateway] or node.name == cluster.server.node
    assert order[-1] == (cluster.server.node,)


def test_a_jump_host_comes_after_those_behind_it_and_this_machine_last():
    behind = {"mini1": {"mini2"}, "mini2": {"pi5"}}
    order = waves(guide(), behind, here={"jetson"})
    assert order == (("pi4",), ("mini3",), ("mini1",), ("mini2",), ("pi5",), ("jetson",))


def test_whose_links_carry_nothing_yet_waits_for_nobody():
    assert waves(guide(), idle={"mini1"}) == (
        ("mini1", "mini2", "pi5", "pi4", "jetson"),
        ("mini3",),
    )
    every = [node.name for node in guide().nodes]
    assert waves(guide(), {"mini1": {"mini2"}}, here={"pi5"}, idle=every) == (tuple(every),)


def test_jump_hosts_that_go_in_circles_end():
    assert len(waves(guide(), {"pi4": {"pi5"}, "pi5": {"pi4"}})) >= 3

"""The picture of a cluster follows from its file, and nothing in it covers anything else."""

from __future__ import annotations

import itertools

import pytest

from smolmon.cluster import Cluster, derive
from smolmon.dashboards.grafana import panels_of
from smolmon.dashboards.mend import Json
from smolmon.dashboards.topology import places, wires
from tests.dashboards.made import BOARDS, EXAMPLES, HOMES

each_cluster = pytest.mark.parametrize("name", EXAMPLES)


def canvas(name: str) -> Json:
    (panel,) = [p for p in panels_of(HOMES[name]) if p["type"] == "canvas"]
    return panel


def elements(name: str) -> list[Json]:
    found: list[Json] = canvas(name)["options"]["root"]["elements"]
    return found


def test_the_board_that_ships_has_no_picture() -> None:
    assert all(p["type"] != "canvas" for p in panels_of(BOARDS["home"]))


@each_cluster
class TestEveryPicture:
    def test_shows_every_node_of_a_routed_segment_once(self, name: str) -> None:
        cluster = EXAMPLES[name]
        drawn = [e["name"] for e in elements(name) if e["type"] == "rectangle"]
        assert sorted(drawn) == sorted(n.name for n in cluster.nodes if cluster.segments_of(n.name))

    def test_covers_nothing(self, name: str) -> None:
        for one, other in itertools.combinations(elements(name), 2):
            a, b = one["placement"], other["placement"]
            apart = (
                a["left"] + a["width"] <= b["left"]
                or b["left"] + b["width"] <= a["left"]
                or a["top"] + a["height"] <= b["top"]
                or b["top"] + b["height"] <= a["top"]
            )
            assert apart, (one["name"], other["name"])

    def test_fits_into_its_panel(self, name: str) -> None:
        # A grid row is 30 pixels high, 8 apart; title and padding take about 40.
        room = canvas(name)["gridPos"]["h"] * 38 - 8 - 40
        assert max(e["placement"]["top"] + e["placement"]["height"] for e in elements(name)) <= room

    def test_joins_what_the_file_joins(self, name: str) -> None:
        cluster = EXAMPLES[name]
        drawn = {
            frozenset((e["name"], c["targetName"]))
            for e in elements(name)
            for c in e["connections"]
        }
        assert drawn == {frozenset((w.near, w.far)) for w in wires(cluster)}
        for wire in wires(cluster):
            assert cluster.segment(wire.segment).member(wire.near)
            assert cluster.segment(wire.segment).member(wire.far)

    def test_labels_links_that_are_pinged(self, name: str) -> None:
        """A label's field exists only where one end pings the other."""
        cluster = EXAMPLES[name]
        pinged = {
            frozenset((node.name, probe.target))
            for node in cluster.nodes
            for probe in derive.probes(cluster, node.name)
        }
        assert all(frozenset((w.near, w.far)) in pinged for w in wires(cluster))

    def test_puts_workers_below_their_gateway(self, name: str) -> None:
        cluster: Cluster = EXAMPLES[name]
        spots = places(cluster)
        for node in spots:
            home = derive.home(cluster, node)
            gateway = derive.gateway_of(cluster, home.name) if home else None
            if gateway and gateway != node:
                assert spots[gateway].top < spots[node].top

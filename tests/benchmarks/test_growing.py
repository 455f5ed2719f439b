"""docs/scaling-out.md says what smolmon derives today."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.growing import SHAPES, cluster, computed, plan
from smolmon.cluster import derive

PAGE = Path(__file__).parents[2] / "docs" / "scaling-out.md"


@pytest.mark.parametrize(("nodes", "macs"), SHAPES)
def test_the_page_has_what_is_derived(nodes: int, macs: int) -> None:
    line = computed(plan(nodes, macs))
    assert f"\n{line} " in PAGE.read_text(encoding="utf-8"), "run benchmarks/growth as root"


@pytest.mark.parametrize(("nodes", "macs"), SHAPES)
def test_a_shape_has_so_many_nodes(nodes: int, macs: int) -> None:
    made = cluster(nodes, macs)
    assert len(made.nodes) == nodes
    behind = [n for n in made.nodes if derive.role(made, n.name) == "worker"]
    on_fabric = sum(s.name == "s0" for n in behind for s in made.segments_of(n.name))
    assert len(behind) - on_fabric == (nodes - macs if macs else 0)


def test_a_worker_pings_no_more_in_a_larger_cluster() -> None:
    least = {min(plan(nodes, macs).pings) for nodes, macs in SHAPES if macs}
    assert least == {3}

"""What system_profiler says: Thunderbolt cables and Wi-Fi."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmon.macos import airport, thunderbolt
from smolmon.macos.cabling import Cable, Cabling, End, cabling, rings
from smolmon.macos.thunderbolt import Bus, Peer
from tests.macos.recorded import recorded

UUID = "{}-0000-4000-8000-0000000000{}"


def test_only_computers_are_peers() -> None:
    assert thunderbolt.parse(recorded("system_profiler_thunderbolt.json")) == (
        Bus(
            domain=UUID.format("817DCFA4", "10"),
            receptacle="1",
            connected=True,
            speed="40 Gb/s",
            peers=(Peer("Mac16,10", UUID.format("28CA4C30", "20")),),
        ),
        Bus(UUID.format("200E23D3", "11"), "2", False, "Up to 40 Gb/s", ()),
        Bus(UUID.format("200E23D3", "12"), "3", True, "20 Gb/s", ()),  # a disk
        Bus(None, None, None, None, ()),
    )


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", "{}", '{"SPThunderboltDataType": [1, {}]}']
)
def test_json_that_is_not_as_expected(text: str) -> None:
    assert all(bus == Bus(None, None, None, None, ()) for bus in thunderbolt.parse(text))
    assert airport.parse(text) == ()


def bus(own: str, receptacle: str, *peers: str) -> Bus:
    return Bus(own, receptacle, bool(peers), None, tuple(Peer(None, p) for p in peers))


CHAIN = {
    "mini1": [bus("1a", "1", "2a"), bus("1b", "2")],
    "mini2": [bus("2a", "1", "1a"), bus("2b", "2", "3a")],
    "mini3": [bus("3a", "1", "2b")],
}


def test_each_cable_is_counted_once() -> None:
    found = cabling(CHAIN)
    assert found == Cabling(
        (
            Cable(End("mini1", "1"), End("mini2", "1")),
            Cable(End("mini2", "2"), End("mini3", "1")),
        ),
        (),
    )
    assert rings(found.cables) == ()


def test_a_closed_ring_is_found() -> None:
    ring = {
        **CHAIN,
        "mini1": [bus("1a", "1", "2a"), bus("1b", "2", "3b")],
        "mini3": [bus("3a", "1", "2b"), bus("3b", "2", "1b")],
    }
    (way,) = rings(cabling(ring).cables)
    assert sorted(way) == ["mini1", "mini2", "mini3"]


def test_two_cables_between_two_machines_are_a_ring() -> None:
    twice = {
        "mini1": [bus("1a", "1", "2a"), bus("1b", "2", "2b")],
        "mini2": [bus("2a", "1", "1a"), bus("2b", "2", "1b")],
    }
    found = cabling(twice)
    assert len(found.cables) == 2
    assert [sorted(way) for way in rings(found.cables)] == [["mini1", "mini2"]]


def test_a_machine_that_was_not_asked_is_an_unknown_end() -> None:
    found = cabling({"mini1": CHAIN["mini1"]})
    assert found == Cabling((), (End("mini1", "1"),))


def test_a_cable_that_only_one_end_reports() -> None:
    found = cabling({**CHAIN, "mini3": [bus("3a", "1")]})
    assert Cable(End("mini2", "2"), End("mini3", "1")) in found.cables


@given(
    st.integers(min_value=1, max_value=7).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.lists(st.sampled_from(list(combinations(range(n + 1), 2))), max_size=12),
        )
    )
)
def test_one_ring_for_every_cable_that_a_tree_does_not_need(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    n, pairs = graph
    nodes = range(n + 1)
    component = {node: {node} for node in nodes}
    for a, b in pairs:
        merged = component[a] | component[b]
        for node in merged:
            component[node] = merged
    trees = len({frozenset(c) for c in component.values()})
    cables = [Cable(End(str(a), None), End(str(b), None)) for a, b in pairs]
    found = rings(cables)
    assert len(found) == len(pairs) - (len(nodes) - trees)
    joined = {frozenset((str(a), str(b))) for a, b in pairs}
    for way in found:
        closed = zip(way, [*way[1:], way[0]], strict=True)
        assert all(frozenset(step) in joined for step in closed)


def test_wifi() -> None:
    assert airport.parse(recorded("system_profiler_airport.json")) == (
        airport.WifiLink("en1", -52, -90, 37, 160e6, 1152e6),
    )


def test_wifi_without_a_signal_is_not_invented() -> None:
    text = recorded("system_profiler_airport.json").replace("-52 dBm / -90 dBm", "good")
    (link,) = airport.parse(text)
    assert (link.signal, link.noise) == (None, None)

"""The bandwidth timetable: the same for everybody, and never two tests in each other's way."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from attrs import evolve
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smolmon.cluster import Cabling, Cluster, ClusterError, derive, parse
from smolmon.cluster.timetable import Test, between, declared_tests, least_period, parts, timetable
from tests.cluster.clusters import GUIDE, cluster_files, clusters, guide

NOW = st.floats(1.6e9, 2.1e9)


@st.composite
def crowded(draw: st.DrawFn) -> Cluster:
    """A cluster whose period is anything from just long enough to far too generous."""
    cluster = draw(clusters)
    bandwidth = evolve(
        cluster.bandwidth,
        duration=draw(st.integers(1, 60)),
        guard=draw(st.floats(0.1, 60)),
    )
    cluster = evolve(cluster, bandwidth=bandwidth)
    shortest = least_period(cluster)
    assume(shortest > 0)
    period = shortest * draw(st.floats(1, 20))
    return evolve(cluster, bandwidth=evolve(bandwidth, period=period))


@settings(deadline=None)
@given(clusters)
def test_every_link_is_tested_both_ways(cluster):
    every = {(frozenset((t.source, t.target)), t.link) for t in declared_tests(cluster)}
    for segment in cluster.routed:
        names = [m.node for m in segment.members]
        touched = {n for pair, link in every if link == segment.name for n in pair}
        if len(names) > 1:
            assert touched >= set(names)
        if segment.cabling is Cabling.CHAIN:
            for pair in pairwise(names):
                assert (frozenset(pair), segment.name) in every
    ways = {(t.source, t.target, t.segments) for t in declared_tests(cluster)}
    assert {(b, a, s[::-1]) for a, b, s in ways} == ways


@settings(deadline=None)
@given(clusters)
def test_every_nodes_path_to_the_server_is_tested(cluster):
    ends = {(t.source, t.target) for t in declared_tests(cluster)}
    for node in cluster.nodes:
        if node.name != cluster.server.node and derive.home(cluster, node.name):
            assert (node.name, cluster.server.node) in ends


@settings(deadline=None)
@given(clusters)
def test_a_test_uses_all_segments_on_its_way_and_its_ends_addresses(cluster):
    for test in declared_tests(cluster):
        assert cluster.segment(test.segments[0]).member(test.source)
        assert cluster.segment(test.segments[-1]).member(test.target)
        for a, b in pairwise(test.segments):  # a node joins each to the next
            assert {m.node for m in cluster.segment(a).members} & {
                m.node for m in cluster.segment(b).members
            }
        own = {cluster.address(test.source, s.name) for s in cluster.segments_of(test.source)}
        theirs = {cluster.address(test.target, s.name) for s in cluster.segments_of(test.target)}
        assert test.source_address in own
        assert test.target_address in theirs


@settings(deadline=None)
@given(clusters)
def test_no_node_has_two_tests_that_look_the_same_in_metrics(cluster):
    labels = [
        label
        for t in declared_tests(cluster)
        for label in (
            (t.source, t.target, t.link, "transmit"),
            (t.target, t.source, t.target_link, "receive"),
        )
    ]
    assert len(set(labels)) == len(labels)


@settings(deadline=None)
@given(crowded(), NOW, st.data())
def test_tests_in_each_others_way_never_overlap_while_clocks_agree_to_the_guard(cluster, now, data):
    table = timetable(cluster)
    slots = list(table.slots(now, now + 2 * table.period))
    # How far each node's clock is ahead of true time: no two further apart than the guard.
    ahead = {n.name: data.draw(st.floats(0, table.guard), label=n.name) for n in cluster.nodes}

    def on_the_wire(slot):
        """True time: the client sends no earlier, and either end stops it no later."""
        client, server = ahead[slot.test.source], ahead[slot.test.target]
        return slot.sending - client, max(slot.end - client, slot.end - server)

    for a, b in combinations(slots, 2):
        if a.start > b.end or b.start > a.end:
            early, late = sorted((a, b), key=lambda s: s.start)
            if late.start > early.end + table.guard:
                continue
        if a.test.conflicts(b.test):
            (a_from, a_to), (b_from, b_to) = on_the_wire(a), on_the_wire(b)
            assert a_to <= b_from + 1e-5 or b_to <= a_from + 1e-5


@settings(deadline=None)
@given(crowded())
def test_whoever_asks_for_leave_finds_the_server_free_to_answer(cluster):
    for tests in timetable(cluster).rounds:
        for test in tests:
            takes_part = cluster.server.node in (test.source, test.target)
            assert test.consent == (None if takes_part else cluster.server_address)
            if not takes_part:
                assert cluster.server_address not in [other.target_address for other in tests]


@settings(deadline=None)
@given(crowded(), NOW)
def test_each_test_runs_once_in_every_period_evenly_spread(cluster, now):
    table = timetable(cluster)
    first = int(now // table.period) * table.period
    slots = list(table.slots(first - 1e-3, first + table.period - 1e-3))
    # A slot of the period before may be counted in at the very edge.
    assert sorted(map(repr, (s.test for s in slots))) == sorted(map(repr, declared_tests(cluster)))
    starts = sorted({s.start for s in slots})
    for a, b in pairwise(starts):
        assert b - a == pytest.approx(table.spacing, rel=1e-3)
    assert table.spacing >= table.window - 1e-6


@settings(deadline=None)
@given(crowded(), NOW, st.floats(0, 1e5))
def test_every_node_computes_the_same_whenever_it_looks(cluster, now, later):
    table = timetable(cluster)
    until = now + later + table.period
    whole = [s for s in table.slots(now, until) if s.start >= now + later]
    assert list(table.slots(now + later, until)) == whole


@settings(deadline=None)
@given(cluster_files())
def test_the_timetable_of_one_text_is_one(text):
    assert timetable(parse(text)) == timetable(parse(text))


def test_the_guides_cluster():
    found = [(t.name, "+".join(t.segments)) for t in declared_tests(guide())]
    half = [
        ("mini2->mini1", "fabric"),
        ("mini3->mini2", "fabric"),
        ("pi5->mini1", "edge50"),
        ("pi4->mini3", "edge51"),
        ("jetson->mini3", "edge51"),
        ("mini3->mini1", "fabric"),
        ("pi4->mini1", "edge51+fabric"),
        ("jetson->mini1", "edge51+fabric"),
    ]
    assert found[:8] == half
    assert [tuple(reversed(name.split("->"))) for name, _ in found[8:]] == [
        tuple(name.split("->")) for name, _ in half
    ]
    assert timetable(guide()).spacing == 225


@settings(deadline=None)
@given(clusters)
def test_a_bad_result_is_explained_by_links_on_its_way_and_never_in_a_circle(cluster):
    every = declared_tests(cluster)
    for test in every:
        for part in parts(cluster, test):
            assert part in every
            assert set(part.segments) <= set(test.segments)
            assert len(part.segments) == 1
            assert test not in parts(cluster, part)
        assert parts(cluster, test) or len(test.segments) == 1


def test_what_explains_what_in_the_guides_cluster():
    def of(name):
        test = next(t for t in declared_tests(guide()) if t.name == name)
        return {t.name for t in parts(guide(), test)}

    assert of("mini3->mini1") == {"mini3->mini2", "mini2->mini1"}
    assert of("pi4->mini1") == {"pi4->mini3", "mini3->mini2", "mini2->mini1"}
    assert of("mini1->pi4") == {"mini1->mini2", "mini2->mini3", "mini3->pi4"}
    assert of("pi4->mini3") == set()
    assert of("mini3->pi4") == {"pi4->mini3"}


def test_what_is_expected_is_the_slowest_segments_floor_a_cap_or_the_baseline():
    def of(extra):
        cluster = parse(GUIDE.read_text() + extra)
        return next(t for t in declared_tests(cluster) if t.name == "pi4->mini1")

    assert of("").expected == 800e6 / 8
    assert of("bandwidth: {rate: 100Mbit/s}\n").expected == pytest.approx(70e6 / 8)
    text = "bandwidth:\n  baseline:\n    edge51:\n      pi4->mini1: 940Mbit/s\n"
    assert of(text).baseline == 940e6 / 8
    assert of(text).expected == pytest.approx(0.7 * 940e6 / 8)


def test_slots_that_are_open_now():
    table = timetable(guide())
    slot = next(table.slots(1.7e9, 2e9))
    assert list(table.at(slot.start)) == [slot]
    assert list(table.at(slot.end - 0.1)) == [slot]
    assert list(table.at(slot.end)) == []


def meant_to_meet(cluster: Cluster, a: str, b: str) -> bool:
    """Whether each is meant to reach some address of the other."""
    return all(
        any(derive.reaches(cluster, x, s.name) for s in cluster.segments_of(y))
        for x, y in ((a, b), (b, a))
    )


class TestBetweenAnyTwoNodes:
    @settings(deadline=None)
    @given(clusters, st.data())
    def test_a_test_that_is_possible_follows_the_declared_way(self, cluster, data):
        names = [n.name for n in cluster.nodes]
        source, target = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
        if source == target or not meant_to_meet(cluster, source, target):
            with pytest.raises(ValueError, match=r"both ends|not meant to reach"):
                between(cluster, source, target)
            return
        # Behind two gateways in a row nobody knows the way back to the first one's near side; only
        # the timetable's own tests use the address that everybody finds, the server's.
        declared = {(t.source, t.target) for t in declared_tests(cluster)}
        ways = [
            derive.way(cluster, source, to.name)
            for to in cluster.segments_of(target)
            if derive.reaches(cluster, source, to.name)
        ]
        found = any(derive.reaches(cluster, target, way[0]) for way in ways)
        if not found and (source, target) not in declared:
            with pytest.raises(ValueError, match="not meant to reach"):
                between(cluster, source, target)
            return
        test = between(cluster, source, target)
        assert isinstance(test, Test)
        assert (test.source, test.target) == (source, target)
        assert cluster.segment(test.target_link).member(target)

    def test_one_of_the_timetable_is_that_one(self):
        assert between(guide(), "pi4", "mini1") in declared_tests(guide())

    def test_others_are_made(self):
        test = between(guide(), "pi4", "mini2")
        assert test.segments == ("edge51", "fabric")
        assert str(test.target_address) == "10.10.0.2"

    @pytest.mark.parametrize(
        ("source", "target", "words"),
        [
            ("pi5", "pi4", "not meant to reach"),
            ("pi5", "pi5", "both ends"),
            ("pi5", "mini9", "no node mini9"),
        ],
    )
    def test_what_cannot_be_is_refused(self, source, target, words):
        with pytest.raises(ValueError, match=words):
            between(guide(), source, target)


class TestTheSection:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("{period: 100s}", "too short for all tests; make it at least 130s"),
            ("{period: 25h}", "out of range"),
            ("{duration: 0s}", "out of range"),
            ("{duration: 61s}", "whole seconds"),
            ("{duration: 1.5s}", "whole seconds"),
            ("{streams: 0}", "from 1 to 16"),
            ("{streams: 1000}", "from 1 to 16"),
            ("{guard: 1ms}", "from 0.1s to 60s"),
            ("{rate: fast}", "not a number with a unit"),
            ("{daily_budget: 5}", "kB, MB, GB, TB"),
            ("{port: 65432}", "already another port"),
            ("{perod: 1h}", "did you mean `period`"),
            ("{enabled: maybe}", "neither `true` nor `false`"),
            ("{baseline: {edge51: {pi4: 1Gbit/s}}}", "SOURCE->TARGET"),
            ("{baseline: {edge51: {pi4->pi5: 1Gbit/s}}}", "there is no such test"),
            ("{baseline: {edge51: 1Gbit/s}}", "must be a mapping"),
        ],
    )
    def test_what_is_wrong_with_it_is_said_with_its_line(self, line, words):
        text = GUIDE.read_text() + f"bandwidth: {line}\n"
        with pytest.raises(ClusterError) as error:
            parse(text, "c.yaml")
        assert len(error.value.problems) == 1
        assert str(error.value).startswith(f"c.yaml:{text.count(chr(10))}: bandwidth")
        assert words in str(error.value)

    def test_all_of_it(self):
        text = (
            "bandwidth: {enabled: false, period: 30m, duration: 3s, streams: 4, rate: 2Gbit/s,"
            " daily_budget: 50GB, guard: 500ms, busy: 5%, tolerance: 20%, port: 5201}\n"
        )
        found = parse(GUIDE.read_text() + text).bandwidth
        assert not found.enabled
        assert (found.period, found.duration, found.streams, found.guard) == (1800, 3, 4, 0.5)
        assert (found.rate, found.daily_budget, found.port) == (250e6, 50e9, 5201)
        assert (found.busy, found.tolerance) == (pytest.approx(0.05), pytest.approx(0.2))

    def test_switched_off_there_are_no_slots(self):
        cluster = parse(GUIDE.read_text() + "bandwidth: {enabled: false}\n")
        assert not list(timetable(cluster).slots(0, 1e6))

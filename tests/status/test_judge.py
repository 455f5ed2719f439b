"""What is concluded from what was seen."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from smolmon.cluster.load import NAME
from smolmon.observe.sample import Sample
from smolmon.status.data import data
from smolmon.status.judge import picture
from smolmon.status.model import State, Word
from smolmon.status.seen import LOSS, RTT, UP, between
from smolmon.status.words import percent, short_rate, trip_ms
from tests.cluster.clusters import guide
from tests.status.scenes import NOW, alert, cut_off, down, samples, seen


def test_ready_needs_rules_that_work() -> None:
    cluster = guide()
    healthy = seen(samples(cluster))
    assert picture(cluster, healthy).verdict.word is Word.READY
    silent = picture(
        cluster, seen(samples(cluster)).__class__("Prometheus", NOW, healthy.samples, ())
    )
    assert silent.verdict.word is Word.UNKNOWN
    assert "Watchdog" in silent.verdict.reason


def test_a_cause_is_told_and_what_it_explains_is_not() -> None:
    cluster = guide()
    labels = {"node": "pi4", "probe": "server", "target": "mini1"}
    alerts = [
        alert(cluster, "SmolmonServerUnreachable", "critical", "symptom", **labels),
        alert(cluster, "SmolmonExporterDown", "warning", "cause", node="pi5"),
        alert(cluster, "SmolmonForwardingDisabled", "critical", "cause", node="mini3"),
        alert(cluster, "SmolmonExplained", "none", "explained", **labels),
    ]
    found = picture(cluster, seen(cut_off(samples(cluster), "pi4", "jetson"), *alerts))
    assert found.verdict.word is Word.BLOCKED
    assert found.verdict.reason == "mini3 has SmolmonForwardingDisabled"
    assert [t.node for t in found.troubles] == ["mini3", "pi5"]
    assert found.node("mini3").state is State.BROKEN
    assert found.node("pi4").state is State.DEGRADED
    assert found.node("mini2").state is State.OK
    unexplained = picture(cluster, seen(samples(cluster), *alerts[:3]))
    assert [t.node for t in unexplained.troubles] == ["mini3", "pi4", "pi5"]


def test_pings_are_believed_before_the_alerts_come() -> None:
    cluster = guide()
    found = picture(cluster, seen(cut_off(samples(cluster), "pi4")))
    assert found.verdict.word is Word.BLOCKED
    assert found.troubles[0].fix == "smolmon doctor"


def test_alerts_of_other_clusters_and_pending_ones_say_nothing() -> None:
    cluster = guide()
    foreign = alert(cluster, "SmolmonNodeDown", "critical", "cause", node="pi4", cluster="other")
    assert picture(cluster, seen(samples(cluster), foreign)).verdict.word is Word.READY


def test_a_node_that_is_off_is_broken_and_says_since_when() -> None:
    cluster = guide()
    found = picture(cluster, seen(down(cluster, samples(cluster), "pi4")))
    node = found.node("pi4")
    assert (node.state, node.words) == (State.BROKEN, "does not answer, seen 4 min ago")
    link = found.link("pi4", "edge51")
    assert link is not None
    assert (link.state, link.rtt) == (State.BROKEN, None)
    path = found.path("pi4", "mini1")
    assert path is not None
    assert path.rtt is None
    assert path.state is State.UNKNOWN


def test_a_silent_exporter_of_a_node_that_is_heard_is_not_a_broken_node() -> None:
    cluster = guide()
    rows = [s for s in samples(cluster) if s.labels["node"] != "pi4"]
    rows.append(Sample(UP, {"cluster": "guide", "node": "pi4"}, 0, NOW))
    found = picture(cluster, seen(rows))
    assert found.node("pi4").state is State.DEGRADED
    assert found.verdict.word is Word.DEGRADED


def test_slow_lossy_and_narrow_links_are_degraded() -> None:
    cluster = guide()
    for name, value in ((RTT, 0.003), (LOSS, 0.02), ("smolmon_bandwidth_bytes_per_second", 1e7)):
        rows = [
            Sample(s.name, s.labels, value, NOW)
            if s.name == name and s.labels["node"] == "mini3" and s.labels["target"] == "pi4"
            else s
            for s in samples(cluster)
        ]
        found = picture(cluster, seen(rows))
        states = {link.far: link.state for link in found.links}
        assert states.pop("pi4") is State.DEGRADED
        assert set(states.values()) == {State.OK}


def test_no_loss_is_less_than_none() -> None:
    """rate() extrapolates two counters apart: more replies than requests is what it may say."""
    rows = [
        Sample(s.name, s.labels, -0.01 if s.name == LOSS else s.value, NOW)
        for s in samples(guide())
    ]
    losses = {link.loss for link in picture(guide(), seen(rows)).links}
    assert losses - {None} == {0.0}


def test_without_rules_only_reach_is_judged() -> None:
    cluster = guide()
    assert picture(cluster, seen(samples(cluster), rules=False)).verdict.word is Word.READY
    blocked = picture(cluster, seen(cut_off(samples(cluster), "pi4"), rules=False))
    assert blocked.verdict.word is Word.BLOCKED
    assert blocked.troubles[0].fix == "smolmon doctor"
    part = [s for s in samples(cluster) if s.labels.get("target") != "jetson"]
    assert picture(cluster, seen(part, rules=False)).verdict.word is Word.UNKNOWN
    assert picture(cluster, seen([], rules=False)).verdict.word is Word.UNKNOWN


def test_json_says_null_for_what_is_not_known() -> None:
    cluster = guide()
    found = json.loads(json.dumps(data(cluster, picture(cluster, seen([], rules=False)), NOW)))
    assert {p["rtt"] for p in found["paths"]} == {None}
    assert {n["state"] for n in found["nodes"]} == {"unknown"}
    assert found["next_slot"]["source"] in {n["name"] for n in found["nodes"]}


def test_a_counter_between_two_looks() -> None:
    labels = {"node": "a", "probe": "server", "target": "b", "link": "x"}

    def look(total: float, count: float, asked: float, replies: float) -> list[Sample]:
        rows = {
            "smolmon_ping_rtt_seconds_sum": total,
            "smolmon_ping_rtt_seconds_count": count,
            "smolmon_ping_requests_total": asked,
        }
        result = {**labels, "result": "reply"}
        return [
            *(Sample(name, labels, value, NOW) for name, value in rows.items()),
            Sample("smolmon_ping_results_total", result, replies, NOW),
            Sample("smolmon_ping_results_total", {**labels, "result": "timeout"}, 7, NOW),
        ]

    first, second = look(1.0, 100, 100, 100), look(1.4, 102, 104, 102)
    found = {s.name: s for s in between(first, second)}
    assert abs(found[RTT].value - 0.2) < 1e-9
    assert found[LOSS].value == 0.5
    assert found[LOSS].labels == labels
    assert between(second, second) == [], "nothing new is nothing known"
    again = {s.name: s.value for s in between(second, look(0.3, 3, 3, 3))}
    assert abs(again[RTT] - 0.1) < 1e-9, "the exporter has started anew"


def test_node_names_cannot_be_wide() -> None:
    assert NAME.fullmatch("pi4")
    for name in ("\uff50\uff49", "\u6d3e", "\u00e9", "a\u0301", "\U0001f967"):
        assert not NAME.fullmatch(name)


@given(st.floats(0, 9.99))
def test_a_round_trip_has_at_most_four_characters(seconds: float) -> None:
    assert len(trip_ms(seconds)) <= 4
    assert abs(float(trip_ms(seconds)) / 1000 - seconds) <= max(0.05 * seconds, 0.000006)


@given(st.floats(1e3, 1.2e11))
def test_a_rate_has_at_most_four_characters(rate: float) -> None:
    assert len(short_rate(rate)) <= 4


def test_a_little_loss_is_not_none() -> None:
    assert [percent(r) for r in (0, 0.001, 0.5, 0.999, 1)] == ["0%", "<1%", "50%", "99%", "100%"]

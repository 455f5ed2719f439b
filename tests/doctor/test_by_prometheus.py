"""By Prometheus: recorded answers of real ones."""

import pytest
from attrs import evolve

from smolmon.doctor.by_prometheus import UnwatchedError, ask, judged
from smolmon.doctor.rules import alerting, inhibited
from smolmon.observe.prometheus import Prometheus, Rule
from tests.alerts.scenarios import GUIDE
from tests.observe.serving import recorded

RECORDED = {"healthy": 1795469638.0, "forwarding": 1795469652.0}
CUT_OFF = {("SmolmonServerUnreachable", "pi4"), ("SmolmonServerUnreachable", "jetson")}


def seen(scene, **options):
    with recorded(scene, **options) as url:
        answers = ask(GUIDE, Prometheus(url))
    now = RECORDED[scene]
    known = {rule.name for rule in answers.rules}
    newer = [Rule(name, now, "") for name in alerting() if name not in known]
    return evolve(answers, time=now, rules=[*answers.rules, *newer])


@pytest.mark.parametrize("alertmanager", [True, False])
def test_a_cause_and_what_it_explains(alertmanager):
    """Who is held back is said by Alertmanager, and without it by what it is configured to do."""
    found = judged(GUIDE, seen("forwarding", alertmanager=alertmanager))
    (cause,) = found.findings
    assert cause.key == ("SmolmonForwardingDisabled", "mini3")
    assert (cause.kind, cause.severity, cause.certain, cause.silenced) == (
        "cause",
        "critical",
        True,
        False,
    )
    assert cause.fix == "ssh mini3 sudo sysctl -w net.ipv4.ip_forward=1"
    assert (cause.how, cause.evidence[-8:]) == (
        "Fix",
        "t to them. Cut off from mini1: 2 (jetson, pi4)."[-8:],
    )
    assert cause.since == pytest.approx(1795469642.988903753)
    assert {(s.alert, s.node) for s in cause.suppresses} == CUT_OFF
    assert not found.muted
    assert bool(found.problems) != alertmanager
    assert all("Alertmanager" in problem for problem in found.problems)


def test_healthy():
    found = judged(GUIDE, seen("healthy"))
    assert found.healthy
    assert [look.node for look in found.looks] == [node.name for node in GUIDE.nodes]
    assert all(look.up and look.age is not None and look.age < 5 for look in found.looks)
    assert found.rules == len(alerting()) - 2  # Watchdog and SmolmonExplained


def test_a_cluster_that_it_does_not_watch():
    with pytest.raises(UnwatchedError, match="scrapes no node of other"):
        judged(evolve(GUIDE, name="other"), seen("healthy"))
    with pytest.raises(UnwatchedError, match="none of smolmon's rules"):
        judged(GUIDE, evolve(seen("healthy"), rules=[]))


def problems(answers):
    found = judged(GUIDE, answers)
    assert not found.healthy
    return " ".join(found.problems)


def test_what_keeps_it_from_seeing_is_said():
    answers = seen("healthy")
    late = evolve(answers, time=answers.time + 100)
    assert "not evaluated all of its rules for 1" in problems(late)
    assert "not tried to scrape mini1, mini2, mini3 and 3 more for 60 s" in problems(late)
    fewer = [rule for rule in answers.rules if rule.name != "SmolmonNodeDown"]
    assert "lacks SmolmonNodeDown of" in problems(evolve(answers, rules=fewer))
    broken = [*answers.rules, Rule("SmolmonNodeDown", answers.time, "many-to-many")]
    assert "SmolmonNodeDown cannot be evaluated: many" in problems(evolve(answers, rules=broken))
    never = [*answers.rules, Rule("SmolmonNodeDown", 0.0, "")]
    assert "not evaluated all of its rules yet" in problems(evolve(answers, rules=never))
    others = [t for t in answers.targets if t.labels["node"] != "pi4"]
    assert "pi4 is not scraped: Prometheus does not" in problems(evolve(answers, targets=others))
    down = [evolve(t, up=False, error="no route") for t in answers.targets]
    assert "pi4 is not scraped: no route" in problems(evolve(answers, targets=down))


def test_pending_is_not_yet_certain_and_a_symptom_without_explanation_is_told():
    answers = seen("forwarding", alertmanager=False)
    pending = [evolve(a, state="pending") for a in answers.alerts]
    found = judged(GUIDE, evolve(answers, alerts=pending))
    assert not any(f.certain for f in found.findings)
    # An explanation that is not certain yet mutes nothing.
    assert {f.key for f in found.findings} == {("SmolmonForwardingDisabled", "mini3"), *CUT_OFF}


def test_a_symptom_held_back_after_its_cause_is_gone():
    answers = seen("forwarding")
    rest = [a for a in answers.alerts if a.name != "SmolmonForwardingDisabled"]
    found = judged(GUIDE, evolve(answers, alerts=rest))
    assert not found.findings
    assert {(s.alert, s.node) for s in found.muted} == CUT_OFF


def test_alerts_of_others_are_not_ours():
    answers = seen("forwarding")
    strange = [
        evolve(a, labels={**a.labels, "cluster": "other"})
        if "cluster" in a.labels
        else evolve(a, labels={"alertname": "DiskFull"})
        for a in answers.alerts
    ]
    assert judged(GUIDE, evolve(answers, alerts=strange)).findings == ()


def test_inhibition_is_that_of_alertmanagers_configuration():
    probe = {"cluster": "c", "node": "w", "probe": "server", "target": "s"}
    source = {"alertname": "SmolmonExplained", **probe}
    assert inhibited({"class": "symptom", **probe}, [source])
    assert not inhibited({"class": "cause", **probe}, [source])
    assert not inhibited({"class": "symptom", **probe, "node": "x"}, [source])
    assert not inhibited({"class": "symptom", **probe}, [{**source, "alertname": "Watchdog"}])

"""Without Prometheus: the same causes, symptoms and texts as the rules give."""

import re

import pytest
import yaml
from attrs import evolve

from smolmon.alerts.render import shipped_rules
from smolmon.cluster import derive
from smolmon.doctor.answers import UnansweredError, answer
from smolmon.doctor.by_exporters import judged
from smolmon.doctor.causes import NEED_HISTORY, prepare
from smolmon.doctor.explain import explain
from smolmon.doctor.rules import EXPLAINS, SILENT, alerting
from smolmon.doctor.template import TemplateError, fill
from smolmon.doctor.texts import finding
from smolmon.doctor.world import World
from smolmon.observe.exporters import Scrape, Why
from smolmon.observe.sample import ObserveError, Sample
from tests.alerts.scenarios import GUIDE, ROOT, SCENARIOS

NOW = 1.8e9


def scrapes(scenario):
    """What asking the exporters of such a cluster gives."""
    found = {}
    for node in scenario.cluster.nodes:
        labels = derive.labels(scenario.cluster, node.name)
        samples = tuple(
            Sample(s.name, {**s.labels, **labels}, float(s.value), NOW)
            for s in scenario.metrics(node.name)
        )
        if node.name in scenario.unseen:
            why = Why.REFUSED if node.name in scenario.silent else Why.TIMEOUT
            found[node.name] = Scrape(node.name, (), why, "nothing")
        else:
            found[node.name] = Scrape(node.name, samples)
    return found


def examined(scenario):
    silent = {name: name in scenario.silent for name in scenario.unseen}
    return judged(scenario.cluster, scrapes(scenario), silent, NOW)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_the_same_causes_and_symptoms_as_the_rules(scenario):
    found = examined(scenario)
    assert {(f.alert, f.node) for f in found.findings if f.kind == "cause"} == scenario.causes
    assert {(f.alert, f.node) for f in found.findings if f.kind == "symptom"} == scenario.told
    assert not {f.kind for f in found.findings} - {"cause", "symptom"}
    assert found.healthy == (not scenario.causes | scenario.told)
    suffer = {(s.alert, s.node) for f in found.findings for s in f.suppresses}
    server = {("SmolmonServerUnreachable", node) for node in scenario.suffering} - scenario.told
    assert server <= suffer
    assert not found.muted


def test_every_name_that_it_can_say_is_a_rule_and_every_rule_is_judged_or_needs_history():
    text = "".join((ROOT / f"smolmon/doctor/{n}.py").read_text() for n in ("cables", "causes"))
    said = set(re.findall(r'"(Smolmon\w+)"', text))
    assert said | {*SILENT} == alerting().keys()
    assert {*NEED_HISTORY} < said


def test_every_explanation_of_the_rules_has_its_alerts():
    groups = [g for text in shipped_rules().values() for g in yaml.safe_load(text)["groups"]]
    causes = {
        rule["labels"]["cause"]
        for group in groups
        for rule in group["rules"]
        if rule.get("record") == "smolmon:explained_probe:info"
    }
    assert causes == EXPLAINS.keys()
    assert {name for names in EXPLAINS.values() for name in names} <= alerting().keys()


# --- the texts, against what Prometheus itself makes of them (alerts/tests)


def series(line, index):
    """The sample of one of promtool's input series at a scrape; None where there is none."""
    name, _, rest = line["series"].partition("{")
    labels = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    values = []
    for word in str(line["values"]).split():
        start, _, more = word.partition("x")
        number = re.fullmatch(r"(-?[\d.e]+?)(?:([+-][\d.e]+))?", start)
        for n in range(int(more or 0) + 1):
            known = number and float(number[1]) + n * float(number[2] or 0)
            values.append(known if number else None)
    value = values[index] if index < len(values) else None
    return None if value is None else Sample(name, labels, value, NOW)


def seconds(text):
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([hms])", str(text)))


def cases():
    for path in sorted((ROOT / "alerts" / "tests").glob("*.yml")):
        for test in yaml.load(path.read_text(), yaml.BaseLoader)["tests"]:  # noqa: S506 - 0x12 is no number
            for case in test.get("alert_rule_test", ()):
                if case["alertname"] in (*NEED_HISTORY, *SILENT):
                    continue  # never said without Prometheus
                for number, expected in enumerate(case["exp_alerts"]):
                    at = seconds(case["eval_time"]) // seconds(test["interval"])
                    name = f"{path.stem}-{test['name']}-{case['eval_time']}-{number}"
                    yield pytest.param(test, case["alertname"], expected, at, id=name)


@pytest.mark.parametrize(("test", "alert", "expected", "at"), [*cases()])
def test_texts_are_what_prometheus_makes_of_them(test, alert, expected, at):
    seen = World(evolve(GUIDE, name="c"), frozenset(), frozenset(), NOW)
    for line in test["input_series"]:
        if sample := series(line, at):
            seen.by_name[sample.name].append(sample)
    prepare(seen)
    explain(seen)
    samples = seen.samples
    texts = alerting()[alert]["annotations"]
    names = {"summary", "description", "fix", "runbook_url"}
    # Two texts tell the expression's value, or when the test was made.
    told_elsewhere = {"SmolmonClockWrong", "SmolmonCertificateExpiring"}
    for name in names - ({"description"} if alert in told_elsewhere else set()):
        made = fill(texts[name], expected["exp_labels"], 1.0, lambda e: answer(e, samples))
        assert made == " ".join(expected["exp_annotations"][name].split())


def test_a_text_that_cannot_be_filled_in_is_no_obstacle():
    labels = {"node": "pi4", "link": "edge51", "device": "eth0", "platform": "linux"}
    found = finding("SmolmonMtuMismatch", labels, [])
    assert found.summary == "pi4 sends packets of another size than the others on edge51"
    assert (found.fix, found.evidence) == ("smolmon verify", "")


def test_an_exporter_of_another_version_is_one_line():
    healthy = next(s for s in SCENARIOS if s.name == "healthy")
    some = scrapes(healthy)
    strange = Sample("smolmon_ping_up", {"node": "pi4"}, 0.0, NOW)
    some["pi4"] = evolve(some["pi4"], samples=(strange,))
    with pytest.raises(ObserveError, match="of another version; remedy: smolmon setup"):
        judged(healthy.cluster, some, {}, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "{{ if true }}x",
        "{{ nonsense 1 }}",
        "{{ $unknown }}",
        "{{ (first }}",
        '{{ "a" "b" }}',
        "{{ 1 ; }}",
    ],
)
def test_what_a_template_must_not_be(text):
    with pytest.raises(TemplateError):
        fill(text, {}, 1.0, lambda _: [])


@pytest.mark.parametrize(
    "expr", ["rate(x{a='b'}[5m])", "x{a=~'b'}", "x or y", "x{a='b'} == y", "sum(x)", "max(sum(x))"]
)
def test_no_expression_is_answered_by_a_guess(expr):
    with pytest.raises(UnansweredError):
        answer(expr, [])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0005, "500us"),
        (0.25, "250ms"),
        (30, "30s"),
        (90, "1m 30s"),
        (90061, "1d 1h 1m 1s"),
        (0, "0s"),
    ],
)
def test_durations_as_prometheus_writes_them(value, said):
    assert fill("{{ $value | humanizeDuration }}", {}, value, lambda _: []) == said


def test_a_certificate_that_has_ended_is_the_cause_of_silence():
    healthy = next(s for s in SCENARIOS if s.name == "healthy")
    why = Scrape("pi4", (), Why.EXPIRED, "192.168.1.15:9742: its certificate is not accepted")
    found = judged(healthy.cluster, scrapes(healthy) | {"pi4": why}, {"pi4": True}, NOW)
    (finding,) = found.findings
    assert finding.key == ("SmolmonCertificateExpiring", "pi4")
    assert (finding.fix, finding.certain) == ("smolmon setup", True)
    assert finding.evidence.endswith(f"Asked now: {why.error}.")

"""The shipped rules: sound, tested by promtool, and silent or firing as whole clusters demand."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from smolmon.alerts.render import shipped_rules, targets
from smolmon.exporter.vocabulary import TABLE
from tests.alerts.scenarios import ROOT, SCENARIOS, Scenario

RULES = sorted((ROOT / "alerts" / "rules").glob("*.yml"))
TESTS = sorted((ROOT / "alerts" / "tests").glob("*.yml"))
RUNBOOK = "https://github.com/smolmon/smolmon/blob/main/docs/runbook.md#"

RUNBOOK_FILE = ROOT / "docs" / "runbook.md"
# The rules already keep quiet while a bandwidth test runs; exporters will say when.


Tool = Callable[[str], str]


def run(*command: str | Path) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def all_rules() -> list[dict[str, Any]]:
    return [
        rule
        for text in shipped_rules().values()
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]


ALERTS = {rule["alert"]: rule for rule in all_rules() if "alert" in rule}
NOTIFIED = {name: rule for name, rule in ALERTS.items() if rule["labels"]["severity"] != "none"}


def test_promtool_accepts_the_rules(tool: Tool) -> None:
    run(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda p: p.stem)
def test_promtool_tests_pass(tool: Tool, path: Path) -> None:
    run(tool("promtool"), "test", "rules", path)


def test_every_alert_that_is_notified_is_tested_with_its_texts() -> None:
    tested = {
        case["alertname"]
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert tested >= NOTIFIED.keys()


@pytest.mark.parametrize("name", NOTIFIED)
def test_an_alert_says_all_that_a_person_needs(name: str) -> None:
    rule = NOTIFIED[name]
    texts = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["labels"]["class"] in ("symptom", "cause", "performance", "meta")
    assert texts.keys() == {"summary", "description", "fix", "runbook_url", "dashboard_url"}
    of_a_node = "(platform, ssh)" in rule["expr"]
    assert ("$labels.node" if of_a_node else "$labels.cluster") in texts["summary"]
    # Most receivers show nothing but the description.
    command = re.sub(r"^{{ \$lost := .*? -}} ", "", texts["fix"])  # both find it out first
    assert texts["description"].endswith(": " + command)
    # GitHub's anchor of a heading of one word is that word in lower case.
    assert texts["runbook_url"] == RUNBOOK + name.lower()
    assert ("var-node={{ $labels.node }}" in texts["dashboard_url"]) == of_a_node


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    headings = re.findall(r"^## (Smolmon\w+)$", RUNBOOK_FILE.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(NOTIFIED)


def test_every_metric_in_the_rules_is_one_that_the_exporter_has() -> None:
    text = json.dumps(all_rules())
    used = set(re.findall(r"\bsmolmon_[a-z_]+", text))
    used = {
        re.sub("_(bucket|sum|count)$", "", name) if name not in TABLE else name for name in used
    }
    assert used <= TABLE.keys()
    recorded = {rule["record"] for rule in all_rules() if "record" in rule}
    assert set(re.findall(r"\bsmolmon:[a-z0-9_:]+", text)) == recorded


def test_rules_name_no_address_of_any_cluster() -> None:
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", json.dumps(all_rules()))


def test_scenarios_speak_the_exporters_language() -> None:
    for scenario in SCENARIOS:
        for node in scenario.cluster.nodes:
            for series in scenario.metrics(node.name):
                assert series.labels.keys() == set(TABLE[series.name].labels)


MINUTE = 12  # scrapes


def promtool_test(scenario: Scenario) -> dict[str, Any]:
    """A minute of health, two minutes of the fault, three of health: as promtool's test file."""
    before, after = scenario.healed(), scenario
    series = []
    for group in json.loads(targets(scenario.cluster)):
        attached = {"job": "smolmon", "instance": group["targets"][0], **group["labels"]}
        node = group["labels"]["node"]
        up = {False: f"1x{6 * MINUTE}", True: f"1x{MINUTE - 1} 0x{2 * MINUTE - 1} 1x{3 * MINUTE}"}
        series.append({"series": selector("up", attached), "values": up[node in scenario.unseen]})
        took = 5 if node in scenario.dead | scenario.away else 0.05
        series.append(
            {
                "series": selector("scrape_duration_seconds", attached),
                "values": f"0.05x{MINUTE - 1} {took}x{2 * MINUTE - 1} 0.05x{3 * MINUTE}",
            }
        )
        healthy = {(s.name, *s.labels.items()): s for s in before.metrics(node)}
        faulty = {(s.name, *s.labels.items()): s for s in after.metrics(node)}
        for key, s in (healthy | faulty).items():
            good = f"{healthy[key].value}x{{}}" if key in healthy else ""
            bad = f"{faulty[key].value}x{{}}" if key in faulty else ""
            series.append(
                {
                    "series": selector(s.name, {**attached, **s.labels}),
                    "values": " ".join(
                        (value or "stale _x{}").format(count - 1)
                        for value, count in ((good, MINUTE), (bad, 2 * MINUTE), (good, 3 * MINUTE))
                    ),
                }
            )
    causes = [
        {"labels": labels(alertname=alert, node=node), "value": 1}
        for alert, node in scenario.causes
    ]
    told = [{"labels": labels(alertname=a, node=node), "value": 1} for a, node in scenario.told]
    no_symptom = 'ALERTS{alertstate="firing",class!~"symptom|explained",alertname!="Watchdog"}'
    not_muted = (
        'ALERTS{alertstate="firing",class="symptom"} unless on (cluster, node, probe, target) '
        'ALERTS{alertstate="firing",alertname="SmolmonExplained"}'
    )
    count = "group by (alertname, node) ({})".format
    return {
        "interval": "5s",
        "input_series": series,
        "promql_expr_test": [
            {"expr": 'ALERTS{alertname!="Watchdog"}', "eval_time": "55s", "exp_samples": []},
            {"expr": count(no_symptom), "eval_time": "2m55s", "exp_samples": causes},
            {"expr": count(not_muted), "eval_time": "2m55s", "exp_samples": told},
            {"expr": count(no_symptom), "eval_time": "5m10s", "exp_samples": []},
            {"expr": count(not_muted), "eval_time": "5m10s", "exp_samples": []},
        ],
    }


def labels(**pairs: str) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in pairs.items() if value) + "}"


def selector(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inner}}}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_exactly_the_right_alerts_fire(tool: Tool, scenario: Scenario, tmp_path: Path) -> None:
    path = tmp_path / "test.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(rule) for rule in RULES],
                "evaluation_interval": "5s",
                "tests": [promtool_test(scenario)],
            }
        )
    )
    run(tool("promtool"), "test", "rules", path)

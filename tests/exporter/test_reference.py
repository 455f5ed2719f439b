"""Code, rules and documentation speak of the same metrics."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from smolmon.exporter import reference
from smolmon.exporter.vocabulary import TABLE, Type

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "alerts" / "rules").glob("*.yml"))
SERIES = re.compile(r"\bsmolmon_[a-z0-9_]+\b")
SELECTOR = re.compile(r"\b(smolmon_[a-z0-9_]+)\s*\{([^}]*)\}")
MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*[\"']")
# What the scrape configuration attaches.
ATTACHED = {"cluster", "node", "role", "gateway", "segment", "instance", "job"}


def labels_of(series):
    """The labels of a series by its name in a query; None if nothing exports it."""
    if series in TABLE and TABLE[series].type is not Type.HISTOGRAM:
        return {*TABLE[series].labels, *ATTACHED}
    for suffix in ("_bucket", "_count", "_sum"):
        entry = TABLE.get(series.removesuffix(suffix))
        if series.endswith(suffix) and entry and entry.type is Type.HISTOGRAM:
            return {*entry.labels, *ATTACHED, *(["le"] if suffix == "_bucket" else [])}
    return None


def expressions():
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                texts = [rule["expr"], *rule.get("annotations", {}).values()]
                yield pytest.param(texts, id=rule.get("alert") or rule["record"])


def test_there_are_rules():
    assert len(list(expressions())) > 5


@pytest.mark.parametrize("texts", list(expressions()))
def test_rules_use_only_what_is_exported(texts):
    for text in texts:
        for series in SERIES.findall(text):
            assert labels_of(series) is not None, f"nothing exports {series}"
        for series, matchers in SELECTOR.findall(text):
            assert set(MATCHER.findall(matchers)) <= labels_of(series), (series, matchers)


def test_the_checks_themselves_would_notice():
    assert labels_of("smolmon_invented") is None
    assert labels_of("smolmon_ping_rtt_seconds") is None  # a histogram has no such series
    assert "le" in labels_of("smolmon_ping_rtt_seconds_bucket")
    [(series, matchers)] = SELECTOR.findall("x * smolmon_ping_up{probe='a', wrong=~\"b\"}")
    assert not set(MATCHER.findall(matchers)) <= labels_of(series)


def test_the_page_is_what_the_table_generates():
    assert (ROOT / reference.FILE).read_text() == reference.text(), "run scripts/generate"


def test_generate_says_when_the_page_is_out_of_date(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, "FILE", tmp_path / "metrics.md")
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().err.endswith("is out of date; run scripts/generate\n")
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    assert reference.main(["--chekc"]) == 2


def test_the_script_checks():
    script = ROOT / "scripts" / "generate"
    assert subprocess.run([script, "--check"], check=False).returncode == 0


def test_every_metric_is_on_the_page_once():
    page = reference.text()
    for name in TABLE:
        assert page.count(f"| `{name}` |") == 1


def test_the_readme_leads_to_the_page():
    assert "(docs/metrics.md)" in (ROOT / "README.md").read_text()


def test_documents_name_only_what_is_exported():
    for path in (ROOT / "docs").glob("*.md"):
        for series in SERIES.findall(path.read_text()):
            known = series in TABLE or labels_of(series) is not None
            assert known or any(n.startswith(series) for n in TABLE), (path.name, series)

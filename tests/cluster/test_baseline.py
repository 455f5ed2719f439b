"""Recording a baseline changes a cluster file's figures, and nothing else of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.cluster import parse
from smolmon.cluster.baseline import with_baseline
from smolmon.cluster.edit import EditError
from smolmon.cluster.timetable import declared_tests
from tests.cluster.clusters import GUIDE, cluster_files

TEXT = GUIDE.read_text()
KEY = ("edge51", "pi4", "mini1")


def recorded(text: str) -> dict:
    return {(b.link, b.source, b.target): b.bandwidth for b in parse(text).bandwidth.baseline}


def test_a_file_without_the_section_gets_it_at_its_end():
    edited = with_baseline(TEXT, "c.yaml", {KEY: "941Mbit/s"})
    assert edited == TEXT + (
        "\nbandwidth:\n"
        "  baseline: # by `smolmon bandwidth baseline`\n"
        "    edge51:\n"
        "      pi4->mini1: 941Mbit/s\n"
    )


SECTION = """
bandwidth: # twice a day is enough
    # here too
    period: 12h   # half a day
    duration: 3s
"""


def test_a_section_gets_it_as_its_first_entry_with_its_own_indentation():
    edited = with_baseline(TEXT + SECTION, "c.yaml", {KEY: "941Mbit/s"})
    added = (
        "    baseline: # by `smolmon bandwidth baseline`\n"
        "      edge51:\n"
        "        pi4->mini1: 941Mbit/s\n"
    )
    assert edited.replace(added, "") == TEXT + SECTION
    assert recorded(edited) == {KEY: 941e6 / 8}


FIGURES = """
bandwidth:
  baseline:
    # the cable was changed in May
    edge51:
      pi4->mini1: 700Mbit/s # before that: 90
      mini3->pi4: 710Mbit/s
    fabric: {mini1->mini2: 9Gbit/s} # braces
  period: 1h
# the end"""


def test_figures_are_replaced_where_they_stand_and_new_ones_become_lines():
    edited = with_baseline(
        TEXT + FIGURES,
        "c.yaml",
        {
            KEY: "941Mbit/s",
            ("fabric", "mini1", "mini2"): "9.5Gbit/s",
            ("edge51", "jetson", "mini3"): "930Mbit/s",
            ("edge50", "pi5", "mini1"): "940Mbit/s",
        },
    )
    assert (
        edited
        == TEXT
        + """
bandwidth:
  baseline:
    # the cable was changed in May
    edge51:
      pi4->mini1: 941Mbit/s # before that: 90
      mini3->pi4: 710Mbit/s
      jetson->mini3: 930Mbit/s
    fabric: {mini1->mini2: 9.5Gbit/s} # braces
    edge50:
      pi5->mini1: 940Mbit/s
  period: 1h
# the end"""
    )


@settings(deadline=None, max_examples=30)
@given(cluster_files(), st.data(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_cluster_keeps_all_but_its_figures(text, data, newline, ends):
    text = text.replace("\n", newline)
    text = text if ends else text.rstrip("\r\n")
    every = [(t.link, t.source, t.target) for t in declared_tests(parse(text))]
    wanted: dict = {}
    for _ in range(3):
        keys = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
        rates = {key: f"{data.draw(st.integers(1, 10**6))}kbit/s" for key in keys}
        before = text
        text = with_baseline(text, "c.yaml", rates)
        wanted |= {key: float(rate[:-6]) * 1e3 / 8 for key, rate in rates.items()}
        assert recorded(text) == wanted
        if not recorded(before):
            assert text.startswith(before)
        assert ("\r\n" in text) == (newline == "\r\n") or "\n" not in before
        # Every line that was there and holds no figure still is.
        kept = [line for line in before.splitlines() if "kbit/s" not in line]
        left = iter(text.splitlines())
        assert all(line in left for line in kept)


@pytest.mark.parametrize(
    "section",
    [
        "bandwidth: {period: 1h}\n",
        "bandwidth:\n  baseline: {edge51: {mini3->pi4: 1Gbit/s}}\n",
        "bandwidth:\n  baseline: {fabric: {mini1->mini2: 1Gbit/s}}\n",
        "bandwidth:\n  baseline:\n    edge51: {mini3->pi4: 1Gbit/s}\n",
    ],
)
def test_what_has_no_place_for_a_line_is_refused_in_one(section):
    with pytest.raises(EditError) as refusal:
        with_baseline(TEXT + section, "c.yaml", {KEY: "941Mbit/s"})
    (line,) = str(refusal.value).splitlines()
    assert line.startswith("c.yaml:4")
    assert "over several lines" in line


def test_an_alias_is_refused():
    text = TEXT + (
        "\nbandwidth:\n  baseline:\n    edge51:\n"
        "      pi4->mini1: &x 1Gbit/s\n      mini3->pi4: *x\n"
    )
    with pytest.raises(EditError, match=r"cannot be edited|no place|unusable"):
        with_baseline(text, "c.yaml", {("edge51", "mini3", "pi4"): "5Mbit/s"})


def test_nothing_to_record_changes_nothing():
    assert with_baseline(TEXT, "c.yaml", {}) == TEXT


@pytest.mark.parametrize("empty", ["bandwidth:\n", "bandwidth:\n  baseline:\n"])
def test_an_empty_section_is_filled(empty):
    edited = with_baseline(TEXT + empty, "c.yaml", {KEY: "941Mbit/s"})
    assert recorded(edited) == {KEY: 941e6 / 8}

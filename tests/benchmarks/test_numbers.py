"""What the benchmarks make of what they measured."""

import xml.etree.ElementTree as ET

import pytest

from benchmarks import report
from benchmarks.picture import bars
from benchmarks.programs import _go
from benchmarks.round_trips import errors, share

TRUTH = {"a": [(1, 0.0001), (2, None), (3, 0.0003)], "b": [(4, 0.0002)]}


def test_errors_are_ping_by_ping_and_without_the_sign():
    said = [("a", 1, 0.00011), ("a", 3, 0.00025), ("b", 4, 0.0002), ("b", 9, 1.0)]
    assert errors(TRUTH, said) == pytest.approx([10, 50, 0])


def test_answers_in_order_skip_what_was_lost():
    assert errors(TRUTH, [("a", -1, 0.0001), ("a", -1, 0.0003)]) == pytest.approx([0, 0])


@pytest.mark.parametrize(("part", "value"), [(0.5, 51), (0.99, 100), (1.0, 100)])
def test_share(part, value):
    assert share(list(range(100, 0, -1)), part) == value
    assert share([], part) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("117.2µs", 117.2e-6), ("2.05ms", 2.05e-3), ("900ns", 9e-7), ("1.5s", 1.5)],
)
def test_durations_of_go(text, seconds):
    assert _go(text) == pytest.approx(seconds)


def test_a_picture_is_xml_with_a_bar_for_each_row():
    svg = bars("A & B", "µs", [("smolmon <1>", 0.5), ("other", 5000.0)], limit=20.0)
    root = ET.fromstring(svg)  # noqa: S314 - our own
    widths = [float(e.get("width")) for e in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths == sorted(widths)
    assert len(widths) == 2


def test_a_section_is_replaced_and_the_other_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    report.write_section("rtt", "Round trips", ["one"])
    report.write_section("scrape", "Scrapes", ["two"])
    report.write_section("rtt", "Round trips", ["three"])
    page = (tmp_path / "page.md").read_text()
    assert "\none\n" not in page
    assert page.index("\nthree\n") < page.index("\ntwo\n")
    assert page.count("# Benchmarks\n") == 1

"""The table keeps Prometheus' rules, and nothing is exported that does not stand in it."""

import re

import pytest

from smolmon.exporter.vocabulary import TABLE, Type, histogram, metric

# What the scrape configuration attaches; the same name in a metric would be renamed on arrival.
TARGET_LABELS = {"cluster", "node", "role", "gateway", "segment", "instance", "job"}
BASE_UNITS = ("seconds", "bytes", "ratio", "celsius", "volts", "amperes", "joules", "grams")
OTHER_UNITS = ("milliseconds", "microseconds", "ms", "us", "minutes", "hours", "bits", "percent")


@pytest.mark.parametrize("entry", TABLE.values(), ids=lambda e: e.name)
class TestEveryMetric:
    def test_has_a_well_formed_name(self, entry):
        assert re.fullmatch(r"smolmon_[a-z][a-z0-9_]*", entry.name)
        assert TABLE[entry.name] is entry

    def test_is_named_after_its_type(self, entry):
        assert entry.name.endswith("_total") == (entry.type is Type.COUNTER)
        assert entry.name.endswith("_info") == (entry.type is Type.INFO)
        assert not entry.name.endswith(("_count", "_sum", "_bucket", "_created"))
        assert entry.type.value not in entry.name.split("_")[:-1]

    def test_is_in_a_base_unit(self, entry):
        words = entry.name.removesuffix("_total").split("_")
        assert not set(words) & set(OTHER_UNITS)
        assert entry.unit in ("", *BASE_UNITS)
        assert (words[-1] in BASE_UNITS) == bool(entry.unit)
        assert not entry.unit or words[-1] == entry.unit

    def test_says_what_it_is(self, entry):
        assert entry.help.endswith(".")
        assert "\n" not in entry.help
        assert len(entry.help.split()) > 3

    def test_has_labels_that_are_its_own(self, entry):
        assert not set(entry.labels) & TARGET_LABELS
        assert len(set(entry.labels)) == len(entry.labels)
        assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in entry.labels)
        assert "le" not in entry.labels


def test_a_metric_outside_the_table_cannot_be_made():
    with pytest.raises(KeyError):
        metric("smolmon_invented_total", [({}, 1)])


@pytest.mark.parametrize("name", ["smolmon_check_state", "smolmon_node_info"])
def test_a_sample_needs_exactly_the_labels_of_its_metric(name):
    with pytest.raises(ValueError, match=name):
        metric(name, [({"target": "mini1"}, 1)])


def test_buckets_accumulate():
    path = {"probe": "server", "target": "mini1", "link": "fabric"}
    made = histogram("smolmon_ping_rtt_seconds", [0.0005, 1.0], [(path, [3, 2, 1], 4.5)])
    assert [(s.labels.get("le"), s.value) for s in made.samples] == [
        ("0.0005", 3),
        ("1.0", 5),
        ("+Inf", 6),
        (None, 6),
        (None, 4.5),
    ]

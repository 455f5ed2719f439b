"""The text of a scrape says what the client library's would."""

import gzip
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import PROCESS_COLLECTOR, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from smolmon.exporter.exposition import Form, accepts_gzip, compress, encode, negotiate
from smolmon.exporter.own import process
from smolmon.exporter.vocabulary import histogram, metric

PATH = {"probe": "server", "target": "mini1", "link": "fabric"}
OPENMETRICS_1 = "application/openmetrics-text;version=1.0.0"


def some():
    return [
        metric("smolmon_ping_requests_total", [(PATH, 3)]),
        metric("smolmon_ping_up", [(PATH, True)]),
        metric("smolmon_node_info", [({"platform": "linux", "ssh": ""}, 1)]),
        metric("smolmon_ping_rtt_threshold_seconds", [(PATH, 25e-6)]),
        histogram("smolmon_ping_rtt_seconds", [25e-6, 0.0005], [(PATH, [3, 0, 1], 2.5)]),
        metric("smolmon_ping_last_reply_timestamp_seconds", []),
    ]


class Once:
    def __init__(self, metrics):
        self.metrics = metrics

    def collect(self):
        return self.metrics


def meaning(text, parse):
    return [
        (
            *(f.name, f.type, f.documentation),
            sorted((s.name, sorted(s.labels.items()), s.value) for s in f.samples),
        )
        for f in parse(text)
        if f.samples
    ]


def test_it_means_what_the_client_library_says():
    metrics = [*some(), *process(PROCESS_COLLECTOR.collect)]
    registry = CollectorRegistry()
    registry.register(Once(metrics))
    theirs = generate_latest(registry).decode()
    ours = encode(metrics, Form.TEXT).decode()
    assert meaning(ours, parse_text) == meaning(theirs, parse_text)


def test_openmetrics_holds_to_its_grammar():
    text = encode([*some(), *process(PROCESS_COLLECTOR.collect)], Form.OPENMETRICS).decode()
    assert text.endswith("# EOF\n")
    families = {f.name: f for f in parse_openmetrics(text)}
    assert families["smolmon_ping_rtt_seconds"].unit == "seconds"
    assert families["smolmon_ping_requests"].type == "counter"
    assert families["smolmon_node"].type == "info"
    assert len(families["smolmon_ping_rtt_seconds"].samples) == 5


@given(st.text())
def test_any_label_value_survives(value):
    family = GaugeMetricFamily("x", "text", labels=["l"])
    family.add_metric([value], 1)
    for form, parse in ((Form.TEXT, parse_text), (Form.OPENMETRICS, parse_openmetrics)):
        [parsed] = parse(encode([family], form).decode())
        assert parsed.samples[0].labels == {"l": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((True, "1"), (3, "3"), (0.5, "0.5"), (1e-6, "1e-06")),
        *((math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")),
    ],
)
def test_numbers(value, text):
    family = GaugeMetricFamily("x", "text", value=value)
    assert encode([family], Form.TEXT).decode().splitlines()[-1] == f"x {text}"


def test_one_family_from_two_collectors_has_one_header():
    a = metric("smolmon_ping_up", [(PATH, 1)])
    b = metric("smolmon_ping_up", [({**PATH, "target": "mini2"}, 0)])
    text = encode([a, *some()[:1], b], Form.OPENMETRICS).decode()
    assert text.count("# TYPE smolmon_ping_up") == 1
    assert len(next(f for f in parse_openmetrics(text) if f.name == "smolmon_ping_up").samples) == 2


def test_a_bucket_too_few_is_an_error():
    with pytest.raises(ValueError, match="3 buckets"):
        histogram("smolmon_ping_rtt_seconds", [25e-6, 0.0005], [(PATH, [3, 0], 2.5)])


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.TEXT),
        ("*/*", Form.TEXT),
        ("text/plain;version=0.0.4", Form.TEXT),
        (OPENMETRICS_1, Form.OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", Form.TEXT),
        (f"{OPENMETRICS_1};q=0.2,text/plain;version=0.0.4;q=0.5", Form.TEXT),
        (f"{OPENMETRICS_1};q=nonsense", Form.TEXT),
        # What Prometheus 3 sends.
        (
            f"{OPENMETRICS_1};escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Form.OPENMETRICS,
        ),
    ],
)
def test_the_client_chooses_the_form(accept, form):
    assert negotiate(accept) is form


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        *(("gzip", True), ("deflate, GZIP;q=0.5", True), ("*", True)),
        *(("", False), ("identity", False), ("gzip;q=0", False), ("xgzip", False)),
    ],
)
def test_gzip_is_sent_to_who_wants_it(header, accepted):
    assert accepts_gzip(header) is accepted


def test_gzip():
    body = encode(some(), Form.TEXT)
    assert gzip.decompress(compress(body)) == body

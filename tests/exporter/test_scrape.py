"""Collectors are kept apart, and what they yield is what the table promises."""

import errno
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from smolmon.cluster import derive, load
from smolmon.exporter import collectors, pings
from smolmon.exporter.exposition import Form, encode
from smolmon.exporter.isolation import State
from smolmon.exporter.observer import edges
from smolmon.exporter.pinger import Pinger
from smolmon.exporter.prober import Prober
from smolmon.exporter.routes import RouteWatch
from smolmon.exporter.scrape import Scraper
from smolmon.exporter.system import KernelRoute
from smolmon.exporter.vocabulary import TABLE, Type, metric
from tests.exporter.fakes import FakeEcho, FakeSystem, error

CLUSTER = load(Path(__file__).parents[2] / "examples" / "guide.yaml")


def samples(text, parse=parse_text):
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value for m in parse(text) for s in m.samples
    }


def of(found, name, **labels):
    """The values of the metric `name` whose labels include `labels`."""
    return [
        value
        for (n, ls), value in found.items()
        if n == name and labels.items() <= dict(ls).items()
    ]


def everything(node, system, states=()):
    probes = derive.probes(CLUSTER, node)
    pinger = Pinger([str(p.address) for p in probes], 1.0, edges=edges(CLUSTER))
    seen = pings.look(probes, Prober(pinger, FakeEcho))
    return {
        "ping": lambda: pings.ping(seen),
        "isolation": lambda: collectors.isolation(states),
        "route": RouteWatch(CLUSTER, node, system).collect,
        "forwarding": lambda: collectors.forwarding(system),
    }


@pytest.fixture
def scraper():
    return Scraper()


def scrape(scraper, collect, form=Form.TEXT):
    return encode(scraper.scrape(collect), form).decode()


def test_a_failing_collector_spoils_nothing_else(scraper, caplog):
    system = FakeSystem(fails_with=error(errno.ENOBUFS))
    found = samples(scrape(scraper, everything("pi5", system)))
    for name, ok in {"ping": 1, "isolation": 1, "route": 0, "forwarding": 0}.items():
        assert of(found, "smolmon_collector_success", collector=name) == [ok]
        assert len(of(found, "smolmon_collector_duration_seconds", collector=name)) == 1
        last = of(found, "smolmon_collector_last_success_timestamp_seconds", collector=name)
        assert len(last) == ok
    assert of(found, "smolmon_route_present") == []
    assert len(of(found, "smolmon_ping_requests_total")) == 3
    assert len(caplog.messages) == 2


def test_trouble_is_logged_once_and_its_end_too(scraper, caplog):
    system = FakeSystem(fails_with=error(errno.ENOBUFS))
    collect = {"forwarding": lambda: collectors.forwarding(system)}
    scrape(scraper, collect)
    scrape(scraper, collect)
    system.fails_with = None
    scrape(scraper, collect)
    scrape(scraper, collect)
    assert caplog.messages == [
        "collector forwarding: [Errno 105] No buffer space available",
        "collector forwarding: works again",
    ]


def test_a_collector_that_fails_half_way_yields_nothing(scraper):
    def half():
        yield metric("smolmon_ip_forwarding_enabled", [({"family": "ipv4"}, 1)])
        raise RuntimeError("two\nlines")

    found = samples(scrape(scraper, {"forwarding": half}))
    assert of(found, "smolmon_ip_forwarding_enabled") == []
    assert of(found, "smolmon_collector_success") == [0]


def test_what_is_not_known_is_absent(scraper):
    found = samples(scrape(scraper, everything("pi5", FakeSystem())))
    for name in ("ping_up", "ping_last_reply_timestamp_seconds", "check_state"):
        assert of(found, f"smolmon_{name}") == []
    assert of(found, "smolmon_ping_results_total") == [0] * 4 * 3


def test_missing_routes_are_listed(scraper):
    [wanted] = derive.routes(CLUSTER, "pi5")
    system = FakeSystem()
    labels = {
        "destination": "10.10.0.0/24",
        "via": "192.168.50.1",
        "via_node": "mini1",
        "to": "fabric",
        "link": "edge50",
        "device": "eth0",
        "purpose": "forward",
    }
    found = samples(scrape(scraper, everything("pi5", system)))
    assert of(found, "smolmon_route_present", **labels) == [0]
    system.table.append(KernelRoute(wanted.destination, wanted.via, "eth0"))
    found = samples(scrape(scraper, everything("pi5", system)))
    assert of(found, "smolmon_route_present", **labels) == [1]


@pytest.mark.parametrize("state", State)
def test_a_check_is_in_one_state(scraper, state):
    [check] = derive.isolation(CLUSTER, "pi5")
    found = samples(scrape(scraper, everything("pi5", FakeSystem(), [(check, state)])))
    for other in State:
        labels = {"check": "isolation", "target": "pi4", "link": "edge50", "state": other.value}
        assert of(found, "smolmon_check_state", **labels) == [other is state]


@pytest.mark.parametrize("node", [n.name for n in CLUSTER.nodes])
def test_what_is_declared_is_exported(node):
    collect = everything(node, FakeSystem(forwards=True))
    metrics = [*collectors.declared(CLUSTER, node, "abc"), *Scraper().scrape(collect)]
    found = samples(encode(metrics, Form.TEXT).decode())
    for probe in derive.probes(CLUSTER, node):
        path = {"probe": probe.kind.value, "target": probe.target, "link": probe.link}
        assert of(found, "smolmon_ping_rtt_threshold_seconds", **path) == [probe.rtt]
        assert len(of(found, "smolmon_path_hop_info", **path)) == len(probe.gateways)
        steps = derive.steps(CLUSTER, probe)
        assert len(of(found, "smolmon_path_step_info", **path)) == len(steps)
        if probe.kind is not derive.ProbeKind.INTERNET:
            ends = ">".join(derive.ends(CLUSTER, probe))
            assert of(found, "smolmon_path_info", **path, path=ends) == [1]
        # The expectation is an edge, so that the share of replies above it can be read off.
        edge = f"{probe.rtt!r}"
        assert of(found, "smolmon_ping_rtt_seconds_bucket", **path, le=edge) == [0]
    forwards = node in derive.gateways(CLUSTER)
    assert of(found, "smolmon_ip_forwarding_expected", family="ipv4") == [forwards]
    assert of(found, "smolmon_ip_forwarding_enabled", family="ipv4") == [1]
    assert len(of(found, "smolmon_route_present")) == len(derive.routes(CLUSTER, node))
    assert len(of(found, "smolmon_cable_info")) == len(derive.cabled(CLUSTER, node))
    machine = CLUSTER.node(node)
    info = {"platform": machine.platform.value, "ssh": machine.ssh}
    assert of(found, "smolmon_node_info", **info) == [1]
    assert of(found, "smolmon_topology_info", hash="abc") == [1]


@pytest.mark.parametrize(
    ("form", "parse"), [(Form.TEXT, parse_text), (Form.OPENMETRICS, parse_openmetrics)]
)
def test_a_scrape_shows_only_what_stands_in_the_table(scraper, form, parse):
    [check] = derive.isolation(CLUSTER, "pi5")
    collect = everything("pi5", FakeSystem(), [(check, State.PASS)])
    seen = set()
    for family in parse(scrape(scraper, collect, form)):
        for sample in family.samples:
            name = sample.name
            if family.type == "histogram":
                name = name.rpartition("_")[0]
            entry = TABLE[name]
            seen.add(name)
            own = sample.labels.keys() - ({"le"} if entry.type is Type.HISTOGRAM else set())
            assert own == set(entry.labels)
            assert family.documentation == entry.help
    assert len(seen) > 15


def test_what_is_no_longer_collected_is_forgotten(scraper):
    scrape(scraper, everything("pi5", FakeSystem()))
    found = samples(scrape(scraper, {}))
    assert of(found, "smolmon_collector_last_success_timestamp_seconds") == []


def test_isolation_addresses_come_from_the_cluster():
    [check] = derive.isolation(CLUSTER, "pi5")
    assert check.address == IPv4Address("192.168.51.4")

"""`smolmon exporter --once`: what the metrics show, as a table."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from smolmon.exporter.once import Report, Row, Verdict, as_json, as_table, rows
from smolmon.exporter.vocabulary import histogram, metric
from tests.exporter.netns import A, B, cable, ip, nft, require_root, sh

GUIDE = Path(__file__).parents[2] / "examples" / "guide.yaml"
PATH = {"probe": "server", "target": "mini1", "link": "edge50"}
ROUTE = {
    "destination": "10.10.0.0/24",
    "via": "192.168.50.1",
    "via_node": "mini1",
    "to": "fabric",
    "link": "edge50",
    "device": "eth0",
    "purpose": "forward",
}
IPV4 = {"family": "ipv4"}


def verdicts(*metrics):
    return [(row.seen, row.verdict) for row in rows(metrics)]


def pings(replies, timeouts=0, slow=0, rtt=0.001):
    counts = [0, 0, 0]
    counts[0 if rtt <= 0.001 else 1] = replies
    return [
        metric("smolmon_ping_rtt_threshold_seconds", [(PATH, 0.002)]),
        metric(
            "smolmon_ping_results_total",
            [
                ({**PATH, "result": "reply"}, replies),
                ({**PATH, "result": "timeout"}, timeouts),
                ({**PATH, "result": "send_error"}, 0),
            ],
        ),
        metric("smolmon_ping_slow_replies_total", [(PATH, slow)]),
        histogram("smolmon_ping_rtt_seconds", [0.001, 0.004], [(PATH, counts, replies * rtt)]),
    ]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (pings(5), ("1 ms", Verdict.OK)),
        (pings(4, timeouts=1), ("1 ms, 4 of 5 answered", Verdict.OK)),
        (pings(3, timeouts=2), ("1 ms, 3 of 5 answered", Verdict.FAIL)),
        (pings(0, timeouts=5), ("5 timeout", Verdict.FAIL)),
        (pings(5, slow=2), ("1 ms", Verdict.OK)),
        (pings(5, slow=3, rtt=0.004), ("4 ms", Verdict.FAIL)),
        (pings(0), ("not sent", Verdict.UNKNOWN)),
    ],
)
def test_pings(made, expected):
    assert verdicts(*made) == [expected]


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("pass", Verdict.OK), ("fail", Verdict.FAIL), ("inconclusive", Verdict.UNKNOWN)],
)
def test_checks(state, verdict):
    labels = {"check": "isolation", "target": "pi4", "link": "edge50"}
    states = [({**labels, "state": s}, s == state) for s in ("pass", "fail", "inconclusive")]
    assert verdicts(metric("smolmon_check_state", states)) == [(state, verdict)]


@pytest.mark.parametrize(
    ("expected", "enabled", "outcome"),
    [
        *((1, 1, ("on", Verdict.OK)), (1, 0, ("off", Verdict.FAIL))),
        *((0, 0, ("off", Verdict.OK)), (0, 1, ("on", Verdict.OK))),
        (1, None, ("unknown", Verdict.UNKNOWN)),
    ],
)
def test_forwarding(expected, enabled, outcome):
    seen = [] if enabled is None else [(IPV4, enabled)]
    made = (
        metric("smolmon_ip_forwarding_expected", [(IPV4, expected)]),
        metric("smolmon_ip_forwarding_enabled", seen),
    )
    assert verdicts(*made) == [outcome]


def test_routes_and_failed_collectors():
    assert verdicts(metric("smolmon_route_present", [(ROUTE, 1)])) == [("present", Verdict.OK)]
    assert verdicts(metric("smolmon_route_present", [(ROUTE, 0)])) == [("missing", Verdict.FAIL)]
    failed = metric("smolmon_collector_success", [({"collector": "a"}, 0), ({"collector": "b"}, 1)])
    assert [(r.what, r.verdict) for r in rows([failed])] == [("a", Verdict.UNKNOWN)]


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("open", Verdict.OK), ("refused", Verdict.IDLE), ("timeout", Verdict.FAIL)],
)
def test_a_port_where_no_training_runs_is_nothing_wrong(state, verdict):
    labels = {"target": "mini1", "link": "edge50", "port": "65432"}
    states = [({**labels, "state": s}, s == state) for s in ("open", "refused", "timeout")]
    [row] = rows([metric("smolmon_tcp_connect_state", states)])
    assert row.verdict is verdict
    assert Report("guide", "pi5", [row]).as_expected is (verdict is not Verdict.FAIL)


@pytest.mark.parametrize(
    ("bound", "exposed", "verdict"),
    [
        ([], 0, Verdict.IDLE),
        (["10.10.0.1"], 0, Verdict.OK),
        (["0.0.0.0"], 1, Verdict.FAIL),
        (["127.0.0.1"], 0, Verdict.FAIL),
    ],
)
def test_who_listens(bound, exposed, verdict):
    at = {"address": "10.10.0.1", "port": "65432"}
    made = (
        metric("smolmon_listener_expected", [(at, 1)]),
        metric("smolmon_listener_present", [(at, bool({"10.10.0.1", "0.0.0.0"} & set(bound)))]),
        metric("smolmon_listener_exposed", [({"port": "65432"}, exposed)]),
        metric(
            "smolmon_listener_bound_info", [({"address": a, "port": "65432"}, 1) for a in bound]
        ),
    )
    [(_, found)] = verdicts(*made)
    assert found is verdict


REPORT = Report(
    "guide",
    "pi5",
    [
        Row("ping", "server mini1, edge50", "within 2 ms", "0.09 ms", Verdict.OK),
        Row("ping", "gateway mini1, edge50", "within 2 ms", "5 timeout", Verdict.FAIL),
        Row("isolation", "pi4, edge50", "pass", "inconclusive", Verdict.UNKNOWN),
    ],
)


def test_the_plain_table_is_ascii_and_every_line_is_whole():
    text = as_table(REPORT)
    assert text.isascii()
    assert text.splitlines() == [
        "pi5 of guide: 2 of 3 not as expected",
        "                                           expected     seen",
        "ok       ping       server mini1, edge50   within 2 ms  0.09 ms",
        "fail     ping       gateway mini1, edge50  within 2 ms  5 timeout",
        "unknown  isolation  pi4, edge50            pass         inconclusive",
    ]


def plain(text):
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        text = text.replace(code, "")
    return text.splitlines()


def test_the_table_for_a_terminal():
    assert plain(as_table(REPORT, width=80)) == [
        "pi5 of guide: 2 of 3 not as expected",
        "                                     expected     seen",
        "✓  ping       server mini1, edge50   within 2 ms  0.09 ms",
        "✗             gateway mini1, edge50  within 2 ms  5 timeout",
        "?  isolation  pi4, edge50            pass         inconclusive",
    ]


def test_the_table_for_a_narrow_terminal():
    lines = plain(as_table(REPORT, width=60))
    assert lines[1:] == [
        "✓  ping       server mini1, edge50   0.09 ms",
        "✗             gateway mini1, edge50  5 timeout",
        "                expected: within 2 ms",
        "?  isolation  pi4, edge50            inconclusive",
        "                expected: pass",
    ]


def test_json():
    report = json.loads(as_json(REPORT))
    assert (report["cluster"], report["node"], report["as_expected"]) == ("guide", "pi5", False)
    assert report["rows"][1] == {
        "group": "ping",
        "what": "gateway mini1, edge50",
        "expected": "within 2 ms",
        "seen": "5 timeout",
        "verdict": "fail",
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    require_root()
    path = tmp_path_factory.mktemp("once") / "cluster.yaml"
    path.write_text(GUIDE.read_text().replace("8.8.8.8", "192.0.2.1"))
    with cable("192.168.50.2/24", "192.168.50.1/24"):
        ip(B, "addr add 10.10.0.1/24 dev lo")
        ip(B, "addr add 192.0.2.1/32 dev lo")
        ip(A, f"link add wlan0 type veth peer name ap netns {B}")
        ip(A, "addr add 192.168.1.14/24 dev wlan0")
        ip(B, "addr add 192.168.1.1/24 dev ap")
        ip(A, "link set wlan0 up")
        ip(B, "link set ap up")
        ip(A, "route add default via 192.168.1.1")
        ip(A, "route add 10.10.0.0/24 via 192.168.50.1")
        yield path


def command(cluster, *options):
    return [
        *("ip", "netns", "exec", A, sys.executable, "-m", "smolmon", "exporter"),
        *("--node", "pi5", "--cluster", str(cluster), "--once", *options),
    ]


def run(cluster, *options):
    return subprocess.run(command(cluster, *options), capture_output=True, text=True, check=False)


@pytest.mark.lab
def test_all_is_well(cluster):
    done = run(cluster)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("pi5 of guide: all as expected\n")
    assert done.stdout.isascii()


@pytest.mark.lab
def test_something_is_not(cluster):
    nft(B, "add table ip t")
    nft(B, "add chain ip t input { type filter hook input priority 0; }")
    sh(B, "nft", "add rule ip t input ip daddr 10.10.0.1 icmp type echo-request drop")
    try:
        done = run(cluster, "--json")
    finally:
        nft(B, "delete table ip t")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr, report["as_expected"]) == (1, "", False)
    bad = [r for r in report["rows"] if r["verdict"] == "fail"]
    assert [r["what"] for r in bad if r["group"] == "ping"] == ["server mini1, edge50"]


@pytest.mark.lab
def test_a_terminal(cluster):
    here, there = pty.openpty()
    environment = {**os.environ, "PYTHONUTF8": "1", "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command(cluster), stdout=there, env=environment) as process:
        os.close(there)
        parts = []
        try:
            while part := os.read(here, 65536):
                parts.append(part)
        except OSError:
            pass  # the other end is closed
    os.close(here)
    text = b"".join(parts).decode()
    assert process.returncode == 0
    assert "\x1b[32m✓\x1b[0m  ping" in text
    assert max(map(len, plain(text))) <= 80

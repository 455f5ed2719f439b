"""The whole exporter of pi5, as a process in a network namespace; mini1 is another namespace."""

import http.client
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from smolmon.exporter.vocabulary import TABLE
from tests.exporter.netns import A, B, cable, inside, ip, nft, require_root, sh, until
from tests.exporter.test_scrape import of, samples

pytestmark = pytest.mark.lab

GUIDE = str(Path(__file__).parents[2] / "examples" / "guide.yaml")
MANAGEMENT, PORT = "192.168.1.14", 9742
SERVER = {"probe": "server", "target": "mini1", "link": "edge50"}
GATEWAY = {"probe": "gateway", "target": "mini1", "link": "edge50"}


class Exporter:
    """A running `smolmon exporter`."""

    def __init__(self, *options, listen=f"{MANAGEMENT}:{PORT}", cluster=GUIDE):
        self.process = subprocess.Popen(
            [
                *("ip", "netns", "exec", A, sys.executable, "-m", "smolmon", "exporter"),
                *("--node", "pi5", "--cluster", cluster, "--listen", listen, *options),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        # Before this line there is nobody to connect to; it stands there once there is.
        self.first_line = self.process.stderr.readline()

    def get(self, accept="", address=MANAGEMENT):
        def ask():
            connection = http.client.HTTPConnection(address, PORT, timeout=5)
            connection.request("GET", "/metrics", headers={"Accept": accept})
            body = connection.getresponse().read()
            connection.close()
            return body.decode()

        return inside(A, ask)

    def seen(self, name, **labels):
        return of(samples(self.get()), name, **labels)

    def rtt(self, part, path):
        return self.seen(f"smolmon_ping_rtt_seconds_{part}", **path)

    def count(self, result, path):
        [value] = self.seen("smolmon_ping_results_total", **path, result=result)
        return value

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(5)
        self.process.stderr.close()


@pytest.fixture(scope="module")
def network():
    require_root()
    with cable("192.168.50.2/24", "192.168.50.1/24"):
        ip(B, "addr add 10.10.0.1/24 dev lo")
        ip(A, "route add 10.10.0.0/24 via 192.168.50.1")
        yield


@pytest.fixture(scope="module")
def running(network):
    """An exporter that listens on an address which the machine gets only afterwards."""
    exporter = Exporter()
    ip(A, f"addr add {MANAGEMENT}/24 dev lo")
    try:
        yield exporter
    finally:
        exporter.stop()


def test_it_says_where_it_listens(running):
    assert running.first_line == ("pi5 of guide: metrics at http://192.168.1.14:9742/metrics\n")


def test_targets_come_up(running):
    for path in (SERVER, GATEWAY):
        assert until(lambda path=path: running.seen("smolmon_ping_up", **path)) == [1]
        # Not at once: the kernel begins to stamp a moment after it was asked to, and the first
        # replies may have no round trip (see test_rtt.py).
        [count] = until(lambda path=path: [c for c in running.rtt("count", path) if c])
        [total] = running.rtt("sum", path)
        assert 0 < total / count < 0.002
    # Without a default route there is no way to the internet, and that is no silence.
    internet = {"probe": "internet"}
    until(lambda: running.seen("smolmon_ping_up", **internet) == [0])
    assert running.seen("smolmon_ping_last_reply_timestamp_seconds", **internet) == []


def test_the_scrape_holds_to_the_table_in_openmetrics_too(running):
    until(lambda: running.seen("smolmon_check_state"))
    accept = "application/openmetrics-text;version=1.0.0"
    families = list(parse_openmetrics(running.get(accept)))
    names = {
        s.name.rpartition("_")[0] if f.type == "histogram" else s.name
        for f in families
        for s in f.samples
    }
    ours = {n for n in names if not n.startswith(("process_", "python_"))}
    assert ours <= TABLE.keys()
    assert {"process_resident_memory_bytes", "python_info"} <= names
    assert set(running.seen("smolmon_collector_success")) == {1}


def test_isolation_is_checked(running):
    state = {"check": "isolation", "target": "pi4", "link": "edge50"}
    until(lambda: running.seen("smolmon_check_state", **state, state="pass") == [1])


def test_a_deleted_route_is_missed_and_found_again(running):
    def present():
        return running.seen("smolmon_route_present", destination="10.10.0.0/24", via_node="mini1")

    assert present() == [1]
    ip(A, "route del 10.10.0.0/24")
    assert present() == [0]
    ip(A, "route add 10.10.0.0/24 via 192.168.50.1")
    assert present() == [1]


def test_forwarding_is_seen(running):
    for value in (1, 0):
        sh(A, "sysctl", "-qw", f"net.ipv4.ip_forward={value}")
        assert running.seen("smolmon_ip_forwarding_enabled") == [value]
    assert running.seen("smolmon_ip_forwarding_expected") == [0]


def test_loss_brings_a_target_down_and_its_end_up_again(running):
    replies = running.count("reply", SERVER)
    nft(B, "add table ip t")
    nft(B, "add chain ip t input { type filter hook input priority 0; }")
    sh(B, "nft", "add rule ip t input ip daddr 10.10.0.1 drop")
    until(lambda: running.seen("smolmon_ping_up", **SERVER) == [0])
    assert running.count("timeout", SERVER) >= 3
    assert running.count("reply", SERVER) <= replies + 1  # one may have been on its way
    assert running.seen("smolmon_ping_up", **GATEWAY) == [1]
    nft(B, "delete table ip t")
    until(lambda: running.seen("smolmon_ping_up", **SERVER) == [1])
    for path in (SERVER, GATEWAY):
        [requests] = running.seen("smolmon_ping_requests_total", **path)
        # The two are read in different scrapes; what came between may have been added.
        assert requests <= sum(running.seen("smolmon_ping_results_total", **path)) <= requests + 1


def test_it_stops_at_once_even_with_a_client_connected(running):
    port = PORT + 1
    exporter = Exporter(listen=f"127.0.0.1:{port}")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    inside(A, connection.connect)
    connection.request("GET", "/-/healthy")
    assert connection.getresponse().read() == b"ok\n"
    start = time.monotonic()
    exporter.process.send_signal(signal.SIGTERM)
    assert exporter.process.wait(5) == 0
    assert time.monotonic() - start < 1
    assert "Traceback" not in exporter.process.stderr.read()
    exporter.process.stderr.close()
    connection.close()

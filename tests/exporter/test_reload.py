"""The running exporter follows its cluster file, and the network's ups and downs."""

import http.client
import signal
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.exporter.certificates import authority, signed
from tests.exporter.netns import A, B, cable, inside, ip, plug, require_root, until
from tests.exporter.test_exporter import GATEWAY, GUIDE, MANAGEMENT, SERVER, Exporter
from tests.exporter.test_scrape import of, samples

pytestmark = pytest.mark.lab

PORT = 9742
GOOD, TIME = (
    f"smolmon_config_last_reload_{what}" for what in ("successful", "success_timestamp_seconds")
)
INTERNET = {"probe": "internet", "target": "internet"}


@pytest.fixture
def network():
    require_root()
    with cable("192.168.50.2/24", "192.168.50.1/24"):
        ip(B, "addr add 10.10.0.1/24 dev lo")
        ip(B, "addr add 192.0.2.1/32 dev lo")
        ip(A, "route add default via 192.168.50.1")
        ip(A, f"addr add {MANAGEMENT}/24 dev lo")
        yield


@pytest.fixture
def cluster(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(Path(GUIDE).read_text().replace("8.8.8.8", "192.0.2.1"))
    return path


@pytest.fixture
def exporter(network, cluster):
    exporter = Exporter(cluster=str(cluster))
    until(lambda: exporter.seen("smolmon_ping_up", **INTERNET) == [1])
    yield exporter
    exporter.stop()


def edit(path, *replacements):
    text = path.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    # As editors and setup do it.
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_reload(exporter, cluster):
    # Somebody else is there, with another expectation, and one is no longer.
    [digest] = labels(exporter, "smolmon_topology_info", "hash")
    [started] = exporter.seen(TIME)
    before = exporter.count("reply", SERVER)
    before_tcp = sum(exporter.seen("smolmon_tcp_connect_attempts_total"))
    edit(cluster, ("internet:\n  address: 192.0.2.1\n", ""), ("pi4:", "pi6:"))
    exporter.process.send_signal(signal.SIGHUP)
    until(lambda: labels(exporter, "smolmon_topology_info", "hash") != [digest], 1.5)
    assert exporter.seen(GOOD) == [1]
    assert exporter.seen(TIME)[0] > started
    # Counters of those that stay go on; the series of those that went are gone.
    assert exporter.count("reply", SERVER) >= before
    assert sum(exporter.seen("smolmon_tcp_connect_attempts_total")) >= before_tcp > 0
    assert labels(exporter, "smolmon_ping_up", "target") == ["mini1", "mini1"]
    assert "pi4" not in exporter.get()
    until(lambda: exporter.count("reply", SERVER) > before + 1)
    assert exporter.seen("smolmon_ping_results_total", result="timeout") == [0, 0]

    # A bad file changes nothing, and one line says why.
    [when] = exporter.seen(TIME)
    replies = exporter.count("reply", SERVER)
    edit(cluster, ("kind: ethernet", "kind: ethernt"))
    exporter.process.send_signal(signal.SIGHUP)
    until(lambda: exporter.seen(GOOD) == [0], 1.5)
    assert exporter.seen(TIME) == [when]
    until(lambda: exporter.count("reply", SERVER) > replies)

    # Nobody has to be told of a change: the file is looked at. A new peer appears.
    edit(cluster, ("kind: ethernt", "kind: ethernet"))
    with cluster.open("a") as file:
        file.write("internet:\n  address: 192.0.2.1\n")
    until(lambda: exporter.seen("smolmon_ping_up", **INTERNET) == [1], 8)
    assert exporter.seen(GOOD) == [1]
    assert exporter.count("reply", SERVER) > replies

    exporter.process.send_signal(signal.SIGTERM)
    exporter.process.wait(5)
    [said] = [line for line in exporter.process.stderr if "goes on with" in line]
    assert "did you mean `ethernet`?" in said


def labels(exporter, name, label):
    return [
        s.labels[label] for f in parse_text(exporter.get()) for s in f.samples if s.name == name
    ]


def test_an_interface_vanishes_and_returns_with_another_address(exporter):
    replies = exporter.count("reply", GATEWAY)
    ip(A, "link del eth0")
    until(lambda: exporter.seen("smolmon_ping_up", **GATEWAY) == [0])
    plug("192.168.50.7/24", "192.168.50.1/24")
    until(lambda: exporter.seen("smolmon_ping_up", **GATEWAY) == [1])
    assert exporter.count("reply", GATEWAY) > replies
    assert exporter.process.poll() is None


def test_it_may_boot_before_its_peers(network, cluster):
    ip(A, "link del eth0")
    exporter = Exporter(cluster=str(cluster))
    try:
        until(lambda: exporter.seen("smolmon_ping_up", **GATEWAY) == [0])
        plug("192.168.50.2/24", "192.168.50.1/24")
        until(lambda: exporter.seen("smolmon_ping_up", **GATEWAY) == [1])
    finally:
        exporter.stop()


def request(path, context=None, port=PORT, **headers):
    """Status, headers and body of an answer, asked for inside the namespace."""
    if context:
        connection = http.client.HTTPSConnection(MANAGEMENT, port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(MANAGEMENT, port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_fifty_scrapes_at_once(exporter):
    def fifty():
        with ThreadPoolExecutor(50) as pool:
            return list(pool.map(lambda _: inside(A, lambda: request("/metrics")), range(50)))

    start = time.monotonic()
    answers = fifty()
    assert time.monotonic() - start < 5
    assert [status for status, _, _ in answers] == [200] * 50
    for _, _, body in answers:
        results = of(samples(body.decode()), "smolmon_ping_results_total", **SERVER)
        [requests] = of(samples(body.decode()), "smolmon_ping_requests_total", **SERVER)
        assert sum(results) == requests > 0
    assert exporter.seen("smolmon_ping_results_total", **SERVER, result="timeout") == [0]


def test_pages(exporter):
    assert inside(A, lambda: request("/-/healthy"))[0] == 200
    assert until(lambda: inside(A, lambda: request("/-/ready"))[0] == 200)
    assert inside(A, lambda: request("/metric"))[0] == 404
    wanted = {"accept": "application/openmetrics-text", "accept-encoding": "gzip"}
    _, headers, _ = inside(A, lambda: request("/metrics", **wanted))
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert exporter.seen("process_resident_memory_bytes")[0] < 50e6


def test_scrapes_are_mutual_tls_when_configured(network, cluster, tmp_path):
    ca = authority(tmp_path)
    signed(tmp_path, "node", ca, sans=f"IP:{MANAGEMENT}", days=30)
    client = signed(tmp_path, "prometheus", ca, sans="DNS:prometheus")
    config = tmp_path / "web.yml"
    config.write_text(
        "tls_server_config: {cert_file: node.crt, key_file: node.key, client_ca_file: ca.crt,"
        " client_auth_type: RequireAndVerifyClientCert}\n"
    )
    exporter = Exporter("--web.config.file", str(config), cluster=str(cluster))
    try:
        assert "https://" in exporter.first_line
        stranger = ssl.create_default_context(cafile=ca.cert)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            inside(A, lambda: request("/metrics", stranger))
        known = ssl.create_default_context(cafile=ca.cert)
        known.load_cert_chain(client.cert, client.key)
        status, _, body = inside(A, lambda: request("/metrics", known))
        assert status == 200
        [expiry] = [
            float(line.split()[1])
            for line in body.decode().splitlines()
            if line.startswith("smolmon_web_certificate_expiry_timestamp_seconds ")
        ]
        assert abs(expiry - time.time() - 30 * 86400) < 60
    finally:
        exporter.stop()

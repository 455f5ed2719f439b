"""A real exporter on loopback, its own certificate, and the command as people call it."""

import json
import re
import subprocess
import sys
import time
from socket import create_server

import pytest

from smolmon.cluster import load
from smolmon.setup.trust.store import identities
from tests.alerts.scenarios import ROOT

WEB = """
tls_server_config:
  cert_file: node.crt
  key_file: node.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
"""


@pytest.fixture
def cluster_file(tmp_path):
    """The guide's cluster, all of whose nodes are on this machine: mini1 is 127.0.0.11, ..."""
    with create_server(("127.0.0.11", 0)) as server:
        port = server.getsockname()[1]
    text = (ROOT / "examples" / "guide.yaml").read_text()
    text = re.sub(r"management: 192\.168\.1\.(\d+)", r"management: 127.0.0.\1", text)
    # The declared ports of the cluster are not on this machine, whatever it is.
    text = text.replace("platform: macos", "platform: linux")
    path = tmp_path / "cluster.yaml"
    path.write_text(f"{text}\nexporter: {{port: {port}}}\n")
    return path


@pytest.fixture
def exporter(cluster_file, tmp_path):
    """That of mini1."""
    cluster = load(cluster_file)
    its = identities(cluster, [cluster.node("mini1")])["mini1"]
    for name, content in (
        ("node.crt", its.certificate),
        ("node.key", its.key),
        ("ca.crt", its.authority),
        ("web.yml", WEB.encode()),
    ):
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-m", "smolmon", "exporter", "--node", "mini1"]
    options = ["--cluster", cluster_file, "--web.config.file", tmp_path / "web.yml"]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
    yield process
    process.terminate()
    process.wait(10)
    log.close()


def doctor(cluster_file, *options):
    command = [sys.executable, "-m", "smolmon", "doctor", "--cluster", cluster_file, *options]
    nowhere = ["--prometheus", "http://127.0.0.1:1"]
    return subprocess.run([*command, *nowhere], capture_output=True, text=True, check=False)


def test_without_prometheus_the_exporters_are_asked(cluster_file, exporter):
    end = time.monotonic() + 20
    while True:
        done = doctor(cluster_file, "--json")
        assert done.returncode == 1, done.stderr
        report = json.loads(done.stdout)
        found = {(f["alert"], f["node"]) for f in report["findings"]}
        if ("SmolmonInterfaceMissing", "mini1") in found:
            break
        assert exporter.poll() is None
        assert time.monotonic() < end, report["nodes"]
        time.sleep(0.1)
    # Nobody listens at the other addresses, but the machine is there.
    assert {node for alert, node in found if alert == "SmolmonExporterDown"} == {
        "mini2",
        "mini3",
        "pi4",
        "pi5",
        "jetson",
    }
    by_node = {node["node"]: node for node in report["nodes"]}
    assert by_node["mini1"]["up"]
    assert "refuses the connection" in by_node["pi4"]["error"]
    assert report["source"] == "exporters"
    assert not report["healthy"]

    text = doctor(cluster_file)
    assert "mini1 has no interface" in text.stdout
    assert "\x1b" not in text.stdout

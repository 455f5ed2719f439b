"""The clients: recorded answers, answers that make no sense, and exporters over mutual TLS."""

import json
import shutil
import socket
import time
from datetime import datetime, timedelta, timezone

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from smolmon.alerts.render import targets
from smolmon.cluster import derive, load
from smolmon.commands.credentials import credentials_of
from smolmon.exporter import web
from smolmon.exporter.tls import Watch
from smolmon.observe import alertmanager, fetch
from smolmon.observe.exporters import Credentials, Why, scrape, tls
from smolmon.observe.prometheus import Prometheus, unix
from smolmon.observe.sample import ObserveError, one_line, select
from smolmon.setup.trust.store import identities, monitor_identity
from tests.alerts.scenarios import GUIDE, NESTED, ROOT
from tests.exporter.certificates import authority, signed
from tests.exporter.serving import serving
from tests.observe.serving import answering, recorded

NODES = {node.name for node in GUIDE.nodes}


def test_what_prometheus_recorded():
    with recorded("forwarding") as url:
        there = Prometheus(url)
        alerts = {(a.name, a.labels.get("node")): a for a in there.alerts()}
        cause = alerts["SmolmonForwardingDisabled", "mini3"]
        assert cause.state == "firing"
        assert cause.annotations["fix"] == "ssh mini3 sudo sysctl -w net.ipv4.ip_forward=1"
        assert time.gmtime(cause.since)[:6] == (2026, 11, 23, 21, 34, 2)
        assert {t.labels["node"] for t in there.targets() if t.up and not t.error} == NODES
        names = {rule.name for rule in there.rules()}
        assert {"Watchdog", "SmolmonNodeDown"} <= names
        explained = there.query("smolmon:explained_probe:info")
        assert {s.labels["node"] for s in explained} == {"pi4", "jetson"}
        assert len(select(explained, "smolmon:explained_probe:info", hop="mini3")) == 2
        assert there.alertmanagers() == [url]
        held = alertmanager.alerts(url)
        muted = {h.labels["node"] for h in held if h.inhibited_by}
        assert muted == {"pi4", "jetson"}


def answer(text, status=200, kind="application/json"):
    return answering(lambda _: (status, kind, text.encode()))


@pytest.mark.parametrize(
    ("text", "status", "kind", "said"),
    [
        ("<html>", 200, "text/html", "not JSON"),
        ("[1]", 200, "application/json", "is not Prometheus"),
        ('{"status":"success","data":{"alerts":7}}', 200, "application/json", "not Prometheus'"),
        ('{"status":"success","data":{"alerts":[{}]}}', 200, "application/json", "not Prometheus'"),
        ('{"status":"success"}', 200, "application/json", "not Prometheus'"),
        ('{"status":"error","error":"no\\nsuch"}', 422, "application/json", "no such"),
        ("no", 404, "text/plain", "answers 404"),
        ("[" * 100_000, 200, "application/json", "not JSON"),
    ],
)
def test_other_answers_are_one_line(text, status, kind, said):
    with answer(text, status, kind) as url, pytest.raises(ObserveError) as caught:
        Prometheus(url).alerts()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "http://x:99999", "http://a b", "x", "http://[::1"]
)
def test_a_url_that_is_none(url):
    with pytest.raises(ObserveError, match="is not a URL such as"):
        Prometheus(url).alerts()


def test_nobody_there_and_somebody_silent():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(fetch.SilentError, match="does not answer within"):
            fetch.get(f"http://127.0.0.1:{port}/", 0.2)
    with pytest.raises(fetch.RefusedError, match="refuses the connection"):
        fetch.get(f"http://127.0.0.1:{port}/", 1)


def test_an_answer_drop_by_drop_is_cut_off(monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST", 10)
    with answer("x" * 11, kind="text/plain") as url, pytest.raises(ObserveError, match="more than"):
        fetch.get(url, 5)


@given(st.floats(0, 4e9), st.sampled_from(["Z", "+00:00"]), st.booleans())
def test_times(at, zone, short):
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(at)))
    text += zone if short else f".{round(at % 1 * 999999999):09}{zone}"
    assert unix(text) == pytest.approx(int(at) if short else at, abs=1e-3)


def test_times_of_go():
    assert unix("0001-01-01T00:00:00Z") == 0.0
    assert unix("2026-11-23T22:34:02.5+01:00") == unix("2026-11-23T21:34:02.5Z")
    with pytest.raises(ValueError, match="is not a time"):
        unix("yesterday")


@given(st.text())
def test_what_others_wrote_stays_on_one_line(text):
    assert one_line(text).isprintable()


@pytest.mark.parametrize("cluster", [GUIDE, NESTED, *map(load, (ROOT / "examples").glob("*.yaml"))])
def test_samples_carry_the_labels_that_prometheus_would_add(cluster):
    groups = json.loads(targets(cluster))
    assert [derive.labels(cluster, n.name) for n in cluster.nodes] == [g["labels"] for g in groups]


# --- exporters

MUTUAL = """
tls_server_config:
  cert_file: node.crt
  key_file: node.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    ca = authority(folder)
    signed(folder, "node", ca)
    signed(folder, "prometheus", ca, sans="DNS:prometheus")
    signed(folder, "stranger", authority(folder, "other"), sans="DNS:prometheus")
    (folder / "web.yml").write_text(MUTUAL)
    return folder


def files(folder, name="prometheus"):
    return Credentials(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")


def at(port):
    """The guide's cluster, all of whose nodes are this machine."""
    nodes = tuple(evolve(node, management="127.0.0.1") for node in GUIDE.nodes)
    return evolve(GUIDE, nodes=nodes, exporter_port=port)


def exporter(folder, text):
    async def page(_):
        return web.Response(text.encode())

    watch = Watch(folder / "web.yml")
    return serving({"/metrics": page}, lambda: watch.now().policy)


def test_exporters_are_asked_as_prometheus_asks_them(made):
    text = '# TYPE smolmon_ping_up gauge\nsmolmon_ping_up{probe="server"} 1\n'
    with exporter(made, text) as port:
        found = scrape(at(port), files(made))
        assert found.keys() == NODES
        for name, one in found.items():
            (sample,) = one.samples
            assert (one.why, sample.name, sample.value) == (None, "smolmon_ping_up", 1.0)
            assert sample.labels == {"probe": "server", **derive.labels(at(port), name)}
        assert scrape(at(port), files(made), ["pi4"]).keys() == {"pi4"}

        stranger = scrape(at(port), files(made, "stranger"), ["pi4"])["pi4"]
        assert stranger.why in (Why.CERTIFICATE, Why.ANSWER)  # by when the server says no
    refused = scrape(at(port), files(made), ["pi4"])["pi4"]
    assert (refused.why, refused.error) == (
        Why.REFUSED,
        f"127.0.0.1:{port} refuses the connection",
    )


def test_an_exporter_that_another_authority_vouches_for(made, tmp_path):
    for file in made.iterdir():
        shutil.copy(file, tmp_path)
    shutil.copy(made / "other.crt", tmp_path / "ca.crt")
    with exporter(made, "") as port:
        found = scrape(at(port), files(tmp_path), ["pi4"])["pi4"]
    assert found.why is Why.CERTIFICATE
    assert "its certificate is not accepted" in found.error


def test_an_exporter_whose_certificate_has_ended(tmp_path):
    cluster = at(0)
    long_ago = datetime.now(timezone.utc) - timedelta(days=3 * 365)
    its = identities(cluster, cluster.nodes[:1], at=long_ago)[cluster.nodes[0].name]
    monitor_identity(cluster)
    (tmp_path / "node.crt").write_bytes(its.certificate)
    (tmp_path / "node.key").write_bytes(its.key)
    (tmp_path / "ca.crt").write_bytes(its.authority)
    (tmp_path / "web.yml").write_text(MUTUAL)
    with exporter(tmp_path, "") as port:
        cluster = evolve(cluster, exporter_port=port)
        found = scrape(cluster, credentials_of(cluster), [cluster.nodes[0].name])
    (one,) = found.values()
    assert (one.why, one.error) == (
        Why.EXPIRED,
        f"127.0.0.1:{port}: its certificate is not accepted: certificate has expired",
    )


@pytest.mark.parametrize("text", ["<html>", "smolmon_x{a=b} 1\n", "smolmon_x one\n", "\xff"])
def test_an_answer_that_is_no_metrics(made, text):
    with exporter(made, text) as port:
        found = scrape(at(port), files(made), ["pi4"])["pi4"]
    assert (found.why, found.samples) == (Why.ANSWER, ())


def test_a_silent_exporter_does_not_hold_up_the_others(made):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = scrape(at(port), files(made), timeout=0.3)
    assert {one.why for one in found.values()} == {Why.TIMEOUT}


def test_credentials_that_cannot_be_used(made, tmp_path):
    with pytest.raises(ObserveError, match="No such file"):
        tls(files(tmp_path))
    with pytest.raises(ObserveError, match="no certificate with its key"):
        tls(Credentials(made / "node.crt", made / "prometheus.key", made / "ca.crt"))
    assert tls(files(made))

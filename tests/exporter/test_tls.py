"""Mutual TLS: who is let in, who is not, and how certificates are renewed."""

import http.client
import shutil
import socket
import ssl
import time
from datetime import datetime

import pytest

from smolmon.exporter import web
from smolmon.exporter.tls import TlsError, Watch, expiry, not_after
from smolmon.exporter.web_config import WebConfigError
from tests.exporter.certificates import KEY, Pair, authority, openssl, signed
from tests.exporter.serving import serving

MUTUAL = """
tls_server_config:
  cert_file: node.crt
  key_file: node.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
"""


async def page(request):
    return web.Response(b"metrics")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    ca = authority(folder)
    signed(folder, "node", ca)
    signed(folder, "prometheus", ca, sans="DNS:prometheus")
    signed(folder, "stranger", authority(folder, "other"), sans="DNS:prometheus")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def watch(folder, text=MUTUAL):
    path = folder / "web.yml"
    path.write_text(text)
    return Watch(path)


def serve(folder, text=MUTUAL):
    watching = watch(folder, text)
    return serving({"/metrics": page}, lambda: watching.now().policy)


def client(folder, name=None):
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    if name:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def ask(port, context):
    connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_who_shows_a_certificate_is_let_in(folder):
    with serve(folder) as port:
        assert ask(port, client(folder, "prometheus")) == (200, b"metrics")


# With TLS 1.3 the client learns of it only when it reads.
REFUSED = (ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (None, "peer did not return a certificate"),
        ("stranger", "certificate verify failed"),
    ],
)
def test_all_others_are_refused(folder, name, why, caplog):
    with serve(folder) as port:
        for _ in range(2):
            with pytest.raises(REFUSED):
                ask(port, client(folder, name))
        assert ask(port, client(folder, "prometheus"))[0] == 200
    assert caplog.messages == [f"refused 127.0.0.1: {why}"]


def test_nobody_is_let_in_without_tls(folder):
    with serve(folder) as port:
        connection = http.client.HTTPConnection("localhost", port, timeout=5)
        connection.request("GET", "/metrics")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            connection.getresponse()
        connection.close()


def test_only_the_names_that_are_allowed(folder, caplog):
    with serve(folder, MUTUAL + "  client_allowed_sans: [prometheus]\n") as port:
        assert ask(port, client(folder, "prometheus"))[0] == 200
        assert ask(port, client(folder, "node"))[0] == 403
    assert "client_allowed_sans" in caplog.text


def test_a_certificate_may_be_optional(folder):
    text = MUTUAL.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")
    with serve(folder, text) as port:
        assert ask(port, client(folder))[0] == 200
        with pytest.raises(REFUSED):
            ask(port, client(folder, "stranger"))


def test_versions(folder):
    old = client(folder, "prometheus")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serve(folder, MUTUAL + "  min_version: TLS13\n") as port, pytest.raises(REFUSED):
        ask(port, old)
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    with serve(folder, MUTUAL + f"  cipher_suites: [{suite}]\n") as port:
        connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=old)
        connection.connect()
        assert connection.sock.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        connection.close()


def test_many_requests_over_one_connection(folder):
    with serve(folder) as port:
        context = client(folder, "prometheus")
        connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
        connection.connect()
        sock = connection.sock
        for _ in range(3):
            connection.request("GET", "/metrics")
            assert connection.getresponse().read() == b"metrics"
        assert connection.sock is sock
        connection.close()


def test_a_silent_handshake_is_cut_off(folder, monkeypatch):
    monkeypatch.setattr(web, "HEAD_TIMEOUT", 0.2)
    with serve(folder) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        assert sock.recv(1) == b""


def shown(port, folder):
    """The certificate that the server shows."""
    context = client(folder, "prometheus")
    connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    connection.connect()
    found = connection.sock.getpeercert(binary_form=True)
    connection.close()
    return found


def test_a_new_certificate_is_used_without_a_restart(folder, caplog):
    with serve(folder) as port:
        before = shown(port, folder)
        ca = Pair(folder / "ca.crt", folder / "ca.key")
        new = signed(folder, "new", ca, days=20)
        # One file after the other, as an administrator would: between the two they do not match.
        new.cert.replace(folder / "node.crt")
        assert shown(port, folder) == before
        new.key.replace(folder / "node.key")
        assert shown(port, folder) != before
    [error] = [r.message for r in caplog.records if r.levelname == "ERROR"]
    assert error.endswith(f"{folder}/node.key: is not the key of {folder}/node.crt")


def test_a_bad_configuration_changes_nothing(folder):
    watching = watch(folder)
    good = watching.now()
    path = folder / "web.yml"
    path.write_text(MUTUAL + "  client_ca: x\n")
    assert watching.now() is good
    assert not watching.successful
    # One that names a file which comes only later.
    path.write_text(MUTUAL.replace("node.crt", "late.crt"))
    assert watching.now() is good
    shutil.copy(folder / "node.crt", folder / "late.crt")
    assert watching.now() is not good
    assert watching.successful


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "node.crt").unlink(), "node.crt: cannot be read: No such file"),
        (lambda f: (f / "node.key").write_text("x"), "node.key: holds no private key in PEM form"),
        (lambda f: (f / "node.crt").write_text("x"), "node.crt: holds no certificate in PEM form"),
        (lambda f: (f / "ca.crt").write_text("x"), "ca.crt: holds no usable certificate"),
        (lambda f: shutil.copy(f / "ca.key", f / "node.key"), "node.key: is not the key of"),
        (
            lambda f: openssl(
                *("ec", "-in", f / "ca.key", "-out", f / "node.key"),
                *("-aes128", "-passout", "pass:word"),
            ),
            "node.key: the key is encrypted",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(folder, spoil, said):
    spoil(folder)
    with pytest.raises(TlsError, match=said) as caught:
        watch(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_a_bad_file_is_told_at_the_start(folder):
    with pytest.raises(WebConfigError):
        watch(folder, "x: 1")


@pytest.mark.parametrize("days", [1, 3650, 36500])  # from 2050 on the time has another form
def test_expiry_is_what_openssl_says(tmp_path, days):
    ca = authority(tmp_path)
    pair = signed(tmp_path, "node", ca, days=days)
    said = openssl("x509", "-in", pair.cert, "-noout", "-enddate").strip()
    expected = datetime.strptime(said.replace("GMT", "+0000"), "notAfter=%b %d %H:%M:%S %Y %z")
    assert expiry(pair.cert) == expected.timestamp()
    assert abs(expiry(pair.cert) - time.time() - days * 86400) < 60


def test_the_first_of_a_chain_to_end_counts(tmp_path):
    ca = authority(tmp_path)
    long, short = signed(tmp_path, "a", ca, days=9), signed(tmp_path, "b", ca, days=2)
    chain = tmp_path / "chain.crt"
    chain.write_text(f"some text\n{long.cert.read_text()}\n{short.cert.read_text()}")
    assert expiry(chain) == expiry(short.cert)


def test_a_version_1_certificate(tmp_path):
    """It lacks the version field."""
    key, request, cert = (tmp_path / n for n in ("a.key", "a.csr", "a.crt"))
    openssl("req", *KEY, "-subj", "/CN=old", "-keyout", key, "-out", request)
    openssl("x509", "-req", "-in", request, "-signkey", key, "-days", 5, "-out", cert)
    assert abs(expiry(cert) - time.time() - 5 * 86400) < 60


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_half_a_certificate_is_an_error(made, cut):
    der = ssl.PEM_cert_to_DER_cert((made / "node.crt").read_text())
    with pytest.raises(ValueError, match="cut off"):
        not_after(der[:cut])

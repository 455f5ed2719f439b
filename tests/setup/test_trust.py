"""The authority on the controller: made once, kept safe, renewed in time, and believed by TLS."""

from __future__ import annotations

import http.client
import itertools
import os
import ssl
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smolmon.cluster import Cluster
from smolmon.exporter import web
from smolmon.exporter.tls import Watch
from smolmon.setup.bundle import Identity
from smolmon.setup.trust import TrustError, folder
from smolmon.setup.trust.folder import configuration
from smolmon.setup.trust.store import folder_of, identities, monitor_identity
from smolmon.setup.web import web_config
from tests.exporter.certificates import KEY, openssl
from tests.exporter.serving import serving
from tests.setup.material import guide

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAY = timedelta(days=1)
FILES = [
    *("authority.crt", "authority.key", "prometheus.crt", "prometheus.key"),
    *("nodes/pi5.crt", "nodes/pi5.key"),
]


def made() -> None:
    """Everything that is kept."""
    of()
    monitor_identity(guide())


def of(node: str = "pi5", cluster: Cluster | None = None, at: datetime | None = None) -> Identity:
    """What one node proves itself with."""
    cluster = cluster or guide()
    return identities(cluster, [cluster.node(node)], at=at)[node]


def here() -> Path:
    return folder_of(guide())


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def moved(cluster: Cluster, node: str, management: str) -> Cluster:
    """The cluster, after a node got another management address."""
    nodes = tuple(evolve(n, management=management) if n.name == node else n for n in cluster.nodes)
    return evolve(cluster, nodes=nodes)


def saved(path: Path, name: str, identity: Identity) -> tuple[Path, Path, Path]:
    """Certificate, key and authority as files."""
    files = path / f"{name}.crt", path / f"{name}.key", path / f"{name}-ca.crt"
    parts = identity.certificate, identity.key, identity.authority
    for file, content in zip(files, parts, strict=True):
        file.write_bytes(content)
    return files


# -- what is made -------------------------------------------------------------------------------


def test_a_second_run_changes_nothing():
    first = monitor_identity(guide()), identities(guide(), guide().nodes)
    before = contents(here())
    assert set(FILES) < set(before)
    assert (monitor_identity(guide()), identities(guide(), guide().nodes)) == first
    assert contents(here()) == before


def test_only_its_owner_can_look(monkeypatch):
    former = os.umask(0)
    try:
        made()
    finally:
        os.umask(former)
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (here(), *here().rglob("*"))}
    for path, mode in modes.items():
        expected = 0o700 if path.is_dir() else 0o644 if path.suffix == ".crt" else 0o600
        assert mode == expected, path


def test_openssl_believes_each_certificate_for_its_own_purpose_only(tmp_path):
    for name, identity, good, bad in (
        ("node", of(), "sslserver", "sslclient"),
        ("monitor", monitor_identity(guide()), "sslclient", "sslserver"),
    ):
        cert, _, ca = saved(tmp_path, name, identity)
        verify = ("openssl", "verify", "-x509_strict", "-CAfile", str(ca), "-purpose")
        assert subprocess.run([*verify, good, str(cert)], check=False).returncode == 0
        assert subprocess.run([*verify, bad, str(cert)], check=False).returncode != 0


def test_what_a_certificate_says(tmp_path):
    cert, _, ca = saved(tmp_path, "pi5", of(at=NOW))
    text = openssl("x509", "-in", cert, "-noout", "-text")
    assert "DNS:pi5" in text
    assert "IP Address:192.168.1.14" in text
    assert "ASN1 OID: prime256v1" in text
    decoded = ssl._ssl._test_decode_cert(str(cert))
    begins, ends = (ssl.cert_time_to_seconds(decoded[k]) for k in ("notBefore", "notAfter"))
    assert begins == (NOW - DAY).timestamp()
    assert ends == (NOW + 397 * DAY).timestamp()
    ends = ssl.cert_time_to_seconds(ssl._ssl._test_decode_cert(str(ca))["notAfter"])
    assert ends == (NOW + 3650 * DAY).timestamp()


def test_a_node_known_by_name(tmp_path):
    cert, _, _ = saved(tmp_path, "pi5", of(cluster=moved(guide(), "pi5", "pi5.local")))
    names = ssl._ssl._test_decode_cert(str(cert))["subjectAltName"]
    assert names == (("DNS", "pi5.local"), ("DNS", "pi5"))


def test_no_key_is_ever_shown():
    identity = of()
    assert "PRIVATE" not in f"{identity!r} {identity}"


# -- a real exchange ----------------------------------------------------------------------------


async def page(request):
    return web.Response(b"metrics")


def ask(port: int, trusted: Path, pair: tuple[Path, Path] | None) -> bytes:
    context = ssl.create_default_context(cafile=trusted)
    if pair:
        context.load_cert_chain(*pair)
    # The address that the certificate holds, whatever carries the packets here.
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()


REFUSED = (ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected)


def test_only_the_monitor_opens_an_exporter(tmp_path):
    cluster = moved(guide(), "pi5", "127.0.0.1")
    saved(tmp_path, "node", of(cluster=cluster))
    other = of("mini1")
    stranger = evolve(cluster, name="another")
    (tmp_path / "web.yml").write_bytes(web_config("node.crt", "node.key", "node-ca.crt"))
    watching = Watch(tmp_path / "web.yml")
    with serving({"/metrics": page}, lambda: watching.now().policy) as port:
        cert, key, ca = saved(tmp_path, "monitor", monitor_identity(cluster))
        assert ask(port, ca, (cert, key)) == b"metrics"
        for name, identity in (("other", other), ("stranger", monitor_identity(stranger))):
            pair = saved(tmp_path, name, identity)[:2]
            with pytest.raises(REFUSED):
                ask(port, ca, pair)
        with pytest.raises(REFUSED):
            ask(port, ca, None)
        # Nor does the monitor believe whoever has another node's certificate.
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, tmp_path / "stranger-ca.crt", (cert, key))
    assert watching.successful


def test_another_node_s_certificate_is_not_believed(tmp_path):
    saved(tmp_path, "node", of("mini1"))  # for 192.168.1.11, not for 127.0.0.1
    (tmp_path / "web.yml").write_bytes(web_config("node.crt", "node.key", "node-ca.crt"))
    watching = Watch(tmp_path / "web.yml")
    with serving({"/metrics": page}, lambda: watching.now().policy) as port:
        cert, key, ca = saved(tmp_path, "monitor", monitor_identity(guide()))
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            ask(port, ca, (cert, key))


# -- renewal ------------------------------------------------------------------------------------


def test_it_is_renewed_sixty_days_before_its_end_and_keeps_its_key():
    first = of(at=NOW)
    assert of(at=NOW + (397 - 60) * DAY - timedelta(seconds=1)) == first
    later = of(at=NOW + (397 - 60) * DAY)
    assert later.certificate != first.certificate
    assert (later.key, later.authority) == (first.key, first.authority)
    assert of(at=NOW + (397 - 60) * DAY) == later


def test_it_is_renewed_when_the_clock_was_wrong_as_it_was_made():
    ahead = of(at=NOW + 30 * DAY)
    now = of(at=NOW)
    assert now.certificate != ahead.certificate
    assert now.authority != ahead.authority


def test_it_is_renewed_for_another_address_and_for_no_other_node():
    before = identities(guide(), guide().nodes, at=NOW)
    cluster = moved(guide(), "pi5", "192.168.1.99")
    after = identities(cluster, cluster.nodes, at=NOW)
    assert [n for n in before if before[n] != after[n]] == ["pi5"]
    assert before["pi5"].key == after["pi5"].key


def test_it_is_renewed_for_another_authority():
    first, monitor = of(), monitor_identity(guide())
    for name in ("authority.crt", "authority.key"):
        (here() / name).unlink()
    second = of()
    assert second.authority != first.authority
    assert second.certificate != first.certificate
    assert second.key == first.key
    assert monitor_identity(guide()).certificate != monitor.certificate


def test_it_is_renewed_for_another_key():
    first = of()
    (here() / "nodes" / "pi5.key").unlink()
    second = of()
    assert second.key != first.key
    assert second.certificate != first.certificate


def test_an_old_authority_is_renewed_and_what_it_signed_stays_good(tmp_path):
    old = of(at=NOW).authority
    due = NOW + (3650 - 397 - 60) * DAY
    before = of(at=due - DAY)
    assert before.authority == old
    after = of(at=due)
    assert after.authority != old
    # Whoever has not heard of it yet is believed, and believes.
    for name, identity in (
        ("former", evolve(before, authority=after.authority)),
        ("newer", evolve(of(at=due + 400 * DAY), authority=after.authority)),
        ("later", evolve(of(at=due + 100 * DAY), authority=old)),
    ):
        cert, _, ca = saved(tmp_path, name, identity)
        at = {"former": due, "newer": due + 400 * DAY, "later": due + 100 * DAY}[name]
        seconds = int(at.timestamp()) + 60
        openssl("verify", "-x509_strict", "-attime", seconds, "-CAfile", ca, cert)


def test_when_the_monitor_s_certificate_is_good():
    """A node judges that by its own clock, so it must be known what that should say."""
    assert of(at=NOW).window == ((NOW - DAY).timestamp(), (NOW + (3650 - 60) * DAY).timestamp())
    monitor = monitor_identity(guide(), at=NOW + DAY)
    expected = (NOW.timestamp(), (NOW + (398 - 60) * DAY).timestamp())
    assert of(at=NOW + DAY).window == expected
    # Where it is in use, only `render` can renew it; setup tells that it is time.
    later = NOW + 390 * DAY
    assert of(at=later).window == expected
    assert (here() / "prometheus.crt").read_bytes() == monitor.certificate
    assert monitor_identity(guide(), at=later).certificate != monitor.certificate
    assert of(at=later).window == (
        (later - DAY).timestamp(),
        (later + (397 - 60) * DAY).timestamp(),
    )


# -- what can be wrong --------------------------------------------------------------------------


def refused(call=of) -> str:
    with pytest.raises(TrustError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_what_cannot_be_read_is_one_line_with_the_remedy(name, content):
    made()
    (here() / name).write_bytes(content)
    before = contents(here())
    text = refused(lambda: monitor_identity(guide())) if "prometheus" in name else refused()
    assert text.startswith(f"{here() / name}: holds no usable ")
    assert "begin anew: rm -r" in text if "authority" in name else "remove it" in text
    assert contents(here()) == before


def test_a_key_that_others_can_read_is_refused():
    of()
    key = here() / "authority.key"
    key.chmod(0o640)
    assert refused() == (
        f"{key}: others have access to it (mode 640); if nobody else has used it: chmod 600 '{key}'"
    )
    key.chmod(0o600)
    here().chmod(0o755)
    assert refused().endswith(f"chmod 700 '{here()}'")


def test_a_key_with_a_password_and_one_of_another_kind(tmp_path):
    of()
    key = here() / "nodes" / "pi5.key"
    openssl("ec", "-in", key, "-out", tmp_path / "a", "-aes128", "-passout", "pass:word")
    openssl("genrsa", "-out", tmp_path / "b", "2048")
    for name in ("a", "b"):
        key.write_bytes((tmp_path / name).read_bytes())
        assert refused().startswith(f"{key}: holds no usable private key (EC, PEM, without")


def test_an_authority_without_its_key_is_not_replaced_by_itself():
    of()
    (here() / "authority.key").unlink()
    assert refused().startswith(f"{here() / 'authority.key'}: is not there, its certificate is; ")


def test_a_file_that_is_a_folder_and_a_folder_that_is_a_file():
    here().parent.mkdir(parents=True, exist_ok=True)
    here().write_text("")
    assert "set SMOLMON_CONFIG" in refused()
    here().unlink()
    here().mkdir(mode=0o700)
    (here() / "authority.crt").mkdir()
    assert "Is a directory" in refused()


def test_another_command_at_work(monkeypatch):
    monkeypatch.setattr(folder, "PATIENCE", 0.05)
    with folder.locked(here()):
        assert "another smolmon has been at work on it" in refused()
    of()


MADE = """
from pathlib import Path
import sys
from smolmon.cluster import load
from smolmon.setup.trust.store import identities, monitor_identity
cluster = load(Path(sys.argv[1]))
known = identities(cluster, cluster.nodes)
print(sorted((n, i.certificate, i.key) for n, i in known.items()), monitor_identity(cluster).key)
"""


def test_many_commands_at_once_make_one_authority():
    cluster = Path(__file__).parents[2] / "examples" / "guide.yaml"
    command = [sys.executable, "-c", MADE, str(cluster)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    answers = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert len(set(answers)) == 1
    assert answers[0]


@pytest.mark.parametrize(
    "left", [c for n in range(len(FILES)) for c in itertools.combinations(FILES, n)]
)
def test_whatever_was_lost_is_made_again_but_for_the_authority_s_key(left, tmp_path):
    """Also what a command leaves that is killed: it writes one whole file after the other."""
    made()
    for name in set(FILES) - set(left):
        (here() / name).unlink()
    if "authority.crt" in left and "authority.key" not in left:
        refused()
        return
    for name, identity in (("node", of()), ("monitor", monitor_identity(guide()))):
        cert, key, ca = saved(tmp_path, name, identity)
        openssl("verify", "-x509_strict", "-CAfile", ca, cert)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)  # they match


@given(st.sampled_from(FILES), st.binary(max_size=300), st.integers(0, 700), st.booleans())
@example("authority.crt", b"w", 45, False)  # a certificate of a version that there is not
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_is_one_line_or_none(name, spoil, position, cut):
    made()
    file = here() / name
    before = file.read_bytes()
    file.write_bytes(before[:position] + spoil + (b"" if cut else before[position + len(spoil) :]))
    try:
        made()
    except TrustError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(here()) in str(error)  # noqa: PT017
    finally:
        file.write_bytes(before)
        made()


# -- an authority of one's own ------------------------------------------------------------------


def bring(tmp_path: Path, *more: str, key: tuple[str, ...] = KEY) -> None:
    """Put an authority made by openssl where smolmon looks for it."""
    here().mkdir(parents=True, mode=0o700)
    certificate, private = here() / "authority.crt", here() / "authority.key"
    openssl(
        *("req", "-x509", *key, "-subj", "/O=Home/CN=our own", "-keyout", private),
        *("-out", certificate, "-addext", "keyUsage=critical,keyCertSign,cRLSign", *more),
    )
    private.chmod(0o600)


def test_it_signs_with_an_authority_of_one_s_own_and_never_renews_it(tmp_path):
    bring(tmp_path, "-days", "100")
    before = (here() / "authority.crt").read_bytes()
    identity = of()
    assert identity.authority == before
    cert, _, ca = saved(tmp_path, "node", identity)
    openssl("verify", "-CAfile", ca, cert)
    assert of() == identity
    text = refused(lambda: of(at=NOW + 101 * DAY))
    assert text.startswith(f"{here() / 'authority.crt'}: ended on ")
    assert (here() / "authority.crt").read_bytes() == before


def test_what_is_no_root_authority_is_refused(tmp_path):
    of()
    node, key = (here() / "nodes" / n for n in ("pi5.crt", "pi5.key"))
    (here() / "authority.crt").write_bytes(node.read_bytes())
    assert "is not the certificate of the key beside it" in refused()
    (here() / "authority.key").write_bytes(key.read_bytes())
    assert "is not the certificate of a root authority" in refused()


# -- where it is kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"HOME": "/home/me"}, "linux", "/home/me/.config/smolmon"),
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": "/x"}, "linux", "/x/smolmon"),
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": "x"}, "linux", "/home/me/.config/smolmon"),
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": ""}, "linux", "/home/me/.config/smolmon"),
        (
            {"HOME": "/Users/me", "XDG_CONFIG_HOME": "/x"},
            "darwin",
            "/Users/me/Library/Application Support/smolmon",
        ),
        ({"HOME": "/home/me", "SMOLMON_CONFIG": "/c"}, "linux", "/c"),
        ({"HOME": "/Users/me", "SMOLMON_CONFIG": "/c"}, "darwin", "/c"),
    ],
)
def test_where_it_is_kept(environment, platform, expected):
    assert configuration(environment, platform) == Path(expected)

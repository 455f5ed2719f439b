"""The web configuration: what is understood, and one line for all that is not."""

import ssl
from pathlib import Path

import pytest

from smolmon.exporter.web_config import Tls, WebConfig, WebConfigError, load

TLS = "tls_server_config: {cert_file: a.crt, key_file: keys/a.key"
CA = f"{TLS}, client_ca_file: /etc/ca.crt, client_auth_type: RequireAndVerifyClientCert"


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "web.yml"
        path.write_text(text)
        return load(path)

    return read


def test_an_empty_file_asks_for_nothing(read):
    assert read("") == WebConfig()
    assert read("tls_server_config:\nhttp_server_config:\n") == WebConfig()


def test_paths_are_relative_to_the_file(read, tmp_path):
    assert read(TLS + "}").tls == Tls(tmp_path / "a.crt", tmp_path / "keys/a.key")
    tls = read(CA + "}").tls
    assert tls.client_ca_file == Path("/etc/ca.crt")
    assert tls.client_auth is ssl.CERT_REQUIRED
    assert tls.files == (tmp_path / "a.crt", tmp_path / "keys/a.key", Path("/etc/ca.crt"))


def test_everything(read):
    config = read(
        CA + ", client_allowed_sans: [prometheus, 2001:DB8::1], min_version: TLS13,"
        " max_version: TLS13, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
        " TLS_AES_128_GCM_SHA256]}\n"
        "http_server_config: {http2: false, headers: {X-Frame-Options: deny}}\n"
    )
    assert config.tls.client_allowed_sans == {"prometheus", "2001:db8::1"}
    assert config.tls.min_version is config.tls.max_version is ssl.TLSVersion.TLSv1_3
    assert config.tls.ciphers == ("ECDHE-RSA-AES128-GCM-SHA256",)
    assert config.headers == {"X-Frame-Options": "deny"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tls_sever_config: {}", "1: tls_sever_config: .* did you mean `tls_server_config`"),
        (TLS + ", cert_fil: a}", "1: tls_server_config.cert_fil: .* did you mean `cert_file`"),
        ("basic_auth_users: {a: b}", "1: basic_auth_users: passwords are not supported: .*client"),
        ("rate_limit: {burst: 1}", "1: rate_limit: is not supported"),
        (TLS + ", curve_preferences: [X25519]}", "curve_preferences: is not supported"),
        ("tls_server_config: {cert_file: a}", "tls_server_config: needs `key_file`"),
        ("tls_server_config: {key_file: a}", "tls_server_config: needs `cert_file`"),
        (TLS + ", client_auth_type: VerifyClientCertIfGiven}", "needs `client_ca_file`"),
        (TLS + ", client_ca_file: ca}", "client_ca_file: needs `client_auth_type: RequireAnd"),
        (TLS + ", client_auth_type: RequireAnyClientCert}", "trusts anybody's certificate"),
        (TLS + ", client_auth_type: RequireAndVerify}", "mean `RequireAndVerifyClientCert`"),
        (CA + ", client_allowed_sans: []}", "client_allowed_sans: allows nobody"),
        (TLS + ", min_version: TLS10}", "min_version: 'TLS10' is broken; it is TLS12 or TLS13"),
        (TLS + ", min_version: TLS13, max_version: TLS12}", "max_version: is lower than"),
        (TLS + ", cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}", r"cipher_suites\[0\]: .* weak"),
        ("http_server_config: {http2: true}", "http2: HTTP/2 is not spoken"),
        ("http_server_config: {headers: {X-Frame-Option: a}}", "did you mean `X-Frame-Options`"),
        ('http_server_config: {headers: {X-Frame-Options: "a\\nb"}}', "must be one line of ASCII"),
        ("tls_server_config: [a]", "must be a mapping, not a list"),
        ("a: {", "1: not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(read, text, said):
    with pytest.raises(WebConfigError, match=said) as caught:
        read(text)
    [line] = str(caught.value).splitlines()
    assert "web.yml:1: " in line


def test_a_missing_file(tmp_path):
    with pytest.raises(WebConfigError, match=r"web.yml: cannot be read: No such file"):
        load(tmp_path / "web.yml")

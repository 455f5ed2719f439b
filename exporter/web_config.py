"""The file of `--web.config.file`: TLS and headers, in the format of Prometheus' exporter-toolkit.

github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What smolmon cannot
do is refused by name: a key that is silently passed over would be a false sense of security.
"""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path

from attrs import field, frozen

from smolmon.cluster.places import Place, Problem, YamlError, read

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
# Go's names of the suites for TLS 1.2 that are still sound, and OpenSSL's.
CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
# Those of TLS 1.3 cannot be chosen, in Go neither: all are sound, and on.
CIPHERS_13 = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
# Known to the toolkit, not to smolmon: why not, and what to do.
REFUSED = {
    "basic_auth_users": "passwords are not supported: they need bcrypt, which Python lacks; remove "
    "this, and let clients show certificates (client_auth_type: RequireAndVerifyClientCert)",
    "rate_limit": "is not supported; remove it, and see --web.max-requests",
    "tls_server_config.cert": "is not supported; put it into a file, and name that in cert_file",
    "tls_server_config.key": "is not supported; put it into a file, and name that in key_file",
    "tls_server_config.client_ca": "is not supported; name a file in client_ca_file",
    "tls_server_config.curve_preferences": "is not supported; remove it",
    "tls_server_config.prefer_server_cipher_suites": "is not supported; remove it",
}


class WebConfigError(ValueError):
    """The file cannot be used. One line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: p.line))
        super().__init__("\n".join(map(str, self.problems)))


@frozen
class Tls:
    """Section `tls_server_config`. `client_ca_file` is set wherever certificates are verified."""

    cert_file: Path
    key_file: Path
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    client_ca_file: Path | None = None
    client_allowed_sans: frozenset[str] = frozenset()
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: tuple[str, ...] = ()  # OpenSSL's names; none: the library's choice

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read from disk."""
        found = (self.cert_file, self.key_file, self.client_ca_file)
        return tuple(path for path in found if path)


@frozen
class WebConfig:
    """The whole file. `tls` is None for plain HTTP."""

    tls: Tls | None = None
    headers: Mapping[str, str] = field(factory=dict)


def load(path: Path) -> WebConfig:
    """Read the file at `path`; the files that it names are not read. Raises WebConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        why = f"cannot be read: {error.strerror or error}"
        raise WebConfigError([Problem(str(path), 0, "", why)]) from error
    except UnicodeDecodeError as error:
        raise WebConfigError([Problem(str(path), 0, "", "is not UTF-8 text")]) from error
    try:
        top = read(text, str(path))
    except YamlError as error:
        raise WebConfigError([error.problem]) from error
    reader = _Reader(path)
    config = reader.config(top)
    if reader.problems:
        raise WebConfigError(reader.problems)
    return config


class _Reader:
    """Walks the places, and keeps the problems."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def wrong(self, place: Place, message: str) -> None:
        self.problems.append(Problem(str(self.path), place.line, place.key, message))

    def config(self, top: Place) -> WebConfig:
        if top.value is None:
            return WebConfig()  # as in the toolkit: an empty file asks for nothing
        keys = self.mapping(top, ("tls_server_config", "http_server_config"))
        tls, http = keys.get("tls_server_config"), keys.get("http_server_config")
        return WebConfig(
            self.tls(tls) if tls and tls.value is not None else None,
            self.headers(http) if http and http.value is not None else {},
        )

    def tls(self, place: Place) -> Tls | None:
        keys = self.mapping(
            place,
            (
                "cert_file",
                "key_file",
                "client_auth_type",
                "client_ca_file",
                "client_allowed_sans",
                "min_version",
                "max_version",
                "cipher_suites",
            ),
        )
        if not isinstance(place.value, dict):
            return None
        for name in ("cert_file", "key_file"):
            if name not in keys:
                self.wrong(place, f"needs `{name}`")
        cert, key = self.file(keys.get("cert_file")), self.file(keys.get("key_file"))
        ca = self.file(keys.get("client_ca_file"))
        auth = self.client_auth(keys.get("client_auth_type"))
        sans = self.names(keys.get("client_allowed_sans"))
        if ca is None and auth is not ssl.CERT_NONE:
            self.wrong(keys["client_auth_type"], "needs `client_ca_file`, to verify them with")
        if auth is ssl.CERT_NONE:
            for name in ("client_ca_file", "client_allowed_sans"):
                if name in keys and "client_auth_type" not in keys:
                    self.wrong(keys[name], "needs `client_auth_type: RequireAndVerifyClientCert`")
        lowest = self.version(keys.get("min_version"), "TLS12")
        highest = self.version(keys.get("max_version"), "TLS13")
        if lowest > highest:
            self.wrong(keys["max_version"], "is lower than min_version")
        ciphers = self.ciphers(keys.get("cipher_suites"))
        if cert is None or key is None:
            return None
        return Tls(cert, key, auth, ca, sans, lowest, highest, ciphers)

    def headers(self, place: Place) -> dict[str, str]:
        keys = self.mapping(place, ("headers", "http2"))
        http2 = keys.get("http2")
        if http2 and http2.value != "false":
            self.wrong(http2, "HTTP/2 is not spoken here; remove this, or write false")
        inner = keys.get("headers")
        if inner is None or inner.value is None:
            return {}
        found = {}
        for name, value in self.mapping(inner, HEADERS).items():
            text = self.text(value)
            if text is not None and not (text.isascii() and text.isprintable()):
                self.wrong(value, "must be one line of ASCII")
            elif text is not None:
                found[name] = text
        return found

    def mapping(self, place: Place, known: tuple[str, ...]) -> dict[str, Place]:
        """The entries of a mapping that are known; all others are problems."""
        if not isinstance(place.value, dict):
            self.wrong(place, f"must be a mapping, not {place.shape}")
            return {}
        for name, entry in place.value.items():
            if name in known:
                continue
            if entry.key in REFUSED:
                self.wrong(entry, REFUSED[entry.key])
            else:
                self.wrong(entry, f"is not known; {_nearest(name, known)}")
        return {name: entry for name, entry in place.value.items() if name in known}

    def text(self, place: Place | None) -> str | None:
        if place is None:
            return None
        if not isinstance(place.value, str) or not place.value:
            self.wrong(place, f"must be text, not {place.shape}")
            return None
        return place.value

    def texts(self, place: Place | None) -> list[tuple[Place, str]]:
        if place is None or place.value is None:
            return []
        if not isinstance(place.value, list):
            self.wrong(place, f"must be a list, not {place.shape}")
            return []
        return [(item, text) for item in place.value if (text := self.text(item)) is not None]

    def file(self, place: Place | None) -> Path | None:
        text = self.text(place)
        return self.path.parent / text if text is not None else None

    def names(self, place: Place | None) -> frozenset[str]:
        found = set()
        for _, text in self.texts(place):
            try:
                found.add(str(ip_address(text)))
            except ValueError:
                found.add(text)
        if place is not None and not found:
            self.wrong(place, "allows nobody; name somebody, or remove it")
        return frozenset(found)

    def client_auth(self, place: Place | None) -> ssl.VerifyMode:
        text = self.text(place)
        if place is None or text is None:
            return ssl.CERT_NONE
        if text in ("RequestClientCert", "RequireAnyClientCert"):
            self.wrong(place, f"{text} trusts anybody's certificate; RequireAndVerifyClientCert")
        elif text not in CLIENT_AUTH:
            self.wrong(place, f"{text!r} is not known; {_nearest(text, CLIENT_AUTH)}")
        return CLIENT_AUTH.get(text, ssl.CERT_NONE)

    def version(self, place: Place | None, default: str) -> ssl.TLSVersion:
        text = self.text(place)
        if place is not None and text is not None and text not in VERSIONS:
            old = "is broken" if text in ("TLS10", "TLS11") else "is not known"
            self.wrong(place, f"{text!r} {old}; it is TLS12 or TLS13")
        return VERSIONS.get(text or default, VERSIONS[default])

    def ciphers(self, place: Place | None) -> tuple[str, ...]:
        found = []
        for item, text in self.texts(place):
            if text in CIPHERS:
                found.append(CIPHERS[text])
            elif text not in CIPHERS_13:
                near = _nearest(text, (*CIPHERS, *CIPHERS_13))
                self.wrong(item, f"{text!r} is not known, or weak; {near}")
        return tuple(found)


def _nearest(name: str, known: Iterable[str]) -> str:
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"it is one of {', '.join(known)}"

"""TLS as the web configuration wants it, renewed as its files change."""

from __future__ import annotations

import logging
import ssl
from datetime import datetime, timezone
from pathlib import Path

from attrs import frozen

from smolmon.exporter import web_config
from smolmon.exporter.declaration import Version, version
from smolmon.exporter.web import Policy
from smolmon.exporter.web_config import Tls, WebConfig, WebConfigError

log = logging.getLogger(__name__)

PEM_BEGIN, PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

# Tags of DER (ITU-T X.690).
SEQUENCE, UTC_TIME, GENERALIZED_TIME, CONTEXT_0 = 0x30, 0x17, 0x18, 0xA0


class TlsError(Exception):
    """A certificate, key or authority cannot be used. One line."""


@frozen
class Receiving:
    """A web configuration put into effect. `expiry` is that of the certificate, in Unix time."""

    config: WebConfig
    policy: Policy
    expiry: float | None = None


class Watch:
    """The web configuration, as its files are on disk.

    A version of them that cannot be used changes nothing: the last that could stays in effect.
    Raises WebConfigError and TlsError if the first is such a one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: tuple[Path, ...] = ()  # that the newest version names, usable or not
        self._now = self._read()
        self.successful = True

    def now(self) -> Receiving:
        """What is in effect; reads again what has changed. Costs a stat(2) for each file."""
        if self._versions() == self._seen:
            return self._now
        try:
            self._now = self._read()
        except (WebConfigError, TlsError) as error:
            self.successful = False
            log.error("web configuration stays as it was: %s", "; ".join(str(error).splitlines()))
        else:
            self.successful = True
            log.info("web configuration read again: %s", self._path)
        return self._now

    def _read(self) -> Receiving:
        # Looked at before they are read: what changes in between is read once more.
        self._seen = self._versions()
        config = web_config.load(self._path)
        if config.tls is None:
            self._files = ()
            return Receiving(config, Policy(headers=config.headers))
        self._files = config.tls.files
        self._seen = self._versions()
        allowed = config.tls.client_allowed_sans
        policy = Policy(context(config.tls), allowed, config.headers)
        return Receiving(config, policy, expiry(config.tls.cert_file))

    def _versions(self) -> tuple[Version, ...]:
        return tuple(version(path) for path in (self._path, *self._files))


def context(tls: Tls) -> ssl.SSLContext:
    """The server's side of TLS. Raises TlsError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = tls.min_version, tls.max_version
    made.set_alpn_protocols(["http/1.1"])
    try:
        if tls.ciphers:
            made.set_ciphers(":".join(tls.ciphers))
        # Without `password` an encrypted key would make OpenSSL ask on the terminal.
        made.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    except _EncryptedKeyError as error:
        raise TlsError(
            f"{tls.key_file}: the key is encrypted; use one without a password"
        ) from error
    except (OSError, ValueError) as error:
        raise TlsError(f"{_blame(tls, error)}") from error
    made.verify_mode = tls.client_auth
    if tls.client_ca_file is not None:
        try:
            made.load_verify_locations(tls.client_ca_file)
        except (OSError, ValueError) as error:
            raise TlsError(f"{tls.client_ca_file}: {_why(error, 'certificate')}") from error
    return made


class _EncryptedKeyError(Exception):
    """Asked for a password."""


def _no_password() -> str:
    raise _EncryptedKeyError


def _blame(tls: Tls, error: Exception) -> str:
    """Which of certificate and key it is, and why; OpenSSL does not say."""
    for path, what in ((tls.cert_file, "CERTIFICATE"), (tls.key_file, "PRIVATE KEY")):
        try:
            text = path.read_text(encoding="latin-1")
        except OSError as unreadable:
            return f"{path}: {_why(unreadable, what.lower())}"
        if f"{what}-----" not in text:
            return f"{path}: holds no {what.lower()} in PEM form"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"{tls.key_file}: is not the key of {tls.cert_file}"
    return f"{tls.cert_file}, {tls.key_file}: {_why(error, 'certificate')}"


def _why(error: Exception, what: str) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").lower().replace("_", " ")
        return f"holds no usable {what} in PEM form" + (f" ({reason})" if reason else "")
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return str(error)


def expiry(path: Path) -> float:
    """When the first certificate of the chain in a PEM file to end ends, in Unix time.

    Raises TlsError.
    """
    try:
        text = path.read_text(encoding="latin-1")
        return min(not_after(der) for der in _certificates(text))
    except OSError as error:
        raise TlsError(f"{path}: {_why(error, 'certificate')}") from error
    except ValueError as error:
        raise TlsError(f"{path}: holds no certificate that can be read") from error


def _certificates(pem: str) -> list[bytes]:
    parts = pem.split(PEM_BEGIN)[1:]
    return [
        ssl.PEM_cert_to_DER_cert(f"{PEM_BEGIN}{part.partition(PEM_END)[0]}{PEM_END}\n")
        for part in parts
    ]


def not_after(der: bytes) -> float:
    """The end of a certificate's validity (RFC 5280, section 4.1), in Unix time.

    The ssl module reads it only from the other side's certificate. Raises ValueError.
    """
    certificate = _contents(der, 0, SEQUENCE)
    signed = _contents(certificate, 0, SEQUENCE)
    # version (optional), serialNumber, signature, issuer; then validity: notBefore, notAfter.
    position = _end(signed, 0) if signed[:1] == bytes([CONTEXT_0]) else 0
    for _ in range(3):
        position = _end(signed, position)
    validity = _contents(signed, position, SEQUENCE)
    position = _end(validity, 0)
    tag = validity[position] if position < len(validity) else 0
    text = _contents(validity, position, tag).decode("ascii")
    if tag == UTC_TIME:  # two digits of the year; 50 and above are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _contents(data: bytes, position: int, tag: int) -> bytes:
    """The contents of the element at `position`."""
    start, end = _span(data, position)
    if data[position] != tag:
        raise ValueError("not that element")
    return data[start:end]


def _end(data: bytes, position: int) -> int:
    return _span(data, position)[1]


def _span(data: bytes, position: int) -> tuple[int, int]:
    """Where the contents of the element at `position` begin and end."""
    if position + 2 > len(data):
        raise ValueError("cut off")
    length, start = data[position + 1], position + 2
    if length >= 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    if start + length > len(data):
        raise ValueError("cut off")
    return start, start + length

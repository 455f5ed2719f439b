"""Keys and X.509 certificates (RFC 5280) in PEM form: made, and judged. Nothing is read or written.

Elliptic curve P-256 throughout: every TLS library has it, and a Raspberry Pi signs with it in no
time. The only module that imports `cryptography`, which the controller has and no node.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from enum import Enum
from ipaddress import ip_address

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A Raspberry Pi has no clock that runs while it is off: until it has heard from a time server it
# lives in the past.
BACKDATED = timedelta(days=1)
AUTHORITY_DAYS = timedelta(days=3650)
# With the day before, 398 in all: the most that TLS libraries put up with.
DAYS = timedelta(days=397)
RENEW = timedelta(days=60)  # before the end


class Usage(Enum):
    """What a certificate may be shown for. None does for both: no node opens another's exporter."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


class UnusableError(ValueError):
    """A key or a certificate that cannot be read. Says what it is not."""


@frozen
class Holder:
    """Whom a certificate is for: its common name, all its names, and what it is shown for."""

    name: str
    names: tuple[str, ...]  # host names and addresses
    usage: Usage


def new_key() -> bytes:
    """A private key, PKCS #8 without a password."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def authority(key: bytes, name: str, now: datetime) -> bytes:
    """The certificate of an authority that signs itself. Raises UnusableError."""
    mine = _key(key)
    subject = _named(name)
    builder = (
        _builder(subject, subject, mine, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
    )
    return _signed(builder, mine)


def certificate(holder: Holder, key: bytes, ca: bytes, ca_key: bytes, now: datetime) -> bytes:
    """A certificate for the owner of `key`, signed by an authority. Raises UnusableError."""
    issuer, signer = _certificate(ca), _key(ca_key)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        _builder(_named(holder.name), issuer.subject, _key(key), now, DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([holder.usage.value]), critical=False)
        .add_extension(_names(holder), critical=False)
        .add_extension(identifier, critical=False)
    )
    return _signed(builder, signer)


def outdated(holder: Holder, pem: bytes, key: bytes, ca: bytes, now: datetime) -> bool:
    """Whether `holder` needs another certificate than this one. Raises UnusableError."""
    found, issuer = _certificate(pem), _certificate(ca)
    try:
        found.verify_directly_issued_by(issuer)
        extensions = found.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return True  # of another authority, or not made by us
    return (
        found.public_key() != _key(key).public_key()
        or names != _names(holder)
        or usage != x509.ExtendedKeyUsage([holder.usage.value])
        or not found.not_valid_before_utc <= now < found.not_valid_after_utc - RENEW
    )


def authority_outdated(pem: bytes, name: str, now: datetime) -> bool:
    """Whether our authority `name` ends before what it signs now would. Raises UnusableError.

    A new certificate for its old key will do then: what it has signed stays valid. One that
    somebody brought is not ours to renew.
    """
    found = _certificate(pem)
    if found.subject != _named(name):
        return False
    return not found.not_valid_before_utc <= now < found.not_valid_after_utc - DAYS - RENEW


def check_authority(pem: bytes, key: bytes, now: datetime) -> None:
    """Raises UnusableError where this cannot sign with that key what all ends will believe."""
    found = _certificate(pem)
    if found.public_key() != _key(key).public_key():
        raise UnusableError("is not the certificate of the key beside it")
    try:
        # An intermediate one would have to bring its chain along everywhere.
        found.verify_directly_issued_by(found)
        ca = found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        ca = False
    if not ca:
        raise UnusableError("is not the certificate of a root authority")
    if now >= found.not_valid_after_utc:
        raise UnusableError(f"ended on {found.not_valid_after_utc:%Y-%m-%d}")


def validity(pem: bytes) -> tuple[int, int]:
    """When a certificate begins and ends to be valid, in Unix time. Raises UnusableError."""
    found = _certificate(pem)
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return int(begins.timestamp()), int(ends.timestamp())


def now() -> datetime:
    """The present, to the second: certificates tell no more."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def check_key(key: bytes) -> None:
    """Raises UnusableError where this is no private key that we can sign with."""
    _key(key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lasts: timedelta,
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    """An authority signs certificates and their revocation, others nothing but TLS handshakes."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _names(holder: Holder) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_name(name) for name in dict.fromkeys(holder.names)])


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@contextlib.contextmanager
def _usable(what: str) -> Iterator[None]:
    try:
        yield
    # TypeError: it has a password
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise UnusableError(f"holds no usable {what}") from error


def _certificate(pem: bytes) -> x509.Certificate:
    with _usable("certificate in PEM form"):
        found = x509.load_pem_x509_certificate(pem)
        # The library reads these only when they are asked for.
        _ = found.public_key(), found.subject, found.issuer
        _ = found.not_valid_before_utc, found.not_valid_after_utc
        return found


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    with _usable("private key (EC, PEM, without a password)"):
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("another kind")
        return key

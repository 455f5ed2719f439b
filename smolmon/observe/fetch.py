"""Read one URL over HTTP, in bounded time and size."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from urllib.parse import SplitResult, urlsplit

from smolmon.observe.sample import ObserveError, one_line

# Prometheus' answer for a large cluster is a few MB; an exporter's, 100 KB.
LARGEST = 64 << 20
CHUNK = 1 << 16


class RefusedError(ObserveError):
    """Somebody is there, and accepts no connection."""


class SilentError(ObserveError):
    """No answer came in time."""


class DistrustedError(ObserveError):
    """One end does not accept the other's certificate, or does not speak TLS."""


class ExpiredError(DistrustedError):
    """The other end's certificate has ended."""


def get(url: str, timeout: float, context: ssl.SSLContext | None = None) -> bytes:
    """The body at `url`, whole within `timeout` seconds. Raises ObserveError.

    Goes there straight: what is watched is at home, where proxies are not.
    """
    end = time.monotonic() + timeout
    parts = parts_of(url)
    where = parts.netloc.rpartition("@")[2]
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = _connection(parts, timeout, context)
    try:
        connection.request("GET", path, headers={"Accept": "text/plain, application/json;q=0.9"})
        answer = connection.getresponse()
        body = _body(answer, end, where)
    except ConnectionRefusedError as error:
        raise RefusedError(f"{where} refuses the connection") from error
    except TimeoutError as error:
        raise SilentError(f"{where} does not answer within {timeout:g} s") from error
    except ssl.SSLError as error:
        distrust = ExpiredError if _expired(error) else DistrustedError
        raise distrust(f"{where}: {_tls(error)}") from error
    except ConnectionError as error:
        raise ObserveError(f"{where} breaks the connection: {one_line(_why(error))}") from error
    except OSError as error:  # no such name, no way there
        raise SilentError(f"{where}: {one_line(_why(error))}") from error
    except (http.client.HTTPException, ValueError) as error:
        kind = type(error).__name__
        raise ObserveError(f"{where} gives an answer that is not HTTP ({kind})") from error
    finally:
        connection.close()
    # Prometheus' API says in JSON what it did not understand.
    if answer.status != 200 and not answer.getheader("Content-Type", "").startswith(
        "application/json"
    ):
        raise ObserveError(f"{where} answers {answer.status} {one_line(answer.reason)}")
    return body


def get_json(url: str, timeout: float) -> object:
    """The JSON value at `url`. Raises ObserveError."""
    try:
        return json.loads(get(url, timeout))
    except (ValueError, RecursionError) as error:
        raise ObserveError(f"{url.partition('?')[0]} gives an answer that is not JSON") from error


def parts_of(url: str) -> SplitResult:
    """The parts of a URL that can be asked. Raises ObserveError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or not url.isascii() or " " in url:
        raise ObserveError(f"{one_line(url)!r} is not a URL such as http://127.0.0.1:9090")
    return parts


def _connection(
    parts: SplitResult, timeout: float, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=timeout)


def _body(answer: http.client.HTTPResponse, end: float, where: str) -> bytes:
    """All of it; a peer that sends it drop by drop does not hold us up."""
    chunks = []
    size = 0
    while chunk := answer.read1(CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST:
            raise ObserveError(f"{where} gives an answer of more than {LARGEST >> 20} MiB")
        if time.monotonic() > end:
            raise TimeoutError
    if answer.length:
        raise ObserveError(f"{where} breaks off in the middle of its answer")
    return b"".join(chunks)


def _expired(error: ssl.SSLError) -> bool:
    """OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED (x509_vfy.h)."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == 10


def _tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {one_line(error.verify_message)}"
    return f"no agreement on TLS: {one_line(error.reason or str(error))}"


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__

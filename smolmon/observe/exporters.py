"""Ask every node's exporter itself, over mutual TLS, as Prometheus does."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path

from attrs import frozen
from prometheus_client.parser import text_string_to_metric_families

from smolmon.cluster import Cluster, Node, derive
from smolmon.observe import fetch
from smolmon.observe.sample import ObserveError, Sample

TIMEOUT = 3.0  # seconds for one exporter; a scrape takes some 20 ms
AT_ONCE = 32


class Why(str, Enum):
    """Why a node's exporter said nothing."""

    TIMEOUT = "timeout"  # no answer, or no way there
    REFUSED = "refused"  # the machine is there, and nobody listens
    CERTIFICATE = "certificate"  # one end does not accept the other
    EXPIRED = "expired"  # its certificate has ended
    ANSWER = "answer"  # it answers, but not with metrics


@frozen
class Credentials:
    """Files in PEM: what we show to an exporter, and whom we believe."""

    certificate: Path
    key: Path
    authority: Path


@frozen
class Scrape:
    """What a node said; or `why` it did not, with that in one line in `error`."""

    node: str
    samples: tuple[Sample, ...] = ()
    why: Why | None = None
    error: str = ""


def scrape(
    cluster: Cluster,
    credentials: Credentials,
    nodes: Iterable[str] | None = None,
    timeout: float = TIMEOUT,
) -> dict[str, Scrape]:
    """What each node's exporter says now, by node; of all nodes unless `nodes` names some.

    The samples carry the labels that Prometheus would add. Raises ObserveError where the
    credentials cannot be used.
    """
    names = [node.name for node in cluster.nodes] if nodes is None else list(nodes)
    context = tls(credentials)
    with ThreadPoolExecutor(max_workers=max(1, min(AT_ONCE, len(names)))) as pool:
        found = pool.map(lambda name: _scrape(cluster, cluster.node(name), context, timeout), names)
        return {one.node: one for one in found}


def tls(credentials: Credentials) -> ssl.SSLContext:
    """As strict as Prometheus' configuration is. Raises ObserveError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for path in (credentials.authority, credentials.certificate, credentials.key):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ObserveError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        context.load_verify_locations(cafile=credentials.authority)
        context.load_cert_chain(credentials.certificate, credentials.key)
    except ssl.SSLError as error:
        folder = credentials.certificate.parent
        raise ObserveError(f"{folder}: no certificate with its key: {error.reason}") from error
    return context


def read(text: str, labels: Mapping[str, str], at: float) -> tuple[Sample, ...]:
    """The samples of an exposition, with `labels` added. Raises ValueError.

    Where the exposition has such a label itself, Prometheus would rename it; ours has none.
    """
    return tuple(
        Sample(sample.name, {**sample.labels, **labels}, float(sample.value), at)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )


_WHY = (
    (fetch.RefusedError, Why.REFUSED),
    (fetch.SilentError, Why.TIMEOUT),
    (fetch.ExpiredError, Why.EXPIRED),
    (fetch.DistrustedError, Why.CERTIFICATE),
)


def _scrape(cluster: Cluster, node: Node, context: ssl.SSLContext, timeout: float) -> Scrape:
    url = f"https://{node.management}:{cluster.exporter_port}/metrics"
    try:
        body = fetch.get(url, timeout, context)
        return Scrape(
            node.name, read(body.decode(), derive.labels(cluster, node.name), time.time())
        )
    except ObserveError as error:
        why = next((w for kind, w in _WHY if isinstance(error, kind)), Why.ANSWER)
        return Scrape(node.name, (), why, str(error))
    except (ValueError, KeyError) as error:
        line = f"{node.management}:{cluster.exporter_port} gives an answer that is no metrics"
        return Scrape(node.name, (), Why.ANSWER, f"{line} ({type(error).__name__})")

"""The authority of a cluster and what it has signed, as they are kept on the controller.

    DIRECTORY/CLUSTER/authority.crt     what nodes and Prometheus trust
                      authority.key     never leaves the controller
                      prometheus.crt, prometheus.key
                      nodes/NODE.crt, nodes/NODE.key

A key is made once and kept; certificates are made again when they have to be. So a second run
finds all as it was.

Importing this takes 0.1 s, so that it is done where it is needed only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from attrs import frozen

from smolmon.cluster import Cluster, Node
from smolmon.setup.bundle import Identity
from smolmon.setup.trust import TrustError, certificates
from smolmon.setup.trust.certificates import Holder, UnusableError, Usage
from smolmon.setup.trust.folder import PRIVATE, PUBLIC, configuration, locked, read, write

AGAIN = "remove it, and run this again: another one is made"
MONITOR = Holder("prometheus", ("prometheus",), Usage.CLIENT)


@frozen
class _Authority:
    folder: Path
    certificate: bytes
    key: bytes


def identities(
    cluster: Cluster, nodes: Iterable[Node], *, at: datetime | None = None
) -> Mapping[str, Identity]:
    """What each of `nodes` proves itself with, by name. Raises TrustError.

    The authority and their certificates are made, or renewed, where that is due; `at` is when that
    is judged, by default now. Prometheus' own is not touched: a copy of it is in use elsewhere,
    which only who made that can renew.
    """
    with _open(cluster, at) as (ours, when):
        window = _window(ours)
        return {
            node.name: _identity(ours, f"nodes/{node.name}", _node(node), when, window)
            for node in nodes
        }


def monitor_identity(cluster: Cluster, *, at: datetime | None = None) -> Identity:
    """What Prometheus shows to the exporters, made or renewed where due. Raises TrustError."""
    with _open(cluster, at) as (ours, when):
        return _identity(ours, MONITOR.name, MONITOR, when)


def _window(ours: _Authority) -> tuple[int, int]:
    """From when to when a node should let the monitor in without anybody doing anything."""
    file = ours.folder / f"{MONITOR.name}.crt"
    pem = read(file, PUBLIC)
    with _one_line(file, AGAIN):
        times = [certificates.validity(p) for p in (ours.certificate, pem) if p is not None]
    renew = int(certificates.RENEW.total_seconds())
    return max(begins for begins, _ in times), min(ends for _, ends in times) - renew


def folder_of(cluster: Cluster) -> Path:
    """Where all that is kept for this cluster."""
    return configuration(os.environ, sys.platform) / cluster.name


def _node(node: Node) -> Holder:
    return Holder(node.name, (node.management, node.name), Usage.SERVER)


@contextmanager
def _open(cluster: Cluster, at: datetime | None) -> Iterator[tuple[_Authority, datetime]]:
    folder, when = folder_of(cluster), at or certificates.now()
    with locked(folder):
        yield _authority(folder, f"smolmon {cluster.name}", when), when


def _authority(folder: Path, name: str, now: datetime) -> _Authority:
    anew = f"put it back from a backup, or begin anew: rm -r '{folder}', then setup and render"
    certificate_file, key_file = folder / "authority.crt", folder / "authority.key"
    pem, key = read(certificate_file, PUBLIC), read(key_file, PRIVATE)
    if key is None:
        if pem is not None:
            raise TrustError(f"{key_file}: is not there, its certificate is; {anew}")
        key = certificates.new_key()
        write(key_file, key, PRIVATE)
    with _one_line(key_file, anew):
        certificates.check_key(key)
    with _one_line(certificate_file, anew):
        if pem is None or certificates.authority_outdated(pem, name, now):
            pem = certificates.authority(key, name, now)
            write(certificate_file, pem, PUBLIC)
        certificates.check_authority(pem, key, now)
    return _Authority(folder, pem, key)


def _identity(
    ours: _Authority,
    name: str,
    holder: Holder,
    now: datetime,
    window: tuple[int, int] | None = None,
) -> Identity:
    certificate_file, key_file = ours.folder / f"{name}.crt", ours.folder / f"{name}.key"
    pem, key = read(certificate_file, PUBLIC), read(key_file, PRIVATE)
    if key is None:
        key, pem = certificates.new_key(), None
        write(key_file, key, PRIVATE)
    with _one_line(key_file, AGAIN):
        certificates.check_key(key)
    with _one_line(certificate_file, AGAIN):
        if pem is None or certificates.outdated(holder, pem, key, ours.certificate, now):
            pem = certificates.certificate(holder, key, ours.certificate, ours.key, now)
            write(certificate_file, pem, PUBLIC)
    return Identity(pem, key, ours.certificate, window)


@contextmanager
def _one_line(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except UnusableError as error:
        raise TrustError(f"{path}: {error}; {remedy}") from error

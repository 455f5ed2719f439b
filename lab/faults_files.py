"""Faults of the files that an exporter reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from smolmon.cluster import Cluster
from smolmon.lab.fault import Fault, Record, everybody, nobody, on_machine
from smolmon.lab.plan import CONTROLLER
from smolmon.setup.trust import certificates
from smolmon.setup.trust.certificates import Holder, Usage

CLUSTER_FILE = "/opt/smolmon/cluster.yaml"
CERTIFICATE, KEY = "/opt/smolmon/tls/node.crt", "/opt/smolmon/tls/node.key"
ENDS_IN = timedelta(seconds=12)  # a scrape each five


def _several(cluster: Cluster) -> tuple[str, ...]:
    return everybody(cluster) if len(cluster.nodes) > 1 else ()


def _text_of(file: str) -> Callable[[Cluster, str], Record]:
    return lambda _, node: on_machine(node, ["cat", file])


def _text_back(file: str) -> Callable[[Cluster, str, Record], None]:
    return lambda _, node, record: _write(node, file, record)


def _write(node: str, file: str, text: str) -> None:
    """As it is there: owner and mode stay."""
    on_machine(node, ["sh", "-c", 'printf %s "$1" >"$2"', "sh", text, file])


# -- the certificate ----------------------------------------------------------------------------


def _certificate_ends(cluster: Cluster, node: str, record: Record) -> None:
    """One from the cluster's own authority, that ends once it has been seen."""
    ours = f"/root/.config/smolmon/{cluster.name}"
    ca = on_machine(CONTROLLER, ["cat", f"{ours}/authority.crt"]).encode()
    ca_key = on_machine(CONTROLLER, ["cat", f"{ours}/authority.key"]).encode()
    key = on_machine(node, ["cat", KEY]).encode()
    holder = Holder(node, (cluster.node(node).management, node), Usage.SERVER)
    then = certificates.now() - certificates.DAYS + ENDS_IN
    _write(node, CERTIFICATE, certificates.certificate(holder, key, ca, ca_key, then).decode())


# -- the cluster file ---------------------------------------------------------------------------


def _nonsense(cluster: Cluster, node: str, record: Record) -> None:
    _write(node, CLUSTER_FILE, record + "\nnonsense: [\n")


def _another(cluster: Cluster, node: str, record: Record) -> None:
    _write(node, CLUSTER_FILE, record + "\n# edited here, and nowhere else\n")


FAULTS = (
    Fault(
        "certificate-expired",
        "the certificate of a node's exporter ends, after twelve seconds",
        "SmolmonCertificateExpiring",
        everybody,
        _text_of(CERTIFICATE),
        _certificate_ends,
        _text_back(CERTIFICATE),
    ),
    Fault(
        "config-invalid",
        "the cluster file on a node has an error",
        "SmolmonConfigInvalid",
        everybody,
        _text_of(CLUSTER_FILE),
        _nonsense,
        _text_back(CLUSTER_FILE),
    ),
    Fault(
        "files-differ",
        "the cluster file on a node is not that of the others",
        "SmolmonClusterFilesDiffer",
        _several,
        _text_of(CLUSTER_FILE),
        _another,
        _text_back(CLUSTER_FILE),
        nobody,
    ),
)

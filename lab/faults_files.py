"""Faults of the files that an exporter reads."""

from __future__ import annotations

from datetime import timedelta

from smolmon.cluster import Cluster
from smolmon.lab.fault import Fault, Record, on_machine
from smolmon.lab.plan import CONTROLLER
from smolmon.setup.trust import certificates
from smolmon.setup.trust.certificates import Holder, Usage

CLUSTER_FILE = "/opt/smolmon/cluster.yaml"
CERTIFICATE, KEY = "/opt/smolmon/tls/node.crt", "/opt/smolmon/tls/node.key"
ENDS_IN = timedelta(seconds=12)  # a scrape each five


def _everybody(cluster: Cluster) -> tuple[str, ...]:
    return tuple(n.name for n in reversed(cluster.nodes))


def _several(cluster: Cluster) -> tuple[str, ...]:
    return _everybody(cluster) if len(cluster.nodes) > 1 else ()


def _nobody(cluster: Cluster, node: str) -> str:
    return ""


def _write(node: str, file: str, text: str) -> None:
    """As it is there: owner and mode stay."""
    on_machine(node, ["sh", "-c", 'printf %s "$1" >"$2"', "sh", text, file])


# -- the certificate ----------------------------------------------------------------------------


def _certificate(cluster: Cluster, node: str) -> Record:
    return on_machine(node, ["cat", CERTIFICATE])


def _certificate_ends(cluster: Cluster, node: str, record: Record) -> None:
    """One from the cluster's own authority, that ends once it has been seen."""
    ours = f"/root/.config/smolmon/{cluster.name}"
    ca = on_machine(CONTROLLER, ["cat", f"{ours}/authority.crt"]).encode()
    ca_key = on_machine(CONTROLLER, ["cat", f"{ours}/authority.key"]).encode()
    key = on_machine(node, ["cat", KEY]).encode()
    holder = Holder(node, (cluster.node(node).management, node), Usage.SERVER)
    then = certificates.now() - certificates.DAYS + ENDS_IN
    _write(node, CERTIFICATE, certificates.certificate(holder, key, ca, ca_key, then).decode())


def _certificate_back(cluster: Cluster, node: str, record: Record) -> None:
    _write(node, CERTIFICATE, record)


# -- the cluster file ---------------------------------------------------------------------------


def _file(cluster: Cluster, node: str) -> Record:
    return on_machine(node, ["cat", CLUSTER_FILE])


def _nonsense(cluster: Cluster, node: str, record: Record) -> None:
    _write(node, CLUSTER_FILE, record + "\nnonsense: [\n")


def _another(cluster: Cluster, node: str, record: Record) -> None:
    _write(node, CLUSTER_FILE, record + "\n# edited here, and nowhere else\n")


def _file_back(cluster: Cluster, node: str, record: Record) -> None:
    _write(node, CLUSTER_FILE, record)


FAULTS = (
    Fault(
        "certificate-expired",
        "the certificate of a node's exporter ends, after twelve seconds",
        "SmolmonCertificateExpiring",
        _everybody,
        _certificate,
        _certificate_ends,
        _certificate_back,
    ),
    Fault(
        "config-invalid",
        "the cluster file on a node has an error",
        "SmolmonConfigInvalid",
        _everybody,
        _file,
        _nonsense,
        _file_back,
    ),
    Fault(
        "files-differ",
        "the cluster file on a node is not that of the others",
        "SmolmonClusterFilesDiffer",
        _several,
        _file,
        _another,
        _file_back,
        _nobody,
    ),
)

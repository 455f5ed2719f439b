"""The files with which this machine asks the exporters, as Prometheus does."""

from __future__ import annotations

from smolmon.cluster import Cluster
from smolmon.observe.exporters import Credentials


def credentials_of(cluster: Cluster) -> Credentials:
    """Prometheus' certificate and key, where `smolmon render` keeps them. Raises TrustError.

    A certificate that is there is left alone: the copy that Prometheus uses is renewed by `smolmon
    render` only, and setup must see which one that is. An authority is never made here: the nodes
    would not know it.
    """
    from smolmon.setup.trust import TrustError  # noqa: PLC0415 - all of this is slow
    from smolmon.setup.trust.store import MONITOR, folder_of, monitor_identity  # noqa: PLC0415

    folder = folder_of(cluster)
    files = Credentials(
        folder / f"{MONITOR.name}.crt", folder / f"{MONITOR.name}.key", folder / "authority.crt"
    )
    if not files.authority.exists():
        raise TrustError(
            f"{folder}: the certificates of {cluster.name} are not on this machine; run this where "
            "`smolmon setup` was run"
        )
    if not files.certificate.exists():
        monitor_identity(cluster)
    return files

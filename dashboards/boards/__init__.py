"""The boards, one file each."""

from __future__ import annotations

from smolmon.cluster import Cluster
from smolmon.dashboards.boards import gateways, home, link, meta, node, training
from smolmon.dashboards.mend import Json


def boards(cluster: Cluster | None = None) -> dict[str, Json]:
    """Every board, by the name of its file; with a cluster, Home shows its picture."""
    return {
        "home": home.board(cluster),
        "link": link.board(),
        "gateways": gateways.board(),
        "node": node.board(),
        "training": training.board(),
        "meta": meta.board(),
    }

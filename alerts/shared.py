"""What several clusters that share one monitor say of it: they agree, or say nothing."""

from __future__ import annotations

from collections.abc import Sequence

from smolmon.cluster import Cluster, Monitor
from smolmon.cluster.notify import Notify


def monitor_of(clusters: Sequence[Cluster]) -> Monitor:
    """Their section `monitor`."""
    said = {cluster.monitor for cluster in clusters} - {Monitor()}
    return next(iter(said), Monitor())


def notify_of(clusters: Sequence[Cluster]) -> Notify:
    """Their section `notify`."""
    said = {cluster.notify for cluster in clusters} - {Notify()}
    return next(iter(said), Notify())


def disagreement(clusters: Sequence[Cluster]) -> str | None:
    """Why these clusters cannot share a monitor, in one line; None if they can."""
    names = [cluster.name for cluster in clusters]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        return (
            f"{twice}: two cluster files have this name; series of theirs could not be told apart"
        )
    said = {
        "monitor": len({cluster.monitor for cluster in clusters} - {Monitor()}),
        "notify": len({cluster.notify for cluster in clusters} - {Notify()}),
    }
    for name, count in said.items():
        if count > 1:
            return (
                f"{', '.join(names)}: their `{name}` sections differ, and one Prometheus is one "
                "monitor; make them equal, or keep one"
            )
    return None

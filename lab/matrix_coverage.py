"""Which combinations of cluster, node and fault the trials cover, and which they do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from smolmon.cluster import Cluster
from smolmon.lab import faults
from smolmon.lab.pairs import doubles

HEAD = """\
## What has been run, and what has not

On each example: on how many of the nodes that faults can hit these were tried, one by one; which
faults were tried on none; and how many of the double faults were.

| cluster | nodes | waiting times | faults x nodes | on no node | two at once |
|---|---|---|---|---|---|"""
EMULATED = {"linux": "all Linux", "declared": "as declared"}
MANY = 8  # names in one cell


def coverage(rows: Sequence[dict[str, Any]], clusters: Iterable[Cluster]) -> str:
    """The section of the page that says it, for these clusters."""
    lines = [HEAD]
    for cluster in clusters:
        mine = [r for r in rows if r["cluster"] == cluster.name]
        kinds = sorted({(r["platforms"], r["speed"]) for r in mine})
        lines += [
            _line(cluster, EMULATED[platforms], _pace(speed), _same(mine, platforms, speed))
            for platforms, speed in kinds
        ]
        if not kinds:
            lines.append(_line(cluster, "", "", []))
    return "\n".join([*lines, ""])


def _same(rows: Sequence[dict[str, Any]], platforms: str, speed: float) -> list[dict[str, Any]]:
    return [r for r in rows if (r["platforms"], r["speed"]) == (platforms, speed)]


def _pace(speed: float) -> str:
    return "real" if speed == 1 else f"divided by {speed:g}"


def _line(cluster: Cluster, nodes: str, pace: str, rows: Sequence[dict[str, Any]]) -> str:
    able = faults.possible(cluster)
    tried = {(r["fault"], r["node"]) for r in rows}
    never = sorted({name for name, _ in able} - {name for name, _ in tried & able})
    pairs = {("+".join(n for n, _ in p), "+".join(m for _, m in p)) for p in doubles(cluster)}
    missing = "all" if not rows else ", ".join(never)
    if rows and len(never) > MANY:
        missing = f"{len(never)} faults"
    return (
        f"| {cluster.name} | {nodes} | {pace} | {len(tried & able)} of {len(able)} "
        f"| {missing} | {len(tried & pairs)} of {len(pairs)} |"
    )

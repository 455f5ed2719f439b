"""In which order the networks of nodes change: whoever is needed to reach others comes later. Pure.

Edge workers first, then gateways from the outside in, the server last. A node that other nodes' SSH
connections pass comes after them, and the machine that all is done from after everybody. Only what
carries something can be cut off, so a node whose links do not yet is among the first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from smolmon.cluster import Cluster, derive


def waves(
    cluster: Cluster,
    behind: Mapping[str, Collection[str]] | None = None,
    here: Collection[str] = (),
    idle: Collection[str] = (),
) -> tuple[tuple[str, ...], ...]:
    """The names of all nodes, wave by wave.

    `behind` names the nodes that the connection to a node passes; `here` is this machine.
    The links of `idle` nodes carry nothing yet, so they wait for nobody.
    """
    rank = {node.name: _rank(cluster, node.name) for node in cluster.nodes}
    for _ in cluster.nodes:  # as often as a chain of jump hosts can be long
        for name, passed in (behind or {}).items():
            for jump in passed:
                rank[jump] = max(rank[jump], rank[name] + 1)
    for name in here:
        rank[name] = max(rank.values()) + (len(rank) > 1)
    rank.update(dict.fromkeys(idle, 0))
    return tuple(
        tuple(name for name in rank if rank[name] == number)
        for number in sorted(set(rank.values()))
    )


def _rank(cluster: Cluster, node: str) -> int:
    deepest = max(_depth(cluster, segment.name) for segment in cluster.routed)
    role = derive.role(cluster, node)
    home = derive.home(cluster, node)
    if role == "server":
        return deepest + 2
    if role == "worker" or home is None:
        return 0
    return 1 + deepest - _depth(cluster, home.name)


def _depth(cluster: Cluster, segment: str) -> int:
    """How many gateways lie between `segment` and the one that the server serves."""
    tree, depth = derive.uplinks(cluster), 0
    while segment in tree:
        segment, depth = tree[segment].parent, depth + 1
    return depth

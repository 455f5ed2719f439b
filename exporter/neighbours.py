"""What the kernel knows of the hardware addresses of the nodes on the same segments."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen
from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster, Member, derive
from smolmon.exporter.interfaces import names
from smolmon.exporter.system import Neighbour, NeighbourState, System
from smolmon.exporter.vocabulary import Labels, metric


@frozen
class Wanted:
    """A neighbour that this node talks to, on the segment `link`."""

    link: str
    member: Member


def wanted(cluster: Cluster, node: str) -> tuple[Wanted, ...]:
    """Those that `node` pings over a common segment, and those that its routes go by."""
    addresses = {p.address for p in derive.probes(cluster, node)}
    addresses |= {r.via for r in derive.routes(cluster, node)}
    return tuple(
        Wanted(segment.name, member)
        for segment in cluster.segments_of(node)
        for member in segment.members
        if member.node != node and member.address in addresses
    )


class NeighbourWatch:
    """Looks at the declared neighbours, and counts the changes of their hardware addresses.

    Belongs to the thread of its `system`.
    """

    def __init__(self, cluster: Cluster, node: str, system: System) -> None:
        self._cluster = cluster
        self._node = node
        self._system = system
        self._wanted = wanted(cluster, node)
        self._mac: dict[Wanted, str] = {}
        self._changes = dict.fromkeys(self._wanted, 0)

    def look(self) -> dict[Wanted, Neighbour | None]:
        """Look now; None for those that the kernel has not heard of. Raises OSError."""
        if not self._wanted:
            return {}
        table = {(n.address, n.device): n for n in self._system.neighbours()}
        # The same address may stand in the table for another interface, long out of use.
        here = names(self._cluster, self._node, self._system)
        found = {w: table.get((w.member.address, here[w.link])) for w in self._wanted}
        for w, neighbour in found.items():
            if neighbour and neighbour.mac:
                self._changes[w] += self._mac.get(w, neighbour.mac) != neighbour.mac
                self._mac[w] = neighbour.mac
        return found

    def take_over(self, other: NeighbourWatch) -> None:
        """Go on counting where `other` left off."""
        self._mac.update((w, mac) for w, mac in other._mac.items() if w in self._changes)
        self._changes.update((w, n) for w, n in other._changes.items() if w in self._changes)

    def collect(self) -> Iterator[Metric]:
        """What is seen now, and what was since the start. Raises OSError."""
        seen = self.look()
        rows = [(_labels(w), n.state if n else NeighbourState.NONE) for w, n in seen.items()]
        yield metric(
            "smolmon_neighbor_state",
            [
                ({**labels, "state": state.value}, state is found)
                for labels, found in rows
                for state in NeighbourState
            ],
        )
        known = [(w, n.mac) for w, n in seen.items() if n and n.mac]
        yield metric(
            "smolmon_neighbor_mac_info",
            [({**_labels(w), "address": str(w.member.address), "mac": mac}, 1) for w, mac in known],
        )
        yield metric(
            "smolmon_neighbor_mac_as_declared",
            [(_labels(w), mac == w.member.mac) for w, mac in known if w.member.mac],
        )
        yield metric(
            "smolmon_neighbor_mac_changes_total",
            [(_labels(w), n) for w, n in self._changes.items()],
        )


def _labels(w: Wanted) -> Labels:
    return {"target": w.member.node, "link": w.link}

"""The Thunderbolt cables between machines, from what each says of its own end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from attrs import frozen

from smolmon.macos.thunderbolt import Bus


@frozen
class End:
    """A machine and the number of its socket, if that is known."""

    node: str
    receptacle: str | None


@frozen
class Cable:
    """A cable between two of the machines; `a` is the one that comes first in the reports."""

    a: End
    b: End


@frozen
class Cabling:
    """What is plugged in where. `unknown` are ends at machines that sent no report."""

    cables: tuple[Cable, ...]
    unknown: tuple[End, ...]


def cabling(reports: Mapping[str, Sequence[Bus]]) -> Cabling:
    """The cables, from the buses of each node by its name.

    A bus names the domain UUID of its peer's end, which is the peer's own (seen, on both ends of
    one cable): a cable is told by the two UUIDs, and counted once although both ends report it.
    """
    owners = {
        bus.domain: End(node, bus.receptacle)
        for node, buses in reports.items()
        for bus in buses
        if bus.domain is not None
    }
    cables: dict[frozenset[str], Cable] = {}
    unknown: list[End] = []
    for node, buses in reports.items():
        for bus in buses:
            here = End(node, bus.receptacle)
            for peer in bus.peers:
                there = owners.get(peer.domain)
                if there is None:
                    unknown.append(here)
                else:
                    # Without a UUID of its own, the other end's tells the cable.
                    ends = frozenset({bus.domain or peer.domain, peer.domain})
                    cables.setdefault(ends, Cable(here, there))
    # A machine that could not name its own domain is seen from the other end as unknown as well.
    named = {cable.a for cable in cables.values()} | {cable.b for cable in cables.values()}
    return Cabling(tuple(cables.values()), tuple(end for end in unknown if end not in named))


def rings(cables: Sequence[Cable]) -> tuple[tuple[str, ...], ...]:
    """The closed ways among the machines, one for each cable too many, each as the nodes on it.

    Under a Thunderbolt bridge every ring is a broadcast storm: macOS has no spanning tree (source:
    BRIDGESTP stands in no kernel configuration of xnu). Two cables between the same two machines
    are a ring of two, a cable from a machine to itself one of one.
    """
    neighbours: dict[str, list[str]] = {}
    found: list[tuple[str, ...]] = []
    for cable in cables:
        a, b = cable.a.node, cable.b.node
        way = _way(neighbours, a, b)
        if way is not None:
            found.append(way)
            continue
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    return tuple(found)


def _way(neighbours: Mapping[str, Sequence[str]], start: str, end: str) -> tuple[str, ...] | None:
    """The way from `start` to `end` in a forest."""
    before: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if node == end:
            way: list[str] = []
            step: str | None = end
            while step is not None:
                way.append(step)
                step = before[step]
            return tuple(reversed(way))
        for neighbour in neighbours.get(node, ()):
            if neighbour not in before:
                before[neighbour] = node
                queue.append(neighbour)
    return None

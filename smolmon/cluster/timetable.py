"""When each bandwidth test runs: from the cluster file and the wall clock alone.

Every link, and every node's path to the training server, is measured in both directions once in
each period. All nodes compute the same slots, so nobody has to be asked when (whether they may then
is another question: see `consent`). Two tests that share a segment or a node never overlap, as long
as the nodes' clocks agree to the guard time: a slot opens for listening at its start, but no client
sends before the guard has passed, and both ends stop at its end whatever happened. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from attrs import field, frozen

from smolmon.cluster import derive
from smolmon.cluster.model import Cabling, Cluster, Segment

# Seconds of a slot beyond guard and duration: for starting up, connecting, and for the results.
MARGIN = 3.0


@frozen
class Test:
    """Data from `source` to `target`, over `segments` in that order.

    `link` is the segment that they leave by, `target_link` the one that they arrive by. `expected`
    is the least good result, `baseline` the recorded one if there is one: bytes per second.

    `consent` is where the training server's node gives leave to a test that it takes no part in:
    nobody else sees all who train. None where it is one of the ends, and sees for itself.
    """

    __test__ = False  # not one for pytest

    source: str
    target: str
    segments: tuple[str, ...]
    source_address: IPv4Address
    target_address: IPv4Address
    expected: float = field(eq=False)
    baseline: float | None = field(default=None, eq=False)
    consent: IPv4Address | None = field(default=None, eq=False)

    @property
    def link(self) -> str:
        """The segment by which the data leave."""
        return self.segments[0]

    @property
    def target_link(self) -> str:
        """The segment by which they arrive."""
        return self.segments[-1]

    @property
    def name(self) -> str:
        """For people, and in the cluster file's baseline."""
        return f"{self.source}->{self.target}"

    def conflicts(self, other: Test) -> bool:
        """Whether the two would spoil each other's result, or one keep the other from leave.

        Where a test is received, its server listens, and nobody can be asked meanwhile.
        """
        return bool(
            {self.source, self.target} & {other.source, other.target}
            or set(self.segments) & set(other.segments)
            or self.consent == other.target_address
            or other.consent == self.target_address
        )


@frozen
class Slot:
    """A test and when it runs: all of it in `start` .. `end`, its data from `sending` on.

    Unix time in seconds, by the clock of whoever reads it.
    """

    test: Test
    start: float
    sending: float
    end: float


@frozen
class Timetable:
    """Which tests run in each period: `rounds` follow each other `spacing` seconds apart.

    The tests of a round have nothing in common. A slot lasts `window` seconds.
    """

    period: float
    guard: float
    window: float
    rounds: tuple[tuple[Test, ...], ...]

    @property
    def spacing(self) -> float:
        """Seconds from the start of a round to that of the next."""
        return self.period / len(self.rounds)

    def slots(self, since: float, until: float) -> Iterator[Slot]:
        """The slots that start in `since` <= start < `until`, in order of time."""
        if not self.rounds:
            return
        spacing, count = self.spacing, len(self.rounds)
        number = math.ceil(since / spacing) - 1  # one earlier: a float may be off by its last bit
        while (start := self._start(number)) < until:
            if start >= since:
                for test in self.rounds[number % count]:
                    yield Slot(test, start, start + self.guard, start + self.window)
            number += 1

    def at(self, now: float) -> Iterator[Slot]:
        """The slots that are open at `now`."""
        return (s for s in self.slots(now - self.window, now + 1e-6) if s.start <= now < s.end)

    def _start(self, number: int) -> float:
        # From whole periods, so that every node computes the same to the last bit.
        period, index = divmod(number, len(self.rounds))
        return period * self.period + index * self.spacing


@lru_cache(maxsize=16)
def declared_tests(cluster: Cluster) -> tuple[Test, ...]:
    """Every test there is: all one way, then all the other way round."""
    ahead = [*_links(cluster), *_paths(cluster)]
    back = [(b, a, segments[::-1], to, of) for a, b, segments, of, to in ahead]
    known = {(b.link, b.source, b.target): b.bandwidth for b in cluster.bandwidth.baseline}
    return tuple(
        Test(
            *(source, target, segments, of, to, _expected(cluster, segments, recorded)),
            baseline=recorded,
            consent=_consent(cluster, source, target),
        )
        for source, target, segments, of, to in (*ahead, *back)
        for recorded in [known.get((segments[0], source, target))]
    )


def parts(cluster: Cluster, test: Test) -> tuple[Test, ...]:
    """The tests of single links that explain a bad result of `test` if they are bad as well.

    For a path they are the links on its way. For a link in the second half of the timetable it is
    the same link the other way round: a bad cable mostly is bad both ways, and is one fault.
    """
    half = [*_links(cluster)]
    ahead = {(a, b, segments) for a, b, segments, _, _ in half}
    cables = ahead | {(b, a, segments) for a, b, segments in ahead}
    mine = (test.source, test.target, test.segments)
    if mine in ahead:
        return ()
    wanted = {(test.target, test.source, test.segments)} if mine in cables else set()
    if mine not in cables:
        wanted = {cable for cable in _on_the_way(cluster, test) if cable in cables}
    return tuple(t for t in declared_tests(cluster) if (t.source, t.target, t.segments) in wanted)


def _on_the_way(cluster: Cluster, test: Test) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The cables, as pairs of nodes and their segment, that the data pass."""
    here = test.source
    for segment, after in zip(test.segments, (*test.segments[1:], None), strict=True):
        there = test.target if after is None else _joint(cluster, segment, after)
        names = [member.node for member in cluster.segment(segment).members]
        if cluster.segment(segment).cabling is Cabling.CHAIN:
            start, stop = names.index(here), names.index(there)
            step = 1 if start < stop else -1
            way = [names[i] for i in range(start, stop + step, step)]
        else:  # by the switch: each end's own cable, which the test with the hub shows
            hub = derive.gateway_of(cluster, segment) or cluster.server.node
            way = [here, there] if hub in (here, there) else [here, hub, there]
        for a, b in itertools.pairwise(way):
            yield a, b, (segment,)
        here = there


def _joint(cluster: Cluster, segment: str, other: str) -> str:
    """The gateway between two segments that are next to each other in the tree."""
    tree = derive.uplinks(cluster)
    lower = segment if segment in tree and tree[segment].parent == other else other
    return tree[lower].gateway


def between(cluster: Cluster, source: str, target: str) -> Test:
    """The test from one node to another: one of the timetable's, or one that it has no slot for.

    Raises ValueError, with the reason, where there can be none.
    """
    for test in declared_tests(cluster):
        if (test.source, test.target) == (source, target):
            return test
    known = [node.name for node in cluster.nodes]
    for name in (source, target):
        if name not in known:
            raise ValueError(f"there is no node {name}; nodes are {', '.join(known)}")
    if source == target:
        raise ValueError(f"{source} is both ends; choose two nodes")
    # Where each of them has an address that the other one's packets find.
    for to in cluster.segments_of(target):
        if derive.reaches(cluster, source, to.name):
            way = derive.way(cluster, source, to.name)
            if derive.reaches(cluster, target, way[0]):
                own, theirs = cluster.address(source, way[0]), cluster.address(target, to.name)
                floor, asked = _expected(cluster, way, None), _consent(cluster, source, target)
                return Test(source, target, way, own, theirs, floor, consent=asked)
    raise ValueError(
        f"{source} and {target} are not meant to reach each other; choose nodes of the same "
        "segment, or one on the fabric"
    )


@lru_cache(maxsize=16)
def timetable(cluster: Cluster) -> Timetable:
    """The timetable of `cluster`; empty where tests are switched off."""
    settings = cluster.bandwidth
    window = _window(cluster)
    every = declared_tests(cluster) if settings.enabled else ()
    rounds: tuple[tuple[Test, ...], ...] = tuple((test,) for test in every)
    if len(rounds) * window > settings.period:
        rounds = _packed(every)
    return Timetable(settings.period, settings.guard, window, rounds)


def least_period(cluster: Cluster) -> float:
    """The shortest period that has room for every test, in seconds."""
    return math.ceil(len(_packed(declared_tests(cluster))) * _window(cluster))


def _window(cluster: Cluster) -> float:
    return cluster.bandwidth.guard + cluster.bandwidth.duration + MARGIN


def _packed(every: tuple[Test, ...]) -> tuple[tuple[Test, ...], ...]:
    """Few rounds of tests that may run at the same time: each goes into the first that takes it.

    Those that most others would have to wait for come first (Welsh and Powell's order).
    """
    crowd = {test: sum(test.conflicts(other) for other in every) for test in every}
    rounds: list[list[Test]] = []
    for test in sorted(every, key=lambda test: -crowd[test]):
        room = next((r for r in rounds if not any(test.conflicts(o) for o in r)), None)
        if room is None:
            rounds.append([test])
        else:
            room.append(test)
    return tuple(map(tuple, rounds))


_Pair = tuple[str, str, tuple[str, ...], IPv4Address, IPv4Address]


def _links(cluster: Cluster) -> Iterator[_Pair]:
    for segment in cluster.routed:
        for a, b in _cables(cluster, segment):
            addresses = (cluster.address(a, segment.name), cluster.address(b, segment.name))
            yield (a, b, (segment.name,), *addresses)


def _cables(cluster: Cluster, segment: Segment) -> Iterator[tuple[str, str]]:
    """The pairs of members to measure: neighbours on a chain; on a switch, each with its hub."""
    names = [member.node for member in segment.members]
    if segment.cabling is Cabling.CHAIN:
        yield from zip(names[1:], names[:-1], strict=True)
        return
    hub = derive.gateway_of(cluster, segment.name) or cluster.server.node
    yield from ((name, hub) for name in names if name != hub)


def _paths(cluster: Cluster) -> Iterator[_Pair]:
    """From every node to the server, but where that is one of the links."""
    server = cluster.server
    measured = {
        (segment.name, frozenset(pair))
        for segment in cluster.routed
        for pair in _cables(cluster, segment)
    }
    for node in cluster.nodes:
        home = derive.home(cluster, node.name)
        if node.name == server.node or home is None:
            continue
        crossed = _up_to(cluster, derive.way(cluster, node.name, server.segment))
        if len(crossed) == 1 and (crossed[0], frozenset((node.name, server.node))) in measured:
            continue
        own = cluster.address(node.name, crossed[0])
        yield node.name, server.node, crossed, own, cluster.server_address


def _up_to(cluster: Cluster, way: tuple[str, ...]) -> tuple[str, ...]:
    """`way` as far as the first segment that the server is on."""
    arrival = next(i for i, s in enumerate(way) if cluster.segment(s).member(cluster.server.node))
    return way[: arrival + 1]


def _consent(cluster: Cluster, source: str, target: str) -> IPv4Address | None:
    return None if cluster.server.node in (source, target) else cluster.server_address


def _expected(cluster: Cluster, segments: tuple[str, ...], recorded: float | None) -> float:
    settings = cluster.bandwidth
    if recorded is not None:
        return recorded * (1 - settings.tolerance)
    floor = min(cluster.segment(name).expect.bandwidth for name in segments)
    # Whoever caps the tests cannot see whether the link does more.
    return min(floor, settings.rate * (1 - settings.tolerance)) if settings.rate else floor

"""From what was seen to what is shown. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from attrs import evolve

from smolmon.cluster import Cabling, Cluster, Segment, derive
from smolmon.cluster.timetable import declared_tests
from smolmon.observe.sample import Sample
from smolmon.status import seen as see
from smolmon.status.model import Link, Node, Path, Picture, State, Tested
from smolmon.status.seen import Seen
from smolmon.status.verdict import Findings, conclude
from smolmon.status.words import ago

MOST_LOSS = 0.01  # as the boards have it
INTERNET = "internet"

_Samples = dict[tuple[str, str], list[Sample]]  # by name and node


def picture(cluster: Cluster, seen: Seen) -> Picture:
    """All that the screen shows of one look."""
    samples: _Samples = defaultdict(list)
    for sample in seen.samples:
        samples[sample.name, sample.labels.get("node", "")].append(sample)
    up = {node: rows[0].value == 1 for (name, node), rows in samples.items() if name == see.UP}
    paths = tuple(_path(cluster, samples, source, target) for source, target in _declared(cluster))
    cut_off = tuple(
        sorted(
            sample.labels["node"]
            for node in cluster.nodes
            for sample in samples["smolmon_ping_up", node.name]
            if sample.labels.get("probe") == "server" and sample.value == 0
        )
    )
    findings = conclude(cluster, seen, up, paths, cut_off)
    training = [
        row.value
        for node in cluster.nodes
        for row in samples["smolmon_training_connections", node.name]
    ]
    return Picture(
        cluster=cluster.name,
        source=seen.source,
        time=seen.time,
        verdict=findings.verdict,
        nodes=tuple(
            _node(
                *(cluster, seen, samples, node.name),
                up=up.get(node.name),
                findings=findings,
                cut_off=cut_off,
            )
            for node in cluster.nodes
        ),
        links=tuple(_links(cluster, samples)),
        paths=paths,
        troubles=findings.troubles,
        tested=_tested(cluster, samples),
        seen=sum(up.values()),
        training=int(sum(training)) if training else None,
        window=seen.window,
        loss_window=seen.loss_window,
        period=cluster.bandwidth.period,
        note=seen.note,
        address=seen.address,
    )


def uplinks(cluster: Cluster, segment: Segment) -> Iterator[tuple[str, str]]:
    """The links of a segment as (nearer to the server, farther): one for each node but the hub."""
    names = [member.node for member in segment.members]
    hub = derive.gateway_of(cluster, segment.name) or cluster.server.node
    if segment.cabling is not Cabling.CHAIN:
        yield from ((hub, name) for name in names if name != hub)
        return
    place = names.index(hub)
    yield from pairwise(names[place:])
    yield from pairwise(names[place::-1])


@lru_cache(maxsize=16)
def _declared(cluster: Cluster) -> dict[tuple[str, str], None]:
    """Who measures what towards whom, in the cluster file's order."""
    pinged = [
        (probe.node, probe.target)
        for node in cluster.nodes
        for probe in derive.probes(cluster, node.name)
    ]
    return dict.fromkeys([*pinged, *_tests(cluster)])


@lru_cache(maxsize=16)
def _tests(cluster: Cluster) -> frozenset[tuple[str, str]]:
    """Who receives from whom in a test: the receiver reports."""
    tests = declared_tests(cluster) if cluster.bandwidth.enabled else ()
    return frozenset((test.target, test.source) for test in tests)


@lru_cache(maxsize=16)
def _pings(cluster: Cluster) -> frozenset[tuple[str, str]]:
    return frozenset(
        (probe.node, probe.target)
        for node in cluster.nodes
        for probe in derive.probes(cluster, node.name)
    )


def _path(cluster: Cluster, samples: _Samples, source: str, target: str) -> Path:
    found = {
        name: [
            sample
            for sample in samples[name, source]
            if sample.labels.get("target") == target
            and sample.labels.get("direction", "receive") == "receive"
        ]
        for name in _METRICS
    }
    pair = (source, target)
    declared = Path(source, target, pinged=pair in _pings(cluster), tested=pair in _tests(cluster))
    return _measured(declared, found)


_METRICS = (
    "smolmon_ping_up",
    see.RTT,
    "smolmon_ping_rtt_threshold_seconds",
    see.LOSS,
    "smolmon_bandwidth_bytes_per_second",
    "smolmon_bandwidth_expected_bytes_per_second",
    "smolmon_bandwidth_last_success_timestamp_seconds",
)


def _measured(path: Path, found: Mapping[str, list[Sample]]) -> Path:
    """`path` with what the samples of each of _METRICS say."""
    ups, rtts, thresholds, losses, rates, expected, ended = (found[name] for name in _METRICS)
    rtt = max((s.value for s in rtts), default=None)
    # rate() extrapolates requests and replies apart: their difference may be a little below none.
    loss = max((min(max(s.value, 0.0), 1.0) for s in losses), default=None)
    slow = _beyond(rtts, thresholds, ("node", "probe", "link"))
    short = _beyond(expected, rates, ("node", "link"))
    rate = max((s.value for s in rates), default=None)
    return evolve(
        path,
        # One of several probes that fails is enough.
        answers=min(s.value for s in ups) == 1 if ups else None,
        rtt=rtt,
        rtt_state=State.UNKNOWN if rtt is None else State.DEGRADED if slow else State.OK,
        loss=loss,
        loss_state=_loss_state(loss),
        rate=rate,
        rate_state=State.UNKNOWN if rate is None else State.DEGRADED if short else State.OK,
        rate_time=max((s.value for s in ended), default=None),
    )


def _loss_state(loss: float | None) -> State:
    if loss is None:
        return State.UNKNOWN
    return State.BROKEN if loss >= 1 else State.DEGRADED if loss > MOST_LOSS else State.OK


def _beyond(larger: Sequence[Sample], smaller: Sequence[Sample], by: tuple[str, ...]) -> bool:
    """Whether a value of `larger` exceeds the one of `smaller` with the same labels."""
    limits = {tuple(s.labels.get(k) for k in by): s.value for s in smaller}
    return any(
        s.value > limit
        for s in larger
        if (limit := limits.get(tuple(s.labels.get(k) for k in by))) is not None
    )


def _links(cluster: Cluster, samples: _Samples) -> Iterator[Link]:
    for segment in cluster.routed:
        hub = derive.gateway_of(cluster, segment.name) or cluster.server.node
        for near, far in uplinks(cluster, segment):
            ends = _between(samples, segment.name, near, far)
            if not ends["smolmon_ping_up"] and near != hub:
                # On a chain of workers nobody pings the next one: then the way from the hub.
                ends = _between(samples, segment.name, hub, far)
            both = _measured(Path(far, near), ends)
            rates = [s.value for s in ends["smolmon_bandwidth_bytes_per_second"]]
            yield Link(
                near,
                far,
                segment.name,
                both.state if both.answers is not None else State.UNKNOWN,
                rtt=both.rtt if both.answers else None,
                loss=both.loss,
                rate=min(rates, default=None),
                rate_time=both.rate_time,
            )


def _between(samples: _Samples, segment: str, a: str, b: str) -> dict[str, list[Sample]]:
    """What the two say of each other over a segment."""
    found = {}
    for name in _METRICS:
        rows = [
            sample
            for node, other in ((a, b), (b, a))
            for sample in samples[name, node]
            if (sample.labels.get("target"), sample.labels.get("link")) == (other, segment)
            and sample.labels.get("direction", "receive") == "receive"
        ]
        # The way to the server may go farther than this link.
        direct = [s for s in rows if s.labels.get("probe") != "server"]
        found[name] = direct or rows
    return found


def _node(
    cluster: Cluster,
    seen: Seen,
    samples: _Samples,
    name: str,
    *,
    up: bool | None,
    findings: Findings,
    cut_off: Sequence[str],
) -> Node:
    role = derive.role(cluster, name)
    if up:
        state, words = findings.nodes.get(name, (State.OK, ""))
        if name in cut_off and state is not State.BROKEN:
            return Node(name, role, State.DEGRADED, "does not reach the server")
        return Node(name, role, state, words)
    heard = [
        sample.value
        for other in cluster.nodes
        for sample in samples["smolmon_ping_up", other.name]
        if sample.labels.get("target") == name and sample.labels.get("probe") != INTERNET
    ]
    last = [s.value for s in samples[see.ANSWERED, name]]
    when = f", seen {ago(seen.time - last[0])}" if last else ""
    if up is None and not heard:
        return Node(name, role, State.UNKNOWN, "not asked")
    if any(heard):
        return Node(name, role, State.DEGRADED, f"exporter silent{when}")
    if heard:
        return Node(name, role, State.BROKEN, f"does not answer{when}")
    return Node(name, role, State.UNKNOWN, f"not heard of{when}")


def _tested(cluster: Cluster, samples: _Samples) -> Tested | None:
    """The last test that gave a result."""
    found = []
    for node in cluster.nodes:
        rates = samples["smolmon_bandwidth_bytes_per_second", node.name]
        for sample in samples["smolmon_bandwidth_last_success_timestamp_seconds", node.name]:
            if sample.labels.get("direction") != "receive":
                continue
            rate = next((r.value for r in rates if r.labels == sample.labels), None)
            least = next(
                (
                    e.value
                    for e in samples["smolmon_bandwidth_expected_bytes_per_second", node.name]
                    if e.labels == sample.labels
                ),
                None,
            )
            if rate is not None:
                source = sample.labels.get("target", "?")
                found.append(Tested(source, node.name, rate, least, sample.value))
    return max(found, key=lambda test: test.time, default=None)

"""From the accounts of the tests to metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address

from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import timetable
from smolmon.exporter.bandwidth.job import Role
from smolmon.exporter.bandwidth.outcome import Aborted, Failed, Skipped
from smolmon.exporter.bandwidth.runner import Runner
from smolmon.exporter.system import NotAvailableError, System
from smolmon.exporter.vocabulary import metric

P = "smolmon_bandwidth_"


def results(runner: Runner, cluster: Cluster) -> Iterator[Metric]:
    """What is expected, what was measured, and what became of every slot. For the event loop."""
    accounts = runner.accounts
    rows = [(m.labels, m, accounts.of[m.key]) for m in runner.mine]
    known = [(labels, m, a.last) for labels, m, a in rows if a.last]
    yield metric(f"{P}bytes_per_second", [(ls, last.rate) for ls, _, last in known])
    yield metric(f"{P}expected_bytes_per_second", [(ls, m.test.expected) for ls, m, _ in rows])
    yield metric(
        f"{P}baseline_bytes_per_second",
        [(ls, m.test.baseline) for ls, m, _ in rows if m.test.baseline is not None],
    )
    yield metric(
        f"{P}part_info",
        [
            (
                {
                    **ls,
                    "part_source": part.source,
                    "part_target": part.target,
                    "part_link": part.link,
                },
                1,
            )
            for ls, m, _ in rows
            for part in runner.parts[m.test]
        ],
    )
    yield metric(
        f"{P}retransmits",
        [
            ({"target": m.peer, "link": m.link}, last.retransmits)
            for _, m, last in known
            if last.retransmits is not None
        ],
    )
    yield metric(
        f"{P}cpu_ratio",
        [
            ({**ls, "end": end}, value)
            for ls, _, last in known
            for end, value in (("local", last.cpu), ("remote", last.remote_cpu))
            if value is not None
        ],
    )
    yield metric(
        f"{P}last_success_timestamp_seconds",
        [(ls, a.time) for ls, _, a in rows if a.time is not None],
    )
    yield metric(
        f"{P}tests_total",
        [
            ({**ls, "result": result.value}, count)
            for ls, _, a in rows
            for result, count in a.results.items()
        ],
    )
    for name, kind in (("skipped", Skipped), ("aborted", Aborted), ("failed", Failed)):
        yield metric(
            f"{P}tests_{name}_total",
            [
                ({"reason": reason.value}, count)
                for reason, count in accounts.reasons.items()
                if isinstance(reason, kind)
            ],
        )
    yield metric(
        f"{P}test_bytes_total",
        [
            ({"direction": "transmit" if role is Role.SEND else "receive"}, count)
            for role, count in accounts.bytes.items()
        ],
    )
    yield metric(f"{P}spent_bytes", [({}, accounts.spent)])
    budget = cluster.bandwidth.daily_budget
    yield metric(f"{P}budget_bytes", [({}, budget)] if budget is not None else [])
    yield metric(f"{P}period_seconds", [({}, runner.timetable.period)] if runner.mine else [])
    yield metric(f"{P}available", [({}, runner.available)] if runner.available is not None else [])


def in_progress(
    cluster: Cluster, node: str, busy: str | None, now: float, system: System
) -> Iterator[Metric]:
    """On which of the node's segments a test may run at `now`. Raises OSError.

    Of its own tests the node knows; of those between others, the timetable, which does not tell
    whether they are skipped; and of those that somebody runs by hand, the socket table.
    """
    table = timetable(cluster)
    links = [s.name for s in cluster.segments_of(node)]
    slots = list(table.slots(now - table.period, now))
    # Other clocks may be ahead or behind by the guard time.
    asked = {slot.test.consent for slot in slots if slot.end + table.guard > now}
    current = {busy, *_by_hand(cluster, node, system, asked)}
    latest: dict[str, float] = {link: now for link in links if link in current}
    for slot in slots:
        over = slot.end + table.guard
        own = node in (slot.test.source, slot.test.target)
        for link in slot.test.segments:
            if over > now and not own:
                current.add(link)
            latest[link] = max(latest.get(link, 0.0), min(over, now))
    yield metric(f"{P}test_in_progress", [({"link": link}, link in current) for link in links])
    yield metric(
        f"{P}last_slot_timestamp_seconds",
        [({"link": link}, latest[link]) for link in links if link in latest],
    )


def _by_hand(
    cluster: Cluster, node: str, system: System, asked: Collection[IPv4Address | None]
) -> set[str]:
    """The links of tests that no slot accounts for. Who is `asked` for leave receives none."""
    port = cluster.bandwidth.port
    try:
        seen = system.tcp(port)
    except NotAvailableError:
        return set()
    ends = {
        address
        for c in seen.connections
        if (c.local_port == port and c.local not in asked)
        or (c.remote_port == port and c.remote not in asked)
        for address in (c.local, c.remote)
        if isinstance(address, IPv4Address)
    }
    mine = [(s.name, s.member(node)) for s in cluster.segments_of(node)]
    return {link for link, member in mine if member and member.address in ends}

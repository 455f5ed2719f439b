"""`smolmon exporter --once`: look at everything once, and compare it with what was declared.

The verdicts are drawn from the metrics alone, as the alert rules are: what a person reads here is
what the monitor sees.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

from attrs import frozen
from prometheus_client.metrics_core import Metric

from smolmon.exporter.declaration import Declaration
from smolmon.exporter.host import Host
from smolmon.exporter.observer import Observer
from smolmon.exporter.scrape import Scraper

PINGS = 5
INTERVAL = 0.2  # seconds from one ping of a target to the next
PATIENCE = 5.0  # seconds until what has not been found out yet counts as unknown
STEP = 0.05  # seconds from one look to the next
LOST = 2  # pings of PINGS: with one per cent of loss, as declared, once in a thousand times
# One per cent apart, so that a median read off them is as good as one of the values themselves.
FINE = tuple(1e-6 * 1.01**i for i in range(1400))


class Verdict(str, Enum):
    """How what was seen compares with what was declared."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"
    IDLE = "idle"  # nothing is wrong: no training is running


@frozen
class Row:
    """One expectation. `what` names the thing, within its `group`."""

    group: str
    what: str
    expected: str
    seen: str
    verdict: Verdict


@frozen
class Report:
    """All that was looked at."""

    cluster: str
    node: str
    rows: Sequence[Row]

    @property
    def as_expected(self) -> bool:
        """Whether all of it is as declared."""
        return all(row.verdict in (Verdict.OK, Verdict.IDLE) for row in self.rows)


def look(declared: Declaration, host: Host) -> Report:
    """Observe for a second or two."""
    return asyncio.run(_look(declared, host))


async def _look(declared: Declaration, host: Host) -> Report:
    loop = asyncio.get_running_loop()
    worker = ThreadPoolExecutor(1, thread_name_prefix="once")
    observer = Observer(declared, host, worker, extra_edges=FINE)
    observing = loop.create_task(observer.run(INTERVAL))
    try:
        deadline = loop.time() + PATIENCE
        while not (observer.rounds() >= PINGS or observing.done()) and loop.time() < deadline:
            await asyncio.wait((observing,), timeout=STEP)
        collectors = observer.collectors()
        metrics = await loop.run_in_executor(worker, Scraper().scrape, collectors)
        return Report(
            declared.cluster.name,
            declared.node,
            tuple(rows([*observer.constant, *metrics])),
        )
    finally:
        observing.cancel()
        await asyncio.gather(observing, return_exceptions=True)
        worker.submit(host.system.close)
        worker.shutdown()


Sample = tuple[Mapping[str, str], float]


class _Seen:
    """Samples by the name of their metric."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._samples: dict[str, list[Sample]] = {}
        for metric in metrics:
            for sample in metric.samples:
                name = sample.name.removeprefix("smolmon_")
                self._samples.setdefault(name, []).append((sample.labels, sample.value))

    def all(self, name: str, **labels: str) -> list[Sample]:
        """The samples of a metric that have these labels."""
        found = self._samples.get(name, [])
        return [(ls, v) for ls, v in found if labels.items() <= ls.items()]

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the one sample that has these labels; None if there is none."""
        return next((value for _, value in self.all(name, **labels)), None)


def rows(metrics: Sequence[Metric]) -> Iterator[Row]:
    """What the metrics expect, and what they show instead."""
    seen = _Seen(metrics)
    yield from _pings(seen)
    yield from _checks(seen)
    yield from _port(seen)
    yield from _routes(seen)
    yield from _paths(seen)
    yield from _forwarding(seen)
    yield from _interfaces(seen)
    for labels, value in seen.all("collector_success"):
        if not value:
            yield Row("collector", labels["collector"], "works", "failed", Verdict.UNKNOWN)


def _port(seen: _Seen) -> Iterator[Row]:
    """The training server's port. Nobody has to listen there while no training runs."""
    for labels, value in seen.all("tcp_connect_state"):
        if value:
            state = labels["state"]
            verdict = {"open": Verdict.OK, "refused": Verdict.IDLE}.get(state, Verdict.FAIL)
            text = "nobody listens" if verdict is Verdict.IDLE else state
            yield Row(
                "training", f"{labels['target']} port {labels['port']}", "open", text, verdict
            )
    for labels, _ in seen.all("listener_expected"):
        present = seen.value("listener_present", **labels)
        what, expected = f"port {labels['port']}", f"only at {labels['address']}"
        bound = [ls["address"] for ls, _ in seen.all("listener_bound_info", port=labels["port"])]
        if present is None:
            yield Row("training", what, expected, "unknown", Verdict.UNKNOWN)
        elif not bound:
            yield Row("training", what, expected, "nobody listens", Verdict.IDLE)
        else:
            exposed = seen.value("listener_exposed", port=labels["port"])
            fine = present and not exposed
            yield Row(
                *("training", what, expected, f"at {', '.join(bound)}"),
                Verdict.OK if fine else Verdict.FAIL,
            )


def _paths(seen: _Seen) -> Iterator[Row]:
    for labels, value in seen.all("path_first_hop_as_declared"):
        text = "as declared" if value else "another way"
        verdict = Verdict.OK if value else Verdict.FAIL
        yield Row("path", f"first hop to {labels['target']}", "as declared", text, verdict)
    for labels, expected in seen.all("path_hops_expected"):
        hops = seen.value("path_hops", **labels)
        if hops is None:
            text, verdict = "unknown", Verdict.UNKNOWN
        else:
            text, verdict = f"{hops:.0f}", Verdict.OK if hops == expected else Verdict.FAIL
        yield Row("path", f"links to {labels['target']}", f"{expected:.0f}", text, verdict)
    for labels, value in seen.all("default_route_on_segment"):
        if value:
            what = f"internet by {labels['device']}"
            yield Row("path", what, f"not over {labels['link']}", "over it", Verdict.FAIL)


def _interfaces(seen: _Seen) -> Iterator[Row]:
    for labels, value in seen.all("network_up"):
        if seen.value("network_present", **labels) == 0:
            text = "missing"
        elif seen.value("network_enabled", **labels) == 0:
            text = "switched off"
        else:
            text = "up" if value else "no carrier"
        verdict = Verdict.OK if value else Verdict.FAIL
        yield Row("interface", f"{labels['device']}, {labels['link']}", "up", text, verdict)
    for labels, value in seen.all("address_present"):
        where = f"on {labels['device'] or 'an interface'}"
        text, verdict = ("set", Verdict.OK) if value else ("missing", Verdict.FAIL)
        yield Row("address", labels["address"], where, text, verdict)
    for labels, value in seen.all("neighbor_mac_as_declared"):
        text, verdict = ("as declared", Verdict.OK) if value else ("another", Verdict.FAIL)
        yield Row("neighbour", f"MAC of {labels['target']}", "as declared", text, verdict)


def _pings(seen: _Seen) -> Iterator[Row]:
    for path, threshold in seen.all("ping_rtt_threshold_seconds"):
        what = path["probe"]
        if path["target"] != path["probe"]:
            what += f" {path['target']}, {path['link']}"
        expected = f"within {_duration(threshold)}"
        results = {ls["result"]: int(v) for ls, v in seen.all("ping_results_total", **path)}
        count = sum(results.values())
        replies = results.pop("reply", 0)
        lost = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in results.items() if n)
        if not count:
            yield Row("ping", what, expected, "not sent", Verdict.UNKNOWN)
        elif not replies:
            yield Row("ping", what, expected, lost, Verdict.FAIL)
        else:
            median = _median(seen.all("ping_rtt_seconds_bucket", **path))
            text = _duration(median) if median is not None else "unknown"
            if lost:
                text += f", {replies} of {count} answered"
            slow = seen.value("ping_slow_replies_total", **path) or 0
            fine = 2 * slow <= replies and count - replies < LOST
            verdict = Verdict.OK if fine else Verdict.FAIL
            yield Row("ping", what, expected, text, Verdict.UNKNOWN if median is None else verdict)


def _checks(seen: _Seen) -> Iterator[Row]:
    for labels, value in seen.all("check_state"):
        if not value:
            continue
        state = labels["state"]
        what = labels["target"]
        if labels["link"]:
            what += f", {labels['link']}"
        verdict = {"pass": Verdict.OK, "fail": Verdict.FAIL}.get(state, Verdict.UNKNOWN)
        yield Row(labels["check"], what, "pass", state, verdict)


def _routes(seen: _Seen) -> Iterator[Row]:
    for labels, value in seen.all("route_present"):
        what = f"{labels['destination']}, {labels['to']}"
        yield Row(
            "route",
            what,
            f"by {labels['via']}",
            "present" if value else "missing",
            Verdict.OK if value else Verdict.FAIL,
        )


def _forwarding(seen: _Seen) -> Iterator[Row]:
    for labels, expected in seen.all("ip_forwarding_expected"):
        enabled = seen.value("ip_forwarding_enabled", **labels)
        family = labels["family"].replace("ip", "IP")
        if enabled is None:
            text, verdict = "unknown", Verdict.UNKNOWN
        else:
            text = "on" if enabled else "off"
            # A node that forwards without need does no harm here: container hosts do.
            verdict = Verdict.OK if enabled or not expected else Verdict.FAIL
        yield Row("forwarding", family, "on" if expected else "not needed", text, verdict)


def _median(buckets: Sequence[Sample]) -> float | None:
    """The middle of the observations in a cumulative histogram; None if there are none."""
    edges = [(float(labels["le"]), count) for labels, count in buckets]
    total = max((count for _, count in edges), default=0)
    return next((edge for edge, count in edges if 2 * count >= total), None) if total else None


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{round(seconds * 1000, 3):g} ms"  # to the microsecond


def as_json(report: Report) -> str:
    """One JSON object."""
    return json.dumps(
        {
            "cluster": report.cluster,
            "node": report.node,
            "as_expected": report.as_expected,
            "rows": [
                {
                    "group": row.group,
                    "what": row.what,
                    "expected": row.expected,
                    "seen": row.seen,
                    "verdict": row.verdict.value,
                }
                for row in report.rows
            ],
        }
    )


# On a terminal: a mark, and its colour (ECMA-48).
MARKS = {
    Verdict.OK: ("✓", 32),
    Verdict.FAIL: ("✗", 31),
    Verdict.UNKNOWN: ("?", 33),
    Verdict.IDLE: ("-", 2),
}
GAP = "  "


def as_table(report: Report, *, width: int | None = None) -> str:
    """A table for people: with marks and colours for a terminal of that width, else with words.

    Where the terminal is too narrow, what was expected stands below what is not as expected.
    """
    wrong = sum(row.verdict not in (Verdict.OK, Verdict.IDLE) for row in report.rows)
    title = f"{report.node} of {report.cluster}: " + (
        f"{wrong} of {len(report.rows)} not as expected" if wrong else "all as expected"
    )
    table = [("", "", "expected", "seen")]
    table += [(row.group, row.what, row.expected, row.seen) for row in report.rows]
    widths = [max(len(line[i]) for line in table) for i in range(4)]
    if width is None:
        mark_width = max(len(v.value) for v in Verdict)
        marks = {v: v.value.ljust(mark_width) for v in Verdict}
    else:
        mark_width = 1
        marks = {v: f"\x1b[{colour}m{mark}\x1b[0m" for v, (mark, colour) in MARKS.items()}
        title = f"\x1b[1m{title}\x1b[0m"
    narrow = width is not None and mark_width + sum(widths) + 4 * len(GAP) > width
    columns = (0, 1, 3) if narrow else (0, 1, 2, 3)

    def line(mark: str, cells: Sequence[str]) -> str:
        return GAP.join((mark, *(cells[i].ljust(widths[i]) for i in columns))).rstrip()

    blank = " " * mark_width
    lines = [title, *([] if narrow else [line(blank, table[0])])]
    before = ""
    for row, cells in zip(report.rows, table[1:], strict=True):
        # For a program that reads the lines, each says all; for a person the first of a group.
        group = "" if width is not None and row.group == before else row.group
        lines.append(line(marks[row.verdict], (group, *cells[1:])))
        if narrow and row.verdict in (Verdict.FAIL, Verdict.UNKNOWN):
            lines.append(f"{blank}{GAP}{'':{widths[0]}}{GAP}  expected: {row.expected}")
        before = row.group
    return "\n".join(lines)

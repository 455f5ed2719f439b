"""`smolmon bandwidth schedule`: the next slot of every test."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import Slot, Timetable, timetable
from smolmon.commands.rates import rate


def show(cluster: Cluster, node: str | None, *, as_json: bool, now: float | None = None) -> str:
    """The slots of one period from `now` on (Unix time)."""
    table = timetable(cluster)
    start = time.time() if now is None else now
    slots = [
        slot
        for slot in table.slots(start, start + table.period)
        if node is None or node in (slot.test.source, slot.test.target)
    ]
    if as_json:
        return json.dumps(_data(cluster, table, slots))
    return "\n".join(_lines(cluster, table, slots))


def _data(cluster: Cluster, table: Timetable, slots: list[Slot]) -> dict[str, object]:
    return {
        "cluster": cluster.name,
        "enabled": cluster.bandwidth.enabled,
        "period": table.period,
        "guard": table.guard,
        "duration": cluster.bandwidth.duration,
        "slots": [
            {
                "start": slot.start,
                "sending": slot.sending,
                "end": slot.end,
                "source": slot.test.source,
                "target": slot.test.target,
                "segments": list(slot.test.segments),
                "expected_bytes_per_second": slot.test.expected,
            }
            for slot in slots
        ],
    }


def _lines(cluster: Cluster, table: Timetable, slots: list[Slot]) -> Iterator[str]:
    if not cluster.bandwidth.enabled:
        yield f"{cluster.name}: tests are switched off (`bandwidth.enabled: false`)"
        return
    if not slots:
        yield f"{cluster.name}: there is nothing to test"
        return
    count = sum(map(len, table.rounds))
    yield (
        f"{cluster.name}: {count} tests of {cluster.bandwidth.duration} s in {_time(table.period)},"
        f" one every {table.spacing:.4g} s; clocks may differ by {table.guard:g} s"
    )
    rows = [
        (
            _clock(slot.start),
            f"{slot.test.source} -> {slot.test.target}",
            ", ".join(slot.test.segments),
            f"at least {rate(slot.test.expected)}",
        )
        for slot in slots
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _clock(moment: float) -> str:
    """Local time; the date stands before it where it is another day's."""
    when = datetime.fromtimestamp(moment).astimezone()
    today = datetime.now().astimezone().date()
    return when.strftime("%H:%M:%S" if when.date() == today else "%Y-%m-%d %H:%M:%S")


def _time(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"

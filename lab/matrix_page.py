"""docs/faults.md, from the trials in docs/faults.jsonl; with --check: only whether it is so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from smolmon.cluster import load
from smolmon.lab.matrix_coverage import coverage

Row = dict[str, Any]

ROOT = Path(str(files("smolmon"))).parent
TRIALS = ROOT / "docs" / "faults.jsonl"
FILE = ROOT / "docs" / "faults.md"

HEAD = """\
# What came of breaking things

Written by `scripts/generate` from [faults.jsonl](faults.jsonl), to which `scripts/fault-matrix
--results docs/faults.jsonl` adds one line for each trial that is not there yet. Each is a fault in
the emulated cluster, watched by real exporters, Prometheus and Alertmanager.

- `seconds to the first notification`: on a machine with two cores, for each node that was hit.
- `repair`: how often the command of the notification, run as printed at the controller, healed the
  fault (`smolmon setup` was given `--yes`, since there was no terminal to ask on). Where it says
  nothing, the remedy is no command (plug the cable in), or only looks.
- `as expected`: how often the notifications named each cause on its node, and nothing else, each
  was sent once, and its end was told, too. What was not as expected is listed below its table.

Not emulated: a clock that steps (the nodes share one: Linux gives a namespace no time of day of its
own), packets that arrive damaged (virtual cables damage none), and macOS' own firewall in the way.
Those rules are tested with promtool alone.
"""
REAL_TIME = """\
As in real life: nodes are scraped every five seconds, and no waiting time is shortened. Under 30
seconds is the goal for whatever cuts a node off."""
MACS = """\
The nodes that the cluster file calls Macs run the stand-ins of macOS' tools; nobody has
seen this on a Mac. The commands are macOS' own."""
FAST = """\
Waiting times are divided by {speed:g}, so the seconds are not those of real life. What nodes do
at their own pace (a ping a second, a connection every five) is as slow as ever. All nodes run
Linux."""


def page(rows: Sequence[Row], covered: str = "") -> str:
    """The whole page: real time first, then Macs, then each cluster, then the double faults.

    `covered` is the section about what has been run (matrix_coverage.py).
    """
    parts = [HEAD, *([covered] if covered else [])]
    parts += _part("In real time", REAL_TIME, rows, lambda r: r["speed"] == 1 and _linux(r))
    parts += _part("Nodes that are Macs", MACS, rows, lambda r: not _linux(r))
    for speed in sorted({r["speed"] for r in rows if r["speed"] != 1 and _linux(r)}):
        same = [r for r in rows if r["speed"] == speed and _linux(r)]
        parts += _part("One fault", FAST.format(speed=speed), same, lambda r: not _double(r))
        parts += _part("Two faults at once", "Each cause is told of, and no third.", same, _double)
    return "\n".join(parts)


def _linux(row: Row) -> bool:
    return bool(row["platforms"] == "linux")


def _double(row: Row) -> bool:
    return "+" in row["fault"]


def _part(title: str, said: str, rows: Sequence[Row], wanted: Callable[[Row], bool]) -> list[str]:
    chosen = [r for r in rows if wanted(r)]
    if not chosen:
        return []
    lines = [f"## {title}", "", said, "", f"{_of(chosen, _good)} as expected.", ""]
    lines += [
        "| cluster | fault | alert | seconds to the first notification | repair | as expected |",
        "|---|---|---|---|---|---|",
    ]
    for (cluster, fault), some in groupby(chosen, key=lambda r: (r["cluster"], r["fault"])):
        lines.append(_line(cluster, fault, list(some)))
    bad = [r for r in chosen if not _good(r)]
    return [*lines, "", *(["Not as expected:", "", *map(_unexpected, bad), ""] if bad else [])]


def _line(cluster: str, fault: str, rows: Sequence[Row]) -> str:
    """A line of the table: one fault on each node where it was tried."""
    alerts = dict.fromkeys(told.partition("@")[0] for r in rows for told in r["expected"])
    tried = [r for r in rows if r["fix_healed"] is not None]
    cells = (
        cluster,
        fault,
        ", ".join(alerts),
        ", ".join(f"{r['node']} {'never' if r['seconds'] is None else r['seconds']}" for r in rows),
        f"healed {_of(tried, lambda r: r['fix_healed'])}" if tried else "",
        _of(rows, _good),
    )
    return f"| {' | '.join(cells)} |"


def _good(row: Row) -> bool:
    return bool(row["as_expected"])


def _of(rows: Sequence[Row], wanted: Callable[[Row], bool]) -> str:
    good, every = sum(map(wanted, rows)), len(rows)
    return f"{good} of {every}" if good == every else f"**{good} of {every}**"


def _unexpected(row: Row) -> str:
    told = ", ".join(t.rstrip("@").replace("@", " on ") for t in row["notified"]) or "nothing"
    where = f"{row['cluster']}, {row['fault']} on {row['node']}"
    end = "" if row["resolved"] else "; its end was not told"
    fix = "; the repair did not heal it" if row["fix_healed"] is False else ""
    return f"- {where}: {told}, in {row['notifications']} notifications{fix}{end}."


def read(trials: Path) -> list[Row]:
    """The trials in a file of JSON lines; none where there is none."""
    if not trials.exists():
        return []
    return [json.loads(line) for line in trials.read_text(encoding="utf-8").splitlines()]


def ordered(rows: Sequence[Row]) -> Iterator[Row]:
    """By cluster and fault; within those, as they were tried."""
    yield from sorted(rows, key=lambda r: (r["cluster"] != "guide", r["cluster"], r["fault"]))


def text() -> str:
    """The whole page, of the trials that are kept."""
    rows = list(ordered(read(TRIALS)))
    return page(rows, coverage(rows, map(load, sorted((ROOT / "examples").glob("*.yaml")))))


def main() -> int:
    """Write the page; with `--check`, say whether it is up to date."""
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text(), encoding="utf-8")
        return 0
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write("docs/faults.md is not what scripts/generate writes: run it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

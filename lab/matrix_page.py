"""docs/faults.md, from the results of trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]

HEAD = """\
# What came of breaking things

Written by `scripts/fault-matrix --write docs/faults.md`: each row is a fault in the emulated
cluster, watched by real exporters, Prometheus and Alertmanager. What is wrong in it shows as
**no** in the last column.

- `seconds`: from the fault to the first notification, on a machine with two cores.
- `fix`: whether the command of the notification, run as printed at the controller, healed the
  fault (`smolmon setup` was given `--yes`, since there was no terminal to ask on). Where it says
  nothing, the remedy is no command (plug the cable in), or only looks.
- As expected: the notifications name each cause on its node, and nothing else; each is sent once,
  and its end is told, too.

Not emulated: a clock that steps (the nodes share one: Linux gives a namespace no time of day of its
own), packets that arrive damaged (virtual cables damage none), and macOS' own firewall in the way.
Those rules are tested with promtool alone.
"""
REAL_TIME = """\
As in real life: nodes are scraped every five seconds, and no waiting time is shortened. Under 30
seconds is the goal for whatever cuts a node off."""
FAST = """\
Waiting times are divided by {speed:g}, so the seconds are not those of real life. What nodes do at
their own pace (a ping a second, a connection every five) is as slow as ever."""
WORDS = {True: "healed", False: "**did not heal**", None: ""}


def page(rows: Sequence[Row], covered: str = "") -> str:
    """The whole page: real time first, then each cluster, then the double faults.

    `covered` is the section about what has been run (matrix_coverage.py).
    """
    parts = [HEAD, *([covered] if covered else [])]
    parts += _part("In real time", REAL_TIME, rows, lambda r: r["speed"] == 1 and _linux(r))
    parts += _part(
        "Nodes that are Macs",
        "The nodes that the cluster file calls Macs run the stand-ins of macOS' tools; nobody has\n"
        "seen this on a Mac. The commands are macOS' own.",
        rows,
        lambda r: not _linux(r),
    )
    for speed in sorted({r["speed"] for r in rows if r["speed"] != 1 and _linux(r)}):
        said = FAST.format(speed=speed) + " All nodes run Linux."
        same = [r for r in rows if r["speed"] == speed and _linux(r)]
        parts += _part("One fault", said, same, lambda r: not _double(r))
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
    good = sum(r["as_expected"] for r in chosen)
    lines = [
        f"## {title}",
        "",
        said,
        "",
        f"{good} of {len(chosen)} as expected.",
        "",
        "| cluster | fault | node | notified | seconds | fix | as expected |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in chosen:
        told = ", ".join(t.rstrip("@").replace("@", " on ") for t in r["notified"]) or "nothing"
        seconds = "" if r["seconds"] is None else r["seconds"]
        lines.append(
            f"| {r['cluster']} | {r['fault']} | {r['node']} | {told} | {seconds} "
            f"| {WORDS[r['fix_healed']]} | {'yes' if r['as_expected'] else '**no**'} |"
        )
    return [*lines, ""]

"""How wrong the probers' round-trip times are, and what they cost.

Each prober runs alone between two network namespaces. What it reports is compared, ping by ping,
with a packet capture at its interface, stamped by the kernel. `busy`: a busy thread in the process
for probers in Python, one busy core for the others.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from attrs import asdict, frozen

from benchmarks import picture, programs
from benchmarks.report import DOCS, machine, write_section
from benchmarks.wire import Truth, cable, capture, require_root

TARGET_US = 20.0  # what 99 of 100 round trips may be off


@frozen
class Row:
    """One prober under one condition. Errors are of 1 of 2 and 99 of 100 pings, in microseconds."""

    prober: str
    condition: str
    error_us_p50: float | None
    error_us_p99: float | None
    cpu_s_per_1000: float
    rss_mb: float


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row on standard output.")
@click.option("--rounds", default=100, show_default=True, help="Pings of each target.")
@click.option("--period", default=0.5, show_default=True, help="Seconds between two of them.")
@click.option("--only", multiple=True, type=click.Choice([*programs.ALL]), help="Probers to run.")
@click.option("--docs/--no-docs", default=True, show_default=True, help="Write into docs/.")
def main(as_json: bool, rounds: int, period: float, only: Sequence[str], docs: bool) -> None:
    """Compare round-trip times with a packet capture: smolmon and five other probers."""
    require_root()
    if missing := programs.missing():
        sys.exit(f"install first: {', '.join(missing)}")
    rows = []
    for run in plan(only):
        row = measure(run, period, rounds)
        rows.append(row)
        if as_json:
            click.echo(json.dumps(asdict(row)))
        else:
            click.echo("  ".join(cells(row)))
    if docs:
        publish(rows, period, rounds)


def plan(only: Sequence[str]) -> list[tuple[str, int, bool]]:
    """(prober, targets, busy) of each run; those to be compared stand side by side."""
    wanted = [p for p in programs.ALL if not only or p in only]
    runs = [
        (p, 1 if p in programs.ONE_TARGET else 6, busy) for busy in (False, True) for p in wanted
    ]
    return runs + [(p, 60, False) for p in ("smolmon", "fping") if p in wanted]


def measure(run: tuple[str, int, bool], period: float, rounds: int) -> Row:
    """Run one prober: its name, how many targets, and whether something is busy."""
    prober, targets, busy = run
    with (
        tempfile.TemporaryDirectory() as folder,
        cable(targets),
        capture(Path(folder)) as stop,
    ):
        seen = programs.ALL[prober](targets, period, rounds, busy)
        off = errors(stop(), seen.replies)
    return Row(
        prober=prober,
        condition=f"{'busy' if busy else 'idle'}, {targets} target{'s' if targets > 1 else ''}",
        error_us_p50=share(off, 0.5),
        error_us_p99=share(off, 0.99),
        cpu_s_per_1000=round(seen.cpu / seen.probes * 1000, 4),
        rss_mb=round(seen.rss_mb, 1),
    )


def errors(truth: Truth, replies: Sequence[tuple[str, int, float]]) -> list[float]:
    """How far each reported round trip is from the wire's, in microseconds, without the sign."""
    by_sequence = {
        (address, sequence): rtt for address, all_ in truth.items() for sequence, rtt in all_
    }
    in_order = {
        address: iter([rtt for _, rtt in all_ if rtt is not None])
        for address, all_ in truth.items()
    }
    off = []
    for address, sequence, reported in replies:
        if sequence < 0:
            real = next(in_order[address], None)
        else:
            real = by_sequence.get((address, sequence))
        if real is not None:
            off.append(abs(reported - real) * 1e6)
    return off


def share(values: Sequence[float], part: float) -> float | None:
    """The value that this part of all does not exceed."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 1) if ordered else None


def cells(row: Row) -> list[str]:
    """A row as text."""
    return [
        row.prober,
        row.condition,
        *("-" if x is None else f"{x:,.1f}" for x in (row.error_us_p50, row.error_us_p99)),
        f"{row.cpu_s_per_1000:.3f}",
        f"{row.rss_mb:.0f}",
    ]


def publish(rows: Sequence[Row], period: float, rounds: int) -> None:
    """Write the table and the pictures."""
    text = [
        f"`benchmarks/rtt`, {rounds} pings of each target, one every {period:g} s; {machine()}.",
        "",
        "| prober | condition | error p50, µs | error p99, µs | CPU s per 1000 | memory, MB |",
        "|---|---|---:|---:|---:|---:|",
        *(f"| {' | '.join(cells(r))} |" for r in rows),
        "",
        "Error: the reported round trip against a packet capture at the sender's interface, ping",
        "by ping, without the sign. Busy: a busy thread in the process for probers in Python",
        "(smolmon, icmplib), one busy core for the others. CPU is that of the whole process, less",
        "the busy thread; smolmon's memory is that of a process with the exporter loaded.",
        "",
        "![error](benchmarks-rtt-error.svg)",
        "",
        "![CPU](benchmarks-rtt-cpu.svg)",
    ]
    write_section("rtt", "Round-trip times", text)
    known = [(f"{r.prober} ({r.condition})", r.error_us_p99) for r in rows]
    (DOCS / "benchmarks-rtt-error.svg").write_text(
        picture.bars(
            "Error of the round-trip time, 99 of 100 pings",
            "microseconds; dashed: 20",
            [(label, value) for label, value in known if value is not None],
            limit=TARGET_US,
        )
    )
    (DOCS / "benchmarks-rtt-cpu.svg").write_text(
        picture.bars(
            "CPU for 1000 pings",
            "seconds",
            [(f"{r.prober} ({r.condition})", r.cpu_s_per_1000) for r in rows],
        )
    )


if __name__ == "__main__":
    main()

"""How long a scrape takes, what it costs, and whether it disturbs the pings.

The pings and pages of the exporter run between two network namespaces, first without a scrape,
then with one every fifth of a second (Prometheus asks every five), while a packet capture has the
truth about every ping.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from attrs import asdict, frozen

from benchmarks import picture
from benchmarks.programs import cpu_of, rss_of
from benchmarks.report import DOCS, machine, write_section
from benchmarks.round_trips import errors, share
from benchmarks.wire import cable, capture, inside, require_root

PORT = 9742
EVERY = 0.2  # seconds from scrape to scrape
CLIENT = """
import http.client, json, sys, time
port, count, every = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
took, size, start = [], 0, time.monotonic()
for i in range(count):
    time.sleep(max(0, start + i * every - time.monotonic()))
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    size = len(answer.read())
    took.append(time.perf_counter() - begin)
    connection.close()
    assert answer.status == 200
print(json.dumps([took, size]))
"""


@frozen
class Row:
    """One number of targets. CPU seconds are for 1000 scrapes, without what the pings take.

    The errors are what 99 of 100 round trips are off, in microseconds, without and with scrapes;
    `lost` are pings without a measured answer.
    """

    targets: int
    scrape_ms_p50: float | None
    scrape_ms_p99: float | None
    cpu_s_per_1000: float
    kilobytes: float
    ping_error_us_p99_unscraped: float | None
    ping_error_us_p99: float | None
    lost: int
    rss_mb: float


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row on standard output.")
@click.option("--scrapes", default=100, show_default=True, help="Scrapes for each row.")
@click.option("--targets", multiple=True, type=int, default=(6, 60, 600), show_default=True)
@click.option("--docs/--no-docs", default=True, show_default=True, help="Write into docs/.")
def main(as_json: bool, scrapes: int, targets: Sequence[int], docs: bool) -> None:
    """Time scrapes of /metrics against the number of targets."""
    require_root()
    rows = []
    for count in targets:
        row = measure(count, scrapes)
        rows.append(row)
        click.echo(json.dumps(asdict(row)) if as_json else "  ".join(cells(row)))
    if docs:
        publish(rows, scrapes)


def measure(targets: int, scrapes: int) -> Row:
    """Ping without scrapes, then with them, for the same time each."""
    seconds = scrapes * EVERY
    with cable(targets):
        quiet, _, ping_cpu, _, _, _ = _phase(targets, seconds, 0)
        loaded, lost, cpu, rss, took, size = _phase(targets, seconds, scrapes)
    return Row(
        targets=targets,
        scrape_ms_p50=share([t * 1000 for t in took], 0.5),
        scrape_ms_p99=share([t * 1000 for t in took], 0.99),
        cpu_s_per_1000=round(max(0.0, cpu - ping_cpu) / scrapes * 1000, 3),
        kilobytes=round(size / 1000, 1),
        ping_error_us_p99_unscraped=share(quiet, 0.99),
        ping_error_us_p99=share(loaded, 0.99),
        lost=lost,
        rss_mb=round(rss, 1),
    )


def _phase(
    targets: int, seconds: float, scrapes: int
) -> tuple[list[float], int, float, float, list[float], int]:
    """Errors of the pings, lost ones, CPU seconds, memory; times of the scrapes, and their size."""
    argv = inside([sys.executable, "-m", "benchmarks.served", str(targets), str(PORT)])
    took: list[float] = []
    size = 0
    with tempfile.TemporaryDirectory() as folder, capture(Path(folder)) as stop:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            process.stdout.readline()
            time.sleep(2)  # every target has had its first ping
            before = cpu_of(process.pid)
            if scrapes:
                client = [sys.executable, "-c", CLIENT, str(PORT), str(scrapes), str(EVERY)]
                done = subprocess.run(inside(client), stdout=subprocess.PIPE, check=True)
                took, size = json.loads(done.stdout)
            else:
                time.sleep(seconds)
            cpu, rss = cpu_of(process.pid) - before, rss_of(process.pid)
            process.terminate()
            said = json.loads(process.stdout.read())
        finally:
            process.kill()
            process.wait()
        return errors(stop(), said["seen"]), said["lost"], cpu, rss, took, size


def cells(row: Row) -> list[str]:
    """A row as text."""
    return [
        str(row.targets),
        *("-" if x is None else f"{x:.1f}" for x in (row.scrape_ms_p50, row.scrape_ms_p99)),
        f"{row.cpu_s_per_1000:.2f}",
        f"{row.kilobytes:.0f}",
        *(
            "-" if x is None else f"{x:.1f}"
            for x in (row.ping_error_us_p99_unscraped, row.ping_error_us_p99)
        ),
        str(row.lost),
        f"{row.rss_mb:.0f}",
    ]


def publish(rows: Sequence[Row], scrapes: int) -> None:
    """Write the table and the picture."""
    text = [
        f"`benchmarks/scrape`, {scrapes} scrapes a row, one every {EVERY:g} s; {machine()}.",
        "",
        "| targets | scrape p50, ms | p99, ms | CPU s per 1000 scrapes | kB "
        "| ping error p99, µs | while scraped, µs | lost | memory, MB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(f"| {' | '.join(cells(r))} |" for r in rows),
        "",
        "Scrapes are uncompressed text over loopback, timed by the client. The ping error is that",
        "of the round trips against a packet capture, as above, without and with the scrapes.",
        "",
        "![scrape](benchmarks-scrape.svg)",
    ]
    write_section("scrape", "Scrapes", text)
    (DOCS / "benchmarks-scrape.svg").write_text(
        picture.bars(
            "Time of a scrape, 99 of 100",
            "milliseconds; dashed: 100",
            [(f"smolmon, {r.targets} targets", r.scrape_ms_p99 or 0.0) for r in rows],
            limit=100.0,
        )
    )


if __name__ == "__main__":
    main()

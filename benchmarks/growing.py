"""What grows with the cluster: pings, series, the bandwidth timetable.

Two shapes: a house, where Macs on a Thunderbolt chain have switches with workers behind them, and a
flat network, where everybody is on one switch. Pings and tests are what smolmon derives from such a
cluster file. Series are counted in what the exporter's own collectors say, on one machine: every
address of the cluster is one of its loopback interface, so pings are answered, but there is no
cable, and what a node exports about each of its ports is lacking.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from attrs import frozen

from smolmon.cluster import Cluster, derive, parse
from smolmon.cluster.timetable import least_period, timetable
from smolmon.exporter.declaration import Declaration
from smolmon.exporter.host import this_host
from smolmon.exporter.observer import Observer
from smolmon.exporter.scrape import Collect

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling-out.md"
MARKED = re.compile(r"(<!-- growth -->\n).*(<!-- /growth -->\n)", re.DOTALL)
# Nodes, and how many of them are Macs; no Macs: a flat network.
SHAPES = ((6, 3), (20, 4), (50, 8), (100, 10), (20, 0), (50, 0), (100, 0))
INTERVAL = 0.1  # seconds from ping to ping
PATIENCE = 20.0  # seconds until everything has been observed
SCRAPES = 86400 / 5  # a day
BYTES = 1.5  # a sample; Prometheus' documentation says 1 to 2


@frozen
class Plan:
    """What follows from a cluster file. `pings` are those of each node, every second.

    `rounds` are the bandwidth tests that do not run at the same time; `least` is the shortest
    period that has room for them, in seconds.
    """

    shape: str
    nodes: int
    pings: tuple[int, ...]
    tests: int
    rounds: int
    least: float


def cluster(nodes: int, macs: int) -> Cluster:
    """A cluster of so many nodes, all of whose addresses are this machine's."""
    return parse(_text(nodes, macs))


def _text(nodes: int, macs: int) -> str:
    names = [f"n{i}" for i in range(1, nodes + 1)]
    fabric, workers = (names[:macs], names[macs:]) if macs else (names, [])
    kind = "thunderbolt" if macs else "ethernet"
    lines = ["cluster: growing", "server: {node: n1}", "internet: {address: 127.255.0.1}", "nodes:"]
    lines += [f"  {n}: {{platform: linux, management: {n}.local}}" for n in names]
    lines += ["segments:", *_segment(0, kind, fabric)]
    for number in range(macs):
        if behind := workers[number::macs]:
            lines += _segment(number + 1, "ethernet", [fabric[number], *behind])
    return "\n".join([*lines, ""])


def _segment(number: int, kind: str, members: list[str]) -> Iterator[str]:
    yield from (f"  s{number}:", f"    kind: {kind}", f"    subnet: 127.{number + 1}.0.0/24")
    yield "    members:"
    for host, node in enumerate(members, start=1):
        yield f"      {node}: {{address: 127.{number + 1}.0.{host}, interface: port{number}}}"


def plan(nodes: int, macs: int) -> Plan:
    """What smolmon derives."""
    made = cluster(nodes, macs)
    rounds = timetable(made).rounds
    return Plan(
        shape=f"{macs} Macs, workers behind them" if macs else "one switch",
        nodes=nodes,
        pings=tuple(len(derive.probes(made, n.name)) for n in made.nodes),
        tests=sum(map(len, rounds)),
        rounds=round(least_period(made) / timetable(made).window),
        least=least_period(made),
    )


def series(made: Cluster) -> int:
    """Of all nodes together; one of those that have the same to do stands for the others."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for node in made.nodes:
        checks = len(derive.isolation(made, node.name))
        key = (
            *(derive.role(made, node.name), len(derive.probes(made, node.name)), checks),
            *(len(derive.routes(made, node.name)), _tests_of(made, node.name)),
        )
        alike.setdefault(key, []).append(node.name)
    return sum(len(names) * asyncio.run(_series(made, names[0])) for names in alike.values())


def _tests_of(made: Cluster, node: str) -> int:
    every = (test for tests in timetable(made).rounds for test in tests)
    return sum(node in (test.source, test.target) for test in every)


async def _series(made: Cluster, node: str) -> int:
    """Those of one node, once each of its pings has been answered."""
    loop = asyncio.get_running_loop()
    declared, host = Declaration(made, node, "-"), this_host()
    with ThreadPoolExecutor(1) as worker:
        observer = Observer(declared, host, worker)
        # Never runs: it only says what it would export.
        measuring = Observer(declared, host, worker, measuring=True)
        task = loop.create_task(observer.run(INTERVAL))
        try:
            deadline = loop.time() + PATIENCE
            while observer.rounds() < 5 and not task.done() and loop.time() < deadline:
                await asyncio.sleep(INTERVAL)
            asked = measuring.collectors() | observer.collectors()
            count = sum(len(m.samples) for m in observer.constant)
            for collect in asked.values():
                count += await loop.run_in_executor(worker, _samples, collect)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            worker.submit(host.system.close)
    return count


def _samples(collect: Collect) -> int:
    return sum(len(metric.samples) for metric in collect())


def computed(row: Plan) -> str:
    """The columns that follow from the cluster file alone."""
    few, many = min(row.pings), max(row.pings)
    each = f"{few} to {many}" if few != many else f"{few}"
    return (
        f"| {row.nodes} | {row.shape} | {each} | {sum(row.pings):,} | {row.tests} | {row.rounds} "
        f"| {row.least / 60:.0f} min |"
    )


@click.command()
@click.option("--docs/--no-docs", default=True, show_default=True, help="Write into docs/.")
def main(docs: bool) -> None:
    """Say what grows with the number of nodes. As root: it pings from raw sockets."""
    lines = [
        "| nodes | shape | pings a second and node | of all nodes | bandwidth tests "
        "| one after another | least period | series | 90 days of Prometheus |",
        "|---:|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for nodes, macs in SHAPES:
        count = series(cluster(nodes, macs))
        size = count * SCRAPES * 90 * BYTES
        lines.append(f"{computed(plan(nodes, macs))} {count:,} | {size / 1e9:.1f} GB |")
        click.echo(lines[-1])
    if docs:
        table = "\n".join(lines)
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(MARKED.sub(rf"\1{table}\n\2", text), encoding="utf-8")


if __name__ == "__main__":
    main()

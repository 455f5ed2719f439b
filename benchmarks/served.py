"""The exporter's pings and pages for any number of targets, in a process of its own.

Ends on SIGTERM, and then prints what it saw. The far end of the cable is the only link; what the
exporter collects besides the pings is left out, since it does not grow with the targets.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address

from prometheus_client.metrics_core import Metric

import smolmon.exporter.run as exporter
from benchmarks.wire import addresses
from smolmon.cluster.derive import Probe, ProbeKind
from smolmon.exporter import pings, web
from smolmon.exporter.echo_linux import LinuxEcho
from smolmon.exporter.host import this_host
from smolmon.exporter.pages import Pages
from smolmon.exporter.pinger import Pinger
from smolmon.exporter.prober import Prober
from smolmon.exporter.scrape import Collect, Scraper


async def main(count: int, port: int) -> None:
    targets = addresses(count)
    probes = [
        Probe("here", ProbeKind.FABRIC, f"node{i}", IPv4Address(a), "fabric", 0.0005)
        for i, a in enumerate(targets)
    ]
    pinger = Pinger(targets, 1.0, limits=[p.rtt for p in probes])
    seen: list[tuple[str, int, float]] = []
    pinger.observe = lambda index, sequence, rtt: seen.append((targets[index], sequence, rtt))
    prober = Prober(pinger, LinuxEcho)

    def look() -> tuple[Sequence[Metric], Mapping[str, Collect]]:
        return (), {"ping": partial(pings.ping, pings.look(probes, prober))}

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pages = Pages(look, Scraper(), ThreadPoolExecutor(1))
    server = web.Server(web.listener("127.0.0.1", port), pages.pages)
    tasks = [asyncio.create_task(server.run()), asyncio.create_task(prober.run(1.0))]
    await pages.first_round()
    gc.freeze()  # as the exporter does
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    prober.close()
    lost = sum(t.requests - sum(t.counts) for t in pinger.tallies())
    json.dump({"seen": seen, "lost": lost}, sys.stdout)


if __name__ == "__main__":
    _ = exporter, this_host()  # all of the exporter, for the memory
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))

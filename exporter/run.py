"""The exporter of one node: everything put together, and run until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster, derive
from smolmon.exporter import collectors, web
from smolmon.exporter.host import Host
from smolmon.exporter.isolation import IsolationChecks
from smolmon.exporter.pinger import EDGES, Pinger
from smolmon.exporter.prober import Prober
from smolmon.exporter.routes import device
from smolmon.exporter.scrape import Collect, CollectorError, Scraper

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds from one ping of a target to the next
TIMEOUT = 1.0  # seconds that a reply may take


def run(cluster: Cluster, node: str, digest: str, host: Host, sock: socket.socket) -> None:
    """Run the exporter of `node` on a listening socket, until SIGTERM or SIGINT.

    `digest` names the version of the cluster file.
    """
    asyncio.run(_main(cluster, node, digest, host, sock))


async def _main(cluster: Cluster, node: str, digest: str, host: Host, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_one_line)

    # Scrapes are put together in this one thread, so that they neither hold up the pings nor
    # each other. The host's `system` belongs to it.
    worker = ThreadPoolExecutor(1, thread_name_prefix="scrape")
    probes = derive.probes(cluster, node)
    prober = Prober(
        Pinger([str(p.address) for p in probes], TIMEOUT, edges=edges(cluster)), host.open_echo
    )

    async def device_of(segment: str) -> str:
        member = cluster.segment(segment).member(node)
        return await loop.run_in_executor(worker, device, member, host.system) if member else ""

    isolation = derive.isolation(cluster, node)
    checks = IsolationChecks(isolation, host.open_echo, device_of)
    scraper = Scraper(collectors.declared(cluster, node, digest))

    async def metrics(request: web.Request) -> web.Response:
        # What lives on this loop is looked at here, at one moment; the thread gets a copy.
        prober.settle()
        pinger = prober.pinger
        seen = collectors.Pings(probes, pinger.tallies(), pinger.edges, pinger.foreign)
        states = list(checks.states.items())
        collect: dict[str, Collect] = {
            "ping": _unless(prober.trouble, partial(collectors.ping, seen)),
            "isolation": _unless(checks.trouble, partial(collectors.isolation, states)),
            "route": partial(collectors.route, cluster, node, host.system),
            "forwarding": partial(collectors.forwarding, host.system),
        }
        content_type, body = await loop.run_in_executor(
            worker, scraper.render, request.headers.get("accept", ""), collect
        )
        return web.Response(body, content_type)

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(b"ok\n")

    server = await web.serve(sock, {"/metrics": metrics, "/-/healthy": healthy})
    tasks: list[asyncio.Task[object]] = [loop.create_task(stop.wait())]
    if probes:
        tasks.append(loop.create_task(prober.run(INTERVAL)))
    if isolation:
        tasks.append(loop.create_task(checks.run()))
    address, port = sock.getsockname()[:2]
    log.info("%s of %s: metrics at http://%s:%d/metrics", node, cluster.name, address, port)
    try:
        # The loops never end by themselves; should one fail, the whole exporter must.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        prober.close()
        worker.submit(host.system.close)
        worker.shutdown(wait=False)


def edges(cluster: Cluster) -> set[float]:
    """Where the buckets of the round-trip histogram end, in seconds.

    Every expectation of the cluster is one of them, so that the share of replies above it is exact;
    all nodes have the same, so that they can be added up.
    """
    declared = {segment.expect.rtt for segment in cluster.segments}
    if cluster.internet:
        declared.add(cluster.internet.expect.rtt)
    return {*EDGES, *declared}


def _unless(trouble: str | None, collect: Collect) -> Collect:
    """`collect`, or a collector that fails for that reason."""

    def fail() -> Iterator[Metric]:
        raise CollectorError(trouble)

    return fail if trouble else collect


def _one_line(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    log.error("%s%s", context.get("message"), f": {error!r}" if error else "")

"""The exporter of one node: everything put together, and run until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from attrs import frozen
from prometheus_client.metrics_core import Metric

from smolmon.exporter import declaration, own, web
from smolmon.exporter.declaration import Changes, Declaration, DeclarationError
from smolmon.exporter.host import Host
from smolmon.exporter.observer import Observer
from smolmon.exporter.pages import Pages
from smolmon.exporter.scrape import Collect, Scraper
from smolmon.exporter.tls import Watch

log = logging.getLogger(__name__)

POLL = 2.0  # seconds from one look at the cluster file to the next


@frozen
class Serving:
    """Where and how the pages are served. Without `web_config`: to anybody, unencrypted."""

    sock: socket.socket
    web_config: Watch | None = None
    most_requests: int = web.MOST_REQUESTS

    def policy(self) -> web.Policy:
        """How clients are received now."""
        return self.web_config.now().policy if self.web_config else web.Policy()


def run(cluster_file: Path, declared: Declaration, host: Host, serving: Serving) -> None:
    """Run the exporter, until SIGTERM or SIGINT.

    It starts with what is `declared`, and changes to what `cluster_file` says when that changes,
    and on SIGHUP.
    """
    asyncio.run(_main(cluster_file, declared, host, serving))


async def _main(cluster_file: Path, declared: Declaration, host: Host, serving: Serving) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_one_line)
    stop, hang_up = asyncio.Event(), asyncio.Event()
    for number, event in (
        (signal.SIGTERM, stop),
        (signal.SIGINT, stop),
        (signal.SIGHUP, hang_up),
    ):
        loop.add_signal_handler(number, event.set)

    # The host's `system` belongs to this one thread, and scrapes are put together in it.
    worker = ThreadPoolExecutor(1, thread_name_prefix="scrape")
    exporter = Exporter(cluster_file, declared, host, serving, worker)
    pages = Pages(exporter.look, Scraper(), worker)
    server = web.Server(serving.sock, pages.pages, serving.policy, serving.most_requests)
    tasks: list[asyncio.Task[object]] = [
        loop.create_task(stop.wait()),
        loop.create_task(server.run()),
        loop.create_task(exporter.run(hang_up)),
    ]
    first_round = loop.create_task(pages.first_round())
    address, port = serving.sock.getsockname()[:2]
    scheme = "https" if serving.policy().tls else "http"
    place = f"[{address}]" if ":" in address else address
    log.info(
        "%s of %s: metrics at %s://%s:%d/metrics",
        *(declared.node, declared.cluster.name, scheme, place, port),
    )
    gc.freeze()  # all that is loaded by now stays: no need to look through it again and again
    try:
        # None of these ends by itself; should one fail, the whole exporter must.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*tasks, first_round):
            task.cancel()
        await asyncio.gather(*tasks, first_round, return_exceptions=True)
        worker.submit(host.system.close)
        worker.shutdown(wait=False)


class Exporter:
    """Observes what the newest usable version of the cluster file declares."""

    def __init__(
        self,
        cluster_file: Path,
        declared: Declaration,
        host: Host,
        serving: Serving,
        worker: ThreadPoolExecutor,
    ) -> None:
        self._file = cluster_file
        self._host = host
        self._serving = serving
        self._worker = worker
        self._observer = Observer(declared, host, worker, measuring=True)
        self._successful = True
        self._success_time = time.time()

    def look(self) -> tuple[Sequence[Metric], Mapping[str, Collect]]:
        """What there is to tell now: metrics, and what must be collected."""
        web_config = self._serving.web_config
        receiving = web_config.now() if web_config else None
        configuration = own.Configuration(
            self._successful,
            self._success_time,
            web_config.successful if web_config else None,
            receiving.expiry if receiving else None,
        )
        return self._observer.constant, {
            **self._observer.collectors(),
            "configuration": partial(own.configuration, configuration),
            "process": partial(own.process, self._host.process),
        }

    async def run(self, hang_up: asyncio.Event) -> None:
        """Observe until cancelled; look at the file again when it changes, and on `hang_up`."""
        changes = Changes(self._file)
        observing = asyncio.create_task(self._observer.run())
        try:
            while True:
                # A change may have come just before the watch began.
                if not (hang_up.is_set() or changes.noticed()):
                    await _first_of(observing, hang_up, POLL)
                    if observing.done():
                        observing.result()
                        return
                    continue
                hang_up.clear()
                changes.catch_up()
                newer = await self._read()
                if newer is None:
                    continue
                observing.cancel()
                await asyncio.gather(observing, return_exceptions=True)
                newer.take_over(self._observer)
                self._observer = newer
                observing = asyncio.create_task(newer.run())
        finally:
            observing.cancel()
            await asyncio.gather(observing, return_exceptions=True)

    async def _read(self) -> Observer | None:
        """An observer of what the file says now; None if that is nothing new, or not usable."""
        loop = asyncio.get_running_loop()
        now = self._observer.declaration
        try:
            declared = await loop.run_in_executor(
                self._worker, declaration.load, self._file, now.node
            )
        except DeclarationError as error:
            self._successful = False
            first, *others = str(error).splitlines()
            more = f" (and {len(others)} more: smolmon check)" if others else ""
            log.error("goes on with the cluster file as it was: %s%s", first, more)
            return None
        self._successful, self._success_time = True, time.time()
        if declared.digest == now.digest:
            log.info("%s: read again, unchanged", self._file)
            return None
        log.info("%s: read again", self._file)
        return Observer(declared, self._host, self._worker, measuring=True)


async def _first_of(task: asyncio.Task[None], event: asyncio.Event, seconds: float) -> None:
    """Wait for the end of `task`, for `event`, or for so many seconds."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, waiting), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _one_line(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    log.error("%s%s", context.get("message"), f": {error!r}" if error else "")

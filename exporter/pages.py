"""The pages that the exporter serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from prometheus_client.metrics_core import Metric

from smolmon.exporter.exposition import Form, accepts_gzip, compress, encode, negotiate
from smolmon.exporter.scrape import Collect, Scraper
from smolmon.exporter.web import Page, Request, Response

# What there is to tell now: metrics that need no collecting, and collectors. Called on the loop.
Look = Callable[[], tuple[Sequence[Metric], Mapping[str, Collect]]]


class Pages:
    """Metrics and health.

    Scrapes are put together in the one thread of `worker`, so that they hold up neither the pings
    nor each other. Whoever asks while one is being put together gets the next, together with all
    others who ask meanwhile: fifty scrapers at once cost as much as two.
    """

    def __init__(self, look: Look, scraper: Scraper, worker: ThreadPoolExecutor) -> None:
        self.ready = False  # whether every collector has had its turn
        self._look = look
        self._scraper = scraper
        self._worker = worker
        self._turn = asyncio.Lock()
        self._next: dict[tuple[Form, bool], asyncio.Task[Response]] = {}  # not begun yet

    @property
    def pages(self) -> dict[str, Page]:
        """All of them, by path."""
        return {
            "/metrics": self._metrics,
            "/-/healthy": _healthy,
            "/-/ready": self._ready,
        }

    async def first_round(self) -> None:
        """Give every collector its turn; then the exporter is ready."""
        await self._render((Form.TEXT, False))
        self.ready = True

    async def _metrics(self, request: Request) -> Response:
        form = negotiate(request.headers.get("accept", ""))
        key = form, accepts_gzip(request.headers.get("accept-encoding", ""))
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._render(key))
        return await asyncio.shield(task)

    async def _render(self, key: tuple[Form, bool]) -> Response:
        async with self._turn:
            self._next.pop(key, None)  # who asks from now on wants to know what is true then
            constant, collectors = self._look()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._text, key, constant, collectors)

    def _text(
        self,
        key: tuple[Form, bool],
        constant: Sequence[Metric],
        collectors: Mapping[str, Collect],
    ) -> Response:
        form, gzipped = key
        body = encode([*constant, *self._scraper.scrape(collectors)], form)
        headers = {"Vary": "Accept, Accept-Encoding"}
        if gzipped:
            body, headers["Content-Encoding"] = compress(body), "gzip"
        return Response(body, form.value, headers=headers)

    async def _ready(self, _: Request) -> Response:
        if self.ready:
            return Response(b"ready\n")
        return Response(b"not ready yet\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


async def _healthy(_: Request) -> Response:
    return Response(b"ok\n")

"""The number of links on the way to the server, looked up now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from smolmon.cluster.derive import Probe
from smolmon.exporter.pings import path_of
from smolmon.exporter.trace import OpenTracer, Path, trace
from smolmon.exporter.vocabulary import metric

log = logging.getLogger(__name__)

INTERVAL = 60.0  # seconds
SPACING = 5.0  # seconds between two traces, however often routes change


def expected(probe: Probe) -> int:
    """The links on the declared path. A gateway that is itself the target is its end."""
    return 1 + sum(gateway != probe.target for gateway in probe.gateways)


class HopCheck:
    """Traces the path of one probe. Lives on one event loop.

    `path` is None while it is not known: the target does not answer, or no trace has ended yet.
    """

    def __init__(self, probe: Probe, open_tracer: OpenTracer) -> None:
        self.path: Path | None = None
        self.has_ended = False  # a first trace, whatever came of it
        self._probe = probe
        self._open_tracer = open_tracer
        self._wanted = asyncio.Event()

    def soon(self) -> None:
        """The path may have changed."""
        self._wanted.set()

    async def run(self, interval: float = INTERVAL, spacing: float = SPACING) -> None:
        """Go on until cancelled."""
        while True:
            self._wanted.clear()
            await self.once()
            await asyncio.sleep(spacing)
            try:
                await asyncio.wait_for(self._wanted.wait(), interval)
            except asyncio.TimeoutError:
                continue

    async def once(self) -> Path | None:
        """One trace."""
        try:
            path = await trace(self._open_tracer, str(self._probe.address), expected(self._probe))
        except OSError:  # no route, no socket: the pings say which
            path = None
        if path and path != self.path:
            by = "".join(f" by {a}" for a in path.gateways.values())
            log.info("path to %s: hops %d%s", self._probe.target, path.hops, by)
        self.path = path
        self.has_ended = True
        return path

    def collect(self) -> Iterator[Metric]:
        """What is known now."""
        labels, path = path_of(self._probe), self.path
        yield metric("smolmon_path_hops", [(labels, path.hops)] if path else [])
        yield metric(
            "smolmon_path_gateway_info",
            [
                ({**labels, "position": str(place), "address": address}, 1)
                for place, address in (path.gateways.items() if path else ())
            ],
        )

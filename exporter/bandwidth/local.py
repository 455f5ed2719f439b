"""What this node can see that is a reason not to measure: training, traffic, a lost carrier."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Executor
from typing import TypeVar

from smolmon.cluster import Cluster
from smolmon.exporter.bandwidth.job import Role
from smolmon.exporter.bandwidth.outcome import Aborted, Failed, Skipped
from smolmon.exporter.interfaces import ports
from smolmon.exporter.system import Connection, Interface, NotAvailableError, System
from smolmon.exporter.training import established

T = TypeVar("T")

BEFORE = 0.5  # seconds that the two looks before a test are apart
DURING = 0.3  # seconds from look to look while one runs
AGAIN = 0.15  # seconds from a look that sees somebody connect to the one that makes sure of it


class Local:
    """This node, as its operating system sees it. `system` is asked in the thread of `worker`."""

    def __init__(
        self,
        cluster: Cluster,
        node: str,
        system: System,
        worker: Executor,
        own_ports: Callable[[], Collection[int]] = frozenset,
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._system = system
        self._worker = worker
        self._own_ports = own_ports

    async def reason_to_skip(self, link: str) -> tuple[Skipped, str] | None:
        """Why no test may start now that uses the node's port on `link`. Takes BEFORE seconds.

        Training counts if it was there both times: an attempt to connect that is given up at once,
        as our own are, is none.
        """
        try:
            was, before = await self._ask(self._training), await self._interface(link)
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(BEFORE)
            now, after = await self._ask(self._training), await self._interface(link)
            elapsed = asyncio.get_running_loop().time() - started
        except (OSError, NotAvailableError) as error:
            return Skipped.UNKNOWN, f"cannot tell whether training runs: {error}"
        if was & now:
            return Skipped.TRAINING, "training runs"
        allowed = self._cluster.bandwidth.busy * self._cluster.segment(link).expect.bandwidth
        for role in (Role.SEND, Role.RECEIVE):
            rate = (_bytes(after, role) - _bytes(before, role)) / elapsed
            if rate > allowed:
                return Skipped.LINK_BUSY, f"{link} carries {rate * 8 / 1e6:.0f} Mbit/s already"
        return None

    async def reason_to_end(self, link: str, *, force: bool) -> tuple[Aborted | Failed, str]:
        """Returns when a test that runs over `link` must not go on, with the reason.

        `force` lets it go on beside training.
        """
        before: frozenset[Connection] = frozenset()
        while True:
            try:
                now = frozenset() if force else await self._ask(self._training)
                interface = await self._interface(link)
            except (OSError, NotAvailableError):
                now, interface = before, None
            if now & before:
                return Aborted.TRAINING, "training began"
            if interface and not (interface.up and interface.carrier is not False):
                return Failed.LINK_DOWN, f"{interface.name} went down"
            before = now
            await asyncio.sleep(AGAIN if now else DURING)

    async def training(self) -> AsyncIterator[bool]:
        """Whether training runs, at every look but the first: it counts if it was there twice.

        Raises OSError, NotAvailableError.
        """
        before = await self._ask(self._training)
        runs = False
        while True:
            await asyncio.sleep(AGAIN if before and not runs else DURING)
            now = await self._ask(self._training)
            runs = bool(now & before)
            yield runs
            before = now

    async def carried(self, link: str, role: Role) -> int:
        """The bytes that the interface on `link` has sent or received; 0 where that is unknown."""
        try:
            return _bytes(await self._interface(link), role)
        except (OSError, NotAvailableError):
            return 0

    async def has_peer(self, port: int) -> bool:
        """Whether anybody is connected to that port of ours."""
        try:
            seen = await self._ask(lambda: self._system.tcp(port))
        except (OSError, NotAvailableError):
            return False
        return any(c.local_port == port for c in seen.connections)

    def _training(self) -> frozenset[Connection]:
        seen = self._system.tcp(self._cluster.server.port)
        return frozenset(established(self._cluster, self._node, seen, self._own_ports()))

    async def _interface(self, link: str) -> Interface | None:
        found = await self._ask(lambda: ports(self._cluster, self._node, self._system.interfaces()))
        return next((p.interface for p in found if p.link == link), None)

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, question)


def _bytes(interface: Interface | None, role: Role) -> int:
    counters = interface and (interface.transmit if role is Role.SEND else interface.receive)
    return counters.bytes if counters else 0

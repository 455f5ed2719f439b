"""Leave to test, which the training server's node gives: nobody else sees all who train.

A test in which that node takes no part may cross a segment that training crosses all the same. So
its sender asks first: it connects to the address and port at which the node receives tests of its
own in other slots, so that no more is ever open there. While the slot lasts the node says one byte
at every look that it takes: GO, or BUSY while anybody trains. The connection stays until the test
is over, and BUSY ends it. Where the node can be reached but does not say, there is no test; where
it cannot, both ends go by what they see themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from ipaddress import IPv4Address

from attrs import frozen

from smolmon.cluster import Cluster, derive
from smolmon.cluster.timetable import Test, timetable
from smolmon.exporter.bandwidth.due import due
from smolmon.exporter.bandwidth.local import DURING, Local
from smolmon.exporter.bandwidth.outcome import Aborted, Skipped
from smolmon.exporter.system import NotAvailableError

log = logging.getLogger(__name__)

BUSY = b"\xff"  # iperf_api.h: ACCESS_DENIED is -1, in one byte
GO = b"\x7f"  # no state of iperf's, should one of its clients come by chance
ANSWER = 1.0  # seconds that connecting and the first answer may take together
ATTEMPTS, AGAIN = 10, 0.1  # at an address that is still in use, so many seconds apart


@frozen
class Question:
    """Who asks whom: the address `own` that of `server`, which is on `node`."""

    own: IPv4Address
    server: IPv4Address
    node: str


def question(cluster: Cluster, test: Test) -> Question | None:
    """What the sender of `test` has to ask; None where one of its ends sees all who train."""
    if test.consent is None:
        return None
    link = derive.way(cluster, test.source, cluster.server.segment)[0]
    return Question(cluster.address(test.source, link), test.consent, cluster.server.node)


class Leave:
    """The first answer, and what is heard after it. Without a connection nothing ever is.

    `refused` is why no test may start, None where it may.
    """

    def __init__(
        self,
        refused: tuple[Skipped, str] | None = None,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None,
    ) -> None:
        self.refused = refused
        self._connection = connection

    async def withdrawn(self) -> tuple[Aborted, str]:
        """Returns when training begins; never where nothing more is heard."""
        if self._connection:
            with contextlib.suppress(OSError):
                while heard := await self._connection[0].read(1):
                    if heard == BUSY:
                        return Aborted.TRAINING, "training began"
        never: asyncio.Future[tuple[Aborted, str]] = asyncio.get_running_loop().create_future()
        return await never

    def close(self) -> None:
        """Give the connection back."""
        if self._connection:
            self._connection[1].close()


async def ask(asked: Question, port: int) -> Leave:
    """Whether a test may start now. Takes ANSWER seconds at most, and never fails."""
    until = time.monotonic() + ANSWER
    try:
        reader, writer = await asyncio.wait_for(_connected(asked, port), ANSWER)
    except (OSError, asyncio.TimeoutError) as error:
        why = str(error) or "no answer"
        log.info("bandwidth: cannot ask %s whether training runs: %s", asked.node, why)
        return Leave()
    try:
        first = await asyncio.wait_for(reader.readexactly(1), max(0.0, until - time.monotonic()))
    except (OSError, EOFError, asyncio.TimeoutError):
        unknown = Skipped.UNKNOWN, f"{asked.node} does not say whether training runs"
        return Leave(unknown, (reader, writer))
    except BaseException:
        writer.close()
        raise
    return Leave((Skipped.TRAINING, "training runs") if first == BUSY else None, (reader, writer))


async def _connected(
    asked: Question, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    last = time.monotonic() + ANSWER - 2 * AGAIN
    while True:
        try:
            return await asyncio.open_connection(
                str(asked.server), port, local_addr=(str(asked.own), 0)
            )
        except ConnectionRefusedError:
            if time.monotonic() > last:
                raise
            await asyncio.sleep(AGAIN)  # it may not listen yet


async def keep(cluster: Cluster, local: Local, now: Callable[[], float] = time.time) -> None:
    """Answer in every slot with a test that asks, until cancelled. For the server's node."""
    table = timetable(cluster)
    async for slot, _ in due(table, lambda test: test.consent is not None, now):
        # Those of its round, which start at the same time.
        beside = table.slots(slot.start, slot.start + table.window / 2)
        found = [question(cluster, each.test) for each in beside]
        await asyncio.sleep(max(0.0, slot.start - now()))
        try:
            await give(
                local,
                (str(cluster.server_address), cluster.bandwidth.port),
                {str(each.own) for each in found if each},
                slot.end - now(),
            )
        except OSError as error:
            log.warning("bandwidth: nobody can ask here whether training runs: %s", error)


async def give(
    local: Local, place: tuple[str, int], askers: Collection[str], seconds: float
) -> None:
    """Say at `place`, to those of `askers` who come, whether training runs, for so long."""
    asking: dict[str, asyncio.StreamWriter] = {}

    def admit(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        superseded = asking.get(peer) if peer in askers else writer
        if peer in askers:
            asking[peer] = writer
        if superseded:
            superseded.close()

    def tell(training: bool) -> None:
        for writer in asking.values():
            if not writer.is_closing():
                writer.write(BUSY if training else GO)

    async def answer() -> None:
        server = await _listening(place, admit)
        try:
            await _watched(local, tell)
        finally:
            server.close()

    try:
        await asyncio.wait_for(answer(), max(0.0, seconds))
    except asyncio.TimeoutError:
        pass  # the slot is over
    finally:
        for writer in asking.values():
            writer.close()


async def _watched(local: Local, tell: Callable[[bool], None]) -> None:
    """Tell at every look whether training runs, until cancelled; nothing while that is unknown."""
    told = False
    while True:
        try:
            async for training in local.training():
                tell(training)
        except (OSError, NotAvailableError) as error:
            if not told:
                log.warning("bandwidth: cannot tell others whether training runs: %s", error)
            told = True
        await asyncio.sleep(DURING)


async def _listening(
    place: tuple[str, int], admit: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
) -> asyncio.AbstractServer:
    """Where another slot's test was received a moment ago, perhaps."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(OSError):
            return await asyncio.start_server(admit, *place)
        await asyncio.sleep(AGAIN)
    return await asyncio.start_server(admit, *place)

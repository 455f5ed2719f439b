"""One end of one test, from the look before it to its outcome.

Whoever has to skip tells the other end in iperf's own words, so that it need not take a silence for
a fault: a server that skips answers "busy", and a client that skips hangs up without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from attrs import frozen

from smolmon.cluster import Bandwidth
from smolmon.cluster.timetable import Test
from smolmon.exporter.bandwidth.cage import caged
from smolmon.exporter.bandwidth.consent import BUSY, Leave, Question, ask
from smolmon.exporter.bandwidth.job import CONNECT_TIMEOUT, LONGEST, Answer, Job, Measurement, Role
from smolmon.exporter.bandwidth.local import Local
from smolmon.exporter.bandwidth.outcome import Aborted, Failed, Outcome, Skipped, reason_of

COOKIE = 37  # bytes that a client of iperf sends first


@frozen
class Turn:
    """One end of `test`: the client sends from `sending` on, all is over at `end` (Unix time).

    `patience` is for how many seconds a client tries again while nobody listens yet, `asked` what
    it has to ask before it sends.
    """

    test: Test
    role: Role
    sending: float
    end: float
    patience: float = CONNECT_TIMEOUT
    asked: Question | None = None

    @property
    def link(self) -> str:
        """The segment that this end is on."""
        return self.test.link if self.role is Role.SEND else self.test.target_link

    @property
    def peer(self) -> str:
        """The node at the other end."""
        return self.test.target if self.role is Role.SEND else self.test.source


async def run(
    turn: Turn,
    settings: Bandwidth,
    local: Local,
    *,
    force: bool = False,
    started: Callable[[], None] = lambda: None,
    argv: Sequence[str] | None = None,
) -> Outcome:
    """Carry `turn` out. Cancelling ends it at once, and leaves neither a process nor a port.

    `force` measures beside training and other traffic. `started` is called unless it is skipped.
    `argv` stands in for the child's command.
    """
    found = None if force else await local.reason_to_skip(turn.link)
    if found:
        await decline(turn, settings.port)
        return Outcome(reason=found[0], text=found[1])
    leave = Leave()
    if turn.asked and not force:
        # Not earlier: by the clock of who is asked, the slot may only have begun.
        await asyncio.sleep(max(0.0, turn.sending - time.time()))
        leave = await ask(turn.asked, settings.port)
    try:
        if leave.refused:
            await decline(turn, settings.port)
            return Outcome(reason=leave.refused[0], text=leave.refused[1])
        started()
        before = await local.carried(turn.link, turn.role)
        reasons = (local.reason_to_end(turn.link, force=force), leave.withdrawn())
        outcome = await _measured(turn, _job(turn, settings), local, reasons, argv)
    finally:
        leave.close()
    if outcome.reason is Skipped.UNAVAILABLE:
        await decline(turn, settings.port)
        return outcome
    if outcome.measurement or isinstance(outcome.reason, Skipped):
        return outcome
    # Without a result, what the interface carried meanwhile is the nearest there is.
    spent = await local.carried(turn.link, turn.role) - before
    return Outcome(reason=outcome.reason, text=outcome.text, bytes=max(0, spent))


def _job(turn: Turn, settings: Bandwidth) -> Job:
    return Job(
        role=turn.role,
        server=str(turn.test.target_address),
        client=str(turn.test.source_address),
        port=settings.port,
        duration=settings.duration,
        streams=settings.streams,
        rate=settings.rate,
        begin=turn.sending,
        patience=turn.patience,
        lifetime=min(max(turn.end - time.time(), 0.1), LONGEST),
    )


async def _measured(
    turn: Turn,
    job: Job,
    local: Local,
    reasons: Iterable[Coroutine[Any, Any, tuple[Aborted | Failed, str]]],
    argv: Sequence[str] | None,
) -> Outcome:
    """What comes of `job`, which ends early for the first of the `reasons` that returns."""
    child = asyncio.create_task(caged(job, argv))
    watches = [asyncio.create_task(reason) for reason in reasons]
    peer = asyncio.create_task(_peer_before(local, turn, job.port))
    try:
        await asyncio.wait((child, *watches), return_when=asyncio.FIRST_COMPLETED)
        if not child.done():
            ended, text = next(watch.result() for watch in watches if watch.done())
            return Outcome(reason=ended, text=text)
        answer = child.result()
        had_peer = peer.done() and peer.result()
    finally:
        tasks = (child, *watches, peer)
        for task in tasks:
            task.cancel()
        # Until the child is gone; a further cancellation does not make that any faster.
        await asyncio.gather(*tasks, return_exceptions=True)
    return _outcome(turn, answer, had_peer)


def _outcome(turn: Turn, answer: Answer | None, had_peer: bool) -> Outcome:
    """What the child's answer amounts to; `had_peer`: somebody had come to a server of ours."""
    if isinstance(answer, Measurement):
        if answer.peer not in ("", str(turn.test.source_address)):
            text = f"{answer.peer} came instead of {turn.peer}"
            return Outcome(reason=Failed.ERROR, text=text)
        return Outcome(answer, bytes=answer.bytes)
    if answer is None:
        return Outcome(reason=Failed.ERROR, text="the test's process gave no result")
    reason = reason_of(answer, turn.role)
    if reason is Failed.TIMEOUT and turn.role is Role.RECEIVE and not had_peer:
        return Outcome(reason=Failed.NO_CLIENT, text=f"{turn.peer} did not come")
    if reason is Skipped.PEER_BUSY:  # libiperf has other words for it, which do not say so
        return Outcome(reason=reason, text=f"{turn.peer} does not take part")
    return Outcome(reason=reason, text=answer.text)


async def _peer_before(local: Local, turn: Turn, port: int) -> bool:
    """Whether the other end came, found out shortly before the time is over."""
    if turn.role is not Role.RECEIVE:
        return False
    await asyncio.sleep(max(0.0, turn.end - time.time() - 0.5))
    return await local.has_peer(port)


async def decline(turn: Turn, port: int) -> None:
    """Let the other end know that this one skips. Never fails: it is a courtesy."""
    remaining = turn.end - time.time()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        if turn.role is Role.RECEIVE:
            await asyncio.wait_for(_say_busy(str(turn.test.target_address), port), remaining)
        else:
            await asyncio.sleep(max(0.0, turn.sending - time.time()))
            await _hang_up(turn, port)


async def _say_busy(address: str, port: int) -> None:
    told = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            # Closing with unread data would send a reset, which may overtake the answer.
            await asyncio.wait_for(reader.readexactly(COOKIE), 1.0)
            writer.write(BUSY)
            await writer.drain()
        writer.close()
        told.set()

    server = await asyncio.start_server(answer, address, port, backlog=1)
    async with server:
        await told.wait()


async def _hang_up(turn: Turn, port: int) -> None:
    address = str(turn.test.target_address)
    for _ in range(int(turn.patience / 0.2) + 1):
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(
                    address, port, local_addr=(str(turn.test.source_address), 0)
                ),
                CONNECT_TIMEOUT,
            )
        except ConnectionRefusedError:
            await asyncio.sleep(0.2)  # it may not listen yet
            continue
        writer.close()
        return

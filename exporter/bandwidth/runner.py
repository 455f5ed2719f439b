"""Keeps the timetable: waits for this node's slots, and sees each of them through."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import Slot, Test, parts, timetable
from smolmon.exporter.bandwidth import end
from smolmon.exporter.bandwidth.accounts import Accounts, Mine
from smolmon.exporter.bandwidth.cage import caged
from smolmon.exporter.bandwidth.consent import question
from smolmon.exporter.bandwidth.due import due
from smolmon.exporter.bandwidth.end import Turn
from smolmon.exporter.bandwidth.job import Job, Role, Trouble
from smolmon.exporter.bandwidth.local import Local
from smolmon.exporter.bandwidth.outcome import Aborted, Failed, Outcome, Result, Skipped, remedy

log = logging.getLogger(__name__)

CHECK_LIFETIME = 30.0  # seconds that a child may take to load libiperf, on a slow machine

Measure = Callable[[Turn], Awaitable[Outcome]]


class Runner:
    """This node's part in the timetable. Lives on one event loop.

    `available` tells whether libiperf can be loaded; None before that is known. `busy` is the link
    that a test of this node uses right now.
    """

    def __init__(
        self,
        cluster: Cluster,
        node: str,
        local: Local,
        measure: Measure | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self.timetable = timetable(cluster)
        self.mine = tuple(_mine(each, node) for each in self._tests() if self._takes_part(each))
        self.parts = {each.test: parts(cluster, each.test) for each in self.mine}
        self._questions = {each.test: question(cluster, each.test) for each in self.mine}
        self.accounts = Accounts(self.mine, now)
        self.available: bool | None = None
        self.busy: str | None = None
        self._settings = cluster.bandwidth
        self._local = local
        self._measure = measure or self._run_end
        self._now = now

    def take_over(self, other: Runner) -> None:
        """Go on counting where `other`, which has stopped, left off."""
        self.accounts.take_over(other.accounts)
        self.available = other.available

    async def run(self) -> None:
        """Go on until cancelled."""
        if self.mine and self.available is None:
            await self.check()
        async for slot, late in due(self.timetable, self._takes_part, self._now):
            if late:
                self._account(slot, Outcome(reason=Skipped.MISSED, text="its slot was over"))
            else:
                await self._one(slot)

    async def check(self) -> None:
        """Find out whether libiperf can be loaded, and say so once."""
        try:
            answer = await caged(Job(Role.CHECK, lifetime=CHECK_LIFETIME))
        except OSError:  # no process can be started just now; the first test will tell
            return
        self._note(answer.text if isinstance(answer, Trouble) else "")

    async def _one(self, slot: Slot) -> None:
        mine = _mine(slot.test, self._node)
        asked = self._questions.get(slot.test) if mine.role is Role.SEND else None
        turn = Turn(slot.test, mine.role, slot.sending, slot.end, asked=asked)
        try:
            if self._is_too_dear(mine):
                await end.decline(turn, self._settings.port)
                outcome = Outcome(reason=Skipped.BUDGET, text="the day's bytes are spent")
            else:
                outcome = await self._measure(turn)
        except asyncio.CancelledError:
            self._account(slot, Outcome(reason=Aborted.STOPPED, text="the exporter stopped"))
            raise
        except Exception as error:  # a test must never end the exporter
            outcome = Outcome(reason=Failed.ERROR, text=str(error) or type(error).__name__)
        finally:
            self.busy = None
        self._account(slot, outcome)

    async def _run_end(self, turn: Turn) -> Outcome:
        def started() -> None:
            self.busy = turn.link

        return await end.run(turn, self._settings, self._local, started=started)

    def _is_too_dear(self, mine: Mine) -> bool:
        budget = self._settings.daily_budget
        if budget is None:
            return False
        last = self.accounts.of[mine.key].last
        rate = last.rate if last else self._settings.rate or mine.test.expected
        return self.accounts.spent + rate * self._settings.duration > budget

    def _account(self, slot: Slot, outcome: Outcome) -> None:
        mine = _mine(slot.test, self._node)
        self.accounts.add(mine, outcome)
        if outcome.reason is Skipped.UNAVAILABLE:
            self._note(outcome.text)
            return
        if outcome.measurement:
            self._note("")
        where = f"bandwidth {slot.test.name} over {mine.link}"
        if outcome.measurement:
            log.info("%s: %.1f Mbit/s", where, outcome.measurement.rate * 8 / 1e6)
        elif outcome.result is not Result.SKIPPED or outcome.reason is Skipped.MISSED:
            log.warning("%s: %s: %s", where, outcome.result.value, outcome.text)
        else:
            log.info("%s: skipped: %s", where, outcome.text)

    def _note(self, trouble: str) -> None:
        available = not trouble
        if self.available != available and (trouble or self.available is False):
            said = f"no tests: {trouble}; {remedy(trouble)}" if trouble else "tests again"
            log.warning("bandwidth: %s", said)
        self.available = available

    def _takes_part(self, test: Test) -> bool:
        return self._node in (test.source, test.target)

    def _tests(self) -> Iterator[Test]:
        return (test for tests in self.timetable.rounds for test in tests)


def _mine(test: Test, node: str) -> Mine:
    return Mine(test, Role.SEND if test.source == node else Role.RECEIVE)

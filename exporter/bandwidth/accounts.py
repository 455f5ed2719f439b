"""What is remembered of the tests: counts, the last good results, and the day's bytes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable

from attrs import define, field, frozen

from smolmon.cluster.timetable import Test
from smolmon.exporter.bandwidth.job import Measurement, Role
from smolmon.exporter.bandwidth.outcome import (
    Aborted,
    Failed,
    Outcome,
    Reason,
    Result,
    Skipped,
)

DAY = 86400


@frozen
class Mine:
    """One of this node's tests: which end of it this is."""

    test: Test
    role: Role

    @property
    def peer(self) -> str:
        """The node at the other end."""
        return self.test.target if self.role is Role.SEND else self.test.source

    @property
    def link(self) -> str:
        """The segment that this end is on."""
        return self.test.link if self.role is Role.SEND else self.test.target_link

    @property
    def labels(self) -> dict[str, str]:
        """What tells it from this node's other tests in metrics."""
        direction = "transmit" if self.role is Role.SEND else "receive"
        return {"target": self.peer, "link": self.link, "direction": direction}

    @property
    def key(self) -> tuple[str, str, str, Role]:
        """What it is called in every version of the cluster file."""
        return self.test.source, self.test.target, self.test.link, self.role


@define
class Account:
    """What came of one test. `time` is when the last good result was, Unix time."""

    results: dict[Result, int] = field(factory=lambda: dict.fromkeys(Result, 0))
    last: Measurement | None = None
    time: float | None = None


class Accounts:
    """Lives on one event loop. A day is one of UTC; a restart opens a new account."""

    def __init__(self, mine: Iterable[Mine], now: Callable[[], float] = time.time) -> None:
        self.of = {each.key: Account() for each in mine}
        self.reasons: dict[Reason, int] = dict.fromkeys(
            itertools.chain[Reason](Skipped, Aborted, Failed), 0
        )
        self.bytes = dict.fromkeys((Role.SEND, Role.RECEIVE), 0)
        self._now = now
        self._day = 0
        self._spent = 0

    @property
    def spent(self) -> int:
        """The bytes sent and received by tests today."""
        return self._spent if self._day == int(self._now() // DAY) else 0

    def add(self, mine: Mine, outcome: Outcome) -> None:
        """One more slot is over."""
        account = self.of[mine.key]
        account.results[outcome.result] += 1
        if outcome.reason:
            self.reasons[outcome.reason] += 1
        if outcome.measurement:
            account.last, account.time = outcome.measurement, self._now()
        self.bytes[mine.role] += outcome.bytes
        self._spent = self.spent + outcome.bytes
        self._day = int(self._now() // DAY)

    def take_over(self, other: Accounts) -> None:
        """Go on where `other` left off."""
        self.of.update({key: a for key, a in other.of.items() if key in self.of})
        self.reasons, self.bytes = other.reasons, other.bytes
        self._day, self._spent = other._day, other._spent

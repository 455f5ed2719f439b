"""Addresses that must not answer: the checks that edge segments are kept apart.

Silence proves nothing by itself: a pulled cable is silent too. A check passes only while a control
address, behind the same interface, does answer.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum

from smolmon.cluster.derive import Isolation
from smolmon.exporter.echo import OpenEcho
from smolmon.exporter.pinger import Pinger, Result
from smolmon.exporter.prober import Prober

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds from check to check
ROUNDS = 3  # requests to each address in one check: one lost packet must not look like isolation
SPACING = 0.1  # seconds from round to round
TIMEOUT = 1.0  # seconds


class State(str, Enum):
    """What a check found."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


# The interface that a node uses on a segment, by the segment's name; "" where it has none now.
DeviceOf = Callable[[str], Awaitable[str]]


def judge(forbidden_answered: bool, control_answered: bool) -> State:
    """The state that follows from who answered over the segment's interface."""
    if forbidden_answered:
        return State.FAIL
    return State.PASS if control_answered else State.INCONCLUSIVE


class IsolationChecks:
    """Runs a node's isolation checks in turn. `states` lacks those whose state is not known."""

    def __init__(
        self, checks: Sequence[Isolation], open_echo: OpenEcho, device_of: DeviceOf
    ) -> None:
        self.states: Mapping[Isolation, State] = {}
        self.trouble: str | None = None
        self._checks = tuple(checks)
        self._open_echo = open_echo
        self._device_of = device_of

    async def run(self, interval: float = INTERVAL) -> None:
        """Check everything once per `interval` seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + interval
            try:
                self.states = {c: await self._check(c) for c in self._checks}
                self._note(None)
            except OSError as error:
                self.states = {}
                self._note(error.strerror or str(error))
            await asyncio.sleep(due - loop.time())

    async def _check(self, check: Isolation) -> State:
        device = await self._device_of(check.link)
        if not device:
            return State.INCONCLUSIVE
        try:
            answered = await ask(self._open_echo, device, [str(check.address), str(check.control)])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return State.INCONCLUSIVE
            raise
        return judge(*answered)

    def _note(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            log.warning("isolation: %s", trouble or "checking again")


async def ask(open_echo: OpenEcho, device: str, addresses: Sequence[str]) -> list[bool]:
    """Which of `addresses` answer over the interface `device`. Raises OSError.

    The socket is opened for this question only, so an interface that was away is found again.
    """
    pinger = Pinger(addresses, TIMEOUT)
    prober = Prober(pinger, open_echo, device, eager=True)
    prober.open()
    try:
        for _ in range(ROUNDS):
            for index in range(len(addresses)):
                prober.send(index)
            await _until_heard(prober, SPACING, enough=lambda: all(_answered(pinger)))
        await _until_heard(
            prober, TIMEOUT, enough=lambda: all(_answered(pinger)) or not pinger.in_flight
        )
    finally:
        prober.close()
    return _answered(pinger)


def _answered(pinger: Pinger) -> list[bool]:
    return [t.results[Result.REPLY] > 0 for t in pinger.tallies()]


async def _until_heard(prober: Prober, seconds: float, enough: Callable[[], bool]) -> None:
    """Wait until `enough`, `seconds` at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not enough() and (left := deadline - loop.time()) > 0:
        prober.heard.clear()
        try:
            await asyncio.wait_for(prober.heard.wait(), left)
        except asyncio.TimeoutError:
            prober.settle()

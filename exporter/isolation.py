"""Addresses that must not answer: the checks that edge segments are kept apart.

Silence proves nothing by itself: a pulled cable is silent too. A check passes only while a control
address, behind the same interface, does answer.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum

from smolmon.cluster.derive import Isolation
from smolmon.exporter.echo import Echo, OpenEcho
from smolmon.exporter.pinger import Pinger, Result

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
    echo = open_echo(device, ":" in addresses[0])
    try:
        for _ in range(ROUNDS):
            for index in range(len(addresses)):
                _send(pinger, echo, index)
            if await _all_answer(pinger, echo, SPACING):
                break
        await _all_answer(pinger, echo, TIMEOUT)
    finally:
        echo.close()
    return _answered(pinger)


def _send(pinger: Pinger, echo: Echo, index: int) -> None:
    request = pinger.begin(index)
    try:
        echo.send(request.address, request.sequence, request.payload)
    except OSError as error:
        pinger.refused(request, error)


def _answered(pinger: Pinger) -> list[bool]:
    return [t.results[Result.REPLY] > 0 for t in pinger.tallies()]


async def _all_answer(pinger: Pinger, echo: Echo, seconds: float) -> bool:
    """Whether everybody has answered, in `seconds` at most. Raises OSError."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(echo.fileno(), readable.set)
    try:
        deadline = loop.time() + seconds
        while not all(_answered(pinger)) and (left := deadline - loop.time()) > 0:
            readable.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(readable.wait(), left)
            for event in echo.receive():
                pinger.heard(event)
    finally:
        loop.remove_reader(echo.fileno())
    return all(_answered(pinger))

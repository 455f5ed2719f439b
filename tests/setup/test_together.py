"""Work on many nodes ends cleanly, also when it is interrupted."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from smolmon.setup.together import AT_ONCE, SIGNALS, run, to_the_end, together


def test_results_in_order_and_only_a_few_at_a_time():
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (20 - number))
        running -= 1
        return number

    assert asyncio.run(together(work, range(20))) == list(range(20))
    assert most == AT_ONCE


def test_when_interrupted_each_gets_to_the_end_of_its_cleaning_up():
    cleaned = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01 * number)
            cleaned.append(number)

    async def main() -> None:
        task = asyncio.ensure_future(together(work, range(4)))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert cleaned == [0, 1, 2, 3]


def test_one_that_fails_stops_the_others():
    stopped = []

    async def work(number: int) -> None:
        if number == 0:
            raise ValueError("broken")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(number)
            raise

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(together(work, range(3)))
    assert stopped == [1, 2]


def test_what_must_not_be_interrupted_tells_that_somebody_tried():
    async def work() -> str:
        await asyncio.sleep(0.02)
        return "done"

    async def main() -> tuple[str, bool]:
        task = asyncio.ensure_future(to_the_end(work()))
        await asyncio.sleep(0.001)
        task.cancel()
        return await task

    assert asyncio.run(main()) == ("done", True)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_ends_it_cancels_and_waits_for_the_cleaning_up(number):
    cleaned = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        try:
            await asyncio.sleep(60)
        finally:
            # A terminal that closes sends more than one.
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_ignored_from_outside_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        async def work() -> str:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
            return "done"

        assert run(work()) == "done"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_child_that_ended_as_it_was_killed_is_not_told_of(caplog):
    async def work() -> None:
        for words in ("Unknown child process pid %d, will report returncode 255", "Pipe %d broke"):
            logging.getLogger("asyncio").warning(words, 7)

    run(work())
    assert caplog.messages == ["Pipe 7 broke"]

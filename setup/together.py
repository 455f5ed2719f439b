"""The same work on many nodes at the same time, and a clean end when it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8  # nodes worked on at the same time
# Ctrl-C, `kill` or a shutdown, and a terminal that was closed: all three end work the same way.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextlib.contextmanager
def ended_by(handler: Handler) -> Iterator[None]:
    """Give SIGNALS to `handler`; one that is ignored from outside (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread ever gets them
        return
    found = {s: signal.getsignal(s) for s in SIGNALS}
    before = {s: h for s, h in found.items() if h not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _worth_telling(record: logging.LogRecord) -> bool:
    """Not that a child had ended by itself just when it was killed (python/cpython#87744)."""
    return not str(record.msg).startswith("Unknown child process pid")


def run(work: Coroutine[None, None, R]) -> R:
    """Run `work` to its end. SIGNALS cancel it, and it cleans up; a second Ctrl-C does not wait.

    Raises KeyboardInterrupt then, as without asyncio. Python before 3.11 would stop in the middle
    of the event loop instead.
    """

    logging.getLogger("asyncio").addFilter(_worth_telling)

    async def interruptible() -> R:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we run in one
        handled = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
        began = False

        def interrupted(number: signal.Signals) -> None:
            nonlocal began
            if number == signal.SIGINT:
                loop.remove_signal_handler(number)
            # Once: a terminal that closes says so more than once, and cleaning up goes on.
            if not began:
                began = True
                task.cancel()

        for number in handled:
            loop.add_signal_handler(number, interrupted, number)
        try:
            return await work
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.default_int_handler)  # while the loop winds up

    # The event loop leaves the default behind, not what it found.
    with ended_by(signal.default_int_handler):
        try:
            return asyncio.run(interruptible())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def together(work: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """The results of `work` in the order of `items`, a few at a time.

    When it is cancelled, all of the work is, and each gets to the end of its own cleaning up:
    `asyncio.gather` alone returns as soon as the first of them is through.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> R:
        async with limit:
            return await work(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        await asyncio.wait(tasks)  # gather has cancelled them
        raise
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


async def to_the_end(work: Awaitable[R]) -> tuple[R, bool]:
    """The result of `work`, which is not interrupted, and whether somebody tried to."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task), False
    except asyncio.CancelledError:
        return await task, True

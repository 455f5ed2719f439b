"""The same work on many nodes at the same time, and a clean end when it is interrupted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8  # nodes worked on at the same time


def run(work: Coroutine[None, None, R]) -> R:
    """Run `work` to its end. Ctrl-C cancels it, and it cleans up; a second one does not wait.

    Raises KeyboardInterrupt then, as without asyncio. Python before 3.11 would stop in the middle
    of the event loop instead.
    """

    async def interruptible() -> R:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we run in one

        def interrupted() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            task.cancel()

        loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            return await work
        finally:
            loop.remove_signal_handler(signal.SIGINT)

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

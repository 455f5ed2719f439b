"""What is observed ends when it is told to."""

import asyncio
from types import SimpleNamespace

import pytest

from smolmon.exporter.observer import Observer


def test_a_check_that_swallows_its_cancellation_ends_all_the_same():
    """As asyncio.wait_for() may make it, before Python 3.12."""

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    async def main():
        observer = Observer.__new__(Observer)
        closed = asyncio.Event()
        observer.prober = SimpleNamespace(close=closed.set)
        observer._bandwidth = None
        observer._loops = lambda interval: iter([stubborn()])
        running = asyncio.create_task(observer.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 5)
        assert closed.is_set()

    asyncio.run(main())

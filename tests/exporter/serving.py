"""The HTTP server on a loop of its own, in a thread."""

import asyncio
import threading
from contextlib import contextmanager

from smolmon.exporter import web


@contextmanager
def serving(pages, *arguments, **options):
    """A server of `pages`; the port it listens on."""
    sock = web.listener("127.0.0.1", 0)
    port = sock.getsockname()[1]
    loop = asyncio.new_event_loop()

    async def main():
        started.set()
        await web.Server(sock, pages, *arguments, **options).run()

    started = threading.Event()
    task = loop.create_task(main())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    assert started.wait(5)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)
        assert not thread.is_alive()
        assert task.cancelled()
        loop.close()

"""Makes ports of the controller reachable from the host's own browser.

The sockets that listen are made on the host; the process that serves them then moves into the
controller's network namespace and connects from there. The host's network is not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from smolmon.lab.place import Lab

CLONE_NEWNET = 0x40000000  # linux/sched.h
CHUNK = 1 << 16


def listen(preferred: int) -> socket.socket:
    """A listening socket on the host's loopback: `preferred`, or any free port."""
    for port in (preferred, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            if port == 0:
                raise
            continue
        listener.listen(64)
        return listener
    raise AssertionError  # the last port was 0


def wide(port: int) -> socket.socket:
    """A listening socket on every address: for a container, whose engine shows it to its host."""
    return socket.create_server(("0.0.0.0", port))  # noqa: S104


def url(listener: socket.socket) -> str:
    """The address to type into a browser."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def start(lab: Lab, namespace: Path, ports: Sequence[tuple[socket.socket, int]]) -> None:
    """Start the process that relays each listener to its port in `namespace`; it outlives us."""
    pairs = [f"{listener.fileno()}:{port}" for listener, port in ports]
    with lab.log("forward").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", "smolmon.lab.forward", str(namespace), *pairs],
            pass_fds=[listener.fileno() for listener, _ in ports],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def enter(namespace: Path) -> None:
    """Move this process into a network namespace; sockets it has already stay where they are."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(namespace))
    finally:
        os.close(descriptor)


async def relay(pairs: Sequence[tuple[socket.socket, int]]) -> None:
    """Serve for ever."""
    servers = [
        await asyncio.start_server(partial(_serve, port), sock=listener) for listener, port in pairs
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _serve(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there, back = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # not started (yet)
        writer.close()
        return
    try:
        await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
    finally:
        back.close()
        writer.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more, then say so: the other direction goes on."""
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


if __name__ == "__main__":
    inherited = [pair.split(":") for pair in sys.argv[2:]]
    listeners = [(socket.socket(fileno=int(number)), int(port)) for number, port in inherited]
    enter(Path(sys.argv[1]))
    asyncio.run(relay(listeners))

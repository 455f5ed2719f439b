"""Runs the tools of macOS: by absolute path, for a bounded time, reading a bounded answer."""

from __future__ import annotations

import errno
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

TIMEOUT = 5.0  # seconds; all but system_profiler answer in milliseconds
LIMIT = 4 << 20  # bytes; a routing table of 40,000 rows fits
_CHUNK = 1 << 16


class Run(Protocol):
    """Runs a program and gives back what it prints on standard output. Raises OSError."""

    def __call__(self, argv: Sequence[str], timeout: float = TIMEOUT) -> str:
        """`argv` holds the absolute path and the arguments; `timeout` is in seconds."""


def run(argv: Sequence[str], timeout: float = TIMEOUT, limit: int = LIMIT) -> str:
    """A :class:`Run`. In the C locale, without standard input; what it says on stderr is lost.

    Raises OSError for a program that is not there, takes longer than `timeout`, says more than
    `limit` bytes or fails; it does not go on running then.
    """
    name = Path(argv[0]).name
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"},
    )
    deadline = time.monotonic() + timeout
    with process:
        try:
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            answer = _read(process.stdout, name, deadline, limit)
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(errno.ETIMEDOUT, f"{name} does not end") from error
        finally:
            process.kill()  # nothing to those that have ended
    if status != 0:
        raise OSError(errno.EIO, f"{name} ended with status {status}")
    return answer.decode("utf-8", "replace")


def _read(pipe: IO[bytes], name: str, deadline: float, limit: int) -> bytes:
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(errno.ETIMEDOUT, f"{name} does not answer")
            chunk = os.read(pipe.fileno(), _CHUNK)
            if not chunk:
                return bytes(answer)
            answer += chunk
            if len(answer) > limit:
                raise OSError(errno.EFBIG, f"{name} says more than {limit} bytes")

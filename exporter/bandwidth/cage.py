"""Starts the child process, and sees that it ends: answered, late, cancelled or dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence

import smolmon
from smolmon.exporter.bandwidth.job import Answer, Job, Trouble, answer_from_json

# Not by the command line: what that loads costs a Raspberry Pi a second, and the slot is waiting.
_CHILD = """\
import sys
sys.path.insert(0, sys.argv[1])
from smolmon.exporter.bandwidth.child import main
main()
"""


def command() -> list[str]:
    """This very smolmon, as another process: from the agent's one file, or from a checkout."""
    return [sys.executable, "-c", _CHILD, os.path.dirname(smolmon.__path__[0])]  # noqa: PTH120


async def caged(job: Job, argv: Sequence[str] | None = None) -> Answer | None:
    """What came of `job`; None says that it was a check, and libiperf is there.

    Cancelling kills the child. It is gone when this returns, whatever happened.
    """
    process = await asyncio.create_subprocess_exec(
        *(argv or command()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C on a terminal is the parent's to handle
    )
    try:
        out, status = await asyncio.wait_for(_answered(process, job), job.lifetime)
    except asyncio.TimeoutError:
        return Trouble("did not end in time", late=True)
    finally:
        await _gone(process)
    # The answer is the last line; before it may stand what libiperf, or Python, complained of.
    last = (out.decode(errors="replace").strip().splitlines() or [f"exit status {status}"])[-1]
    try:
        return answer_from_json(last)
    except ValueError:
        pass
    if status < 0:
        return Trouble(f"the test's process was ended by signal {-status}", killed=True)
    return Trouble(f"the test's process failed: {last[:200]}")


async def _answered(process: asyncio.subprocess.Process, job: Job) -> tuple[bytes, int]:
    """All that it printed, and its exit status."""
    assert process.stdin is not None  # noqa: S101 - pipes, as asked for
    assert process.stdout is not None  # noqa: S101
    # It stays open: the child ends when it closes.
    process.stdin.write(job.as_json().encode() + b"\n")
    out = await process.stdout.read()
    return out, await process.wait()


async def _gone(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    # A second cancellation must not leave it behind either: it dies of the kill in any case.
    await process.wait()
    if process.stdin:
        process.stdin.close()

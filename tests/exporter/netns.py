"""Two network namespaces joined by a cable, for tests against the real kernel.

`A` is the node under test, `B` everything else; `C` is for whoever needs a third. Their names carry
this process's number, so that runs do not meet, and what a killed run left behind is found and
removed by the next.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

PREFIX = "smt-"
A, B, C = (f"{PREFIX}{os.getpid()}-{end}" for end in "abc")
CLONE_NEWNET = 0x40000000


def require_root() -> None:
    """Skip where the machine cannot run these tests; never where it must be able to."""
    missing = [p for p in ("ip", "nft") if not shutil.which(p)]
    reason = "needs root" if os.geteuid() else f"needs {' and '.join(missing)}" if missing else ""
    if reason:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def sh(namespace: str, *argv: str) -> None:
    """Run a command in a namespace; it must succeed."""
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (argv, done.stderr)


def ip(namespace: str, command: str) -> None:
    sh(namespace, "ip", *command.split())


def nft(namespace: str, command: str) -> None:
    sh(namespace, "nft", *command.split(" ", 3))


@contextmanager
def cable(a: str, b: str) -> Iterator[None]:
    """The namespaces, with the addresses of pi5 and of its gateway mini1 on eth0 and en5."""
    remove()
    try:
        for name in (A, B):
            subprocess.run(["ip", "netns", "add", name], check=True)
            ip(name, "link set lo up")
            # What systemd sets at boot on a distribution.
            sh(name, "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
            # Else only the first six ICMP errors come at once, then one a second.
            sh(name, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
        plug(a, b)
        yield
    finally:
        remove()


def plug(a: str, b: str) -> None:
    """Put the cable in: eth0 of A with address `a` to en5 of B with address `b`."""
    ip(A, f"link add eth0 type veth peer name en5 netns {B}")
    ip(B, f"addr add {b} dev en5")
    ip(B, "link set en5 up")
    ip(A, f"addr add {a} dev eth0")
    ip(A, "link set eth0 up")


def remove() -> None:
    """Remove our namespaces, and those of runs that are no more."""
    for path in Path("/run/netns").glob(f"{PREFIX}*"):
        owner = path.name.removeprefix(PREFIX).partition("-")[0]
        if path.name in (A, B, C) or not Path(f"/proc/{owner}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)


def inside(namespace: str, function: Callable[[], T]) -> T:
    """What `function` returns when a thread in that namespace calls it."""
    outcome: list[T] = []
    trouble: list[BaseException] = []

    def body() -> None:
        try:
            enter(namespace)
            outcome.append(function())
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(60)
    if trouble:
        raise trouble[0]
    return outcome[0]


def enter(namespace: str) -> None:
    """Move the calling thread into a namespace (os.setns is not in Python 3.10 and 3.11)."""
    with Path(f"/run/netns/{namespace}").open("rb") as handle:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def until(condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Wait until `condition` holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return value


def raw_icmp() -> socket.socket:
    """Every ICMP packet that B receives."""
    return inside(B, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))

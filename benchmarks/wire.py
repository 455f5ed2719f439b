"""Two network namespaces joined by a cable, and what really went over it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

A, B = "smb-a", "smb-b"
DEVICE = "eth0"
CLONE_NEWNET = 0x40000000
SO_TIMESTAMPNS, SO_RCVBUFFORCE, ETH_P_ALL = 35, 33, 3
BUFFER = 1 << 29  # bytes: the capture is read when the run is over, so that it costs it nothing

# What the wire saw: for each address, (sequence number, seconds or None) of each echo request.
Truth = dict[str, list[tuple[int, float | None]]]


def addresses(count: int) -> list[str]:
    """The first addresses of the far end."""
    return [f"10.77.{i // 250}.{i % 250 + 2}" for i in range(count)]


def inside(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in the near namespace."""
    return ["ip", "netns", "exec", A, *argv]


@contextmanager
def cable(count: int) -> Iterator[None]:
    """The namespaces, the far end with `count` addresses. Names are fixed: one run at a time."""
    _remove()
    try:
        for name in (A, B):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", A, "link", "add", DEVICE, "type", "veth", "peer", "name", "en5")
        _run("ip", "-n", A, "link", "set", "en5", "netns", B)
        batch = "\n".join(f"address add {a}/16 dev en5" for a in addresses(count))
        _run("ip", "-n", B, "-batch", "-", text=batch)
        _run("ip", "-n", A, "address", "add", "10.77.255.254/16", "dev", DEVICE)
        _run("ip", "-n", B, "link", "set", "en5", "up")
        _run("ip", "-n", A, "link", "set", DEVICE, "up")
        _run(*inside(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"]))
        yield
    finally:
        _remove()


@contextmanager
def capture(folder: Path) -> Iterator[Callable[[], Truth]]:
    """Record the echo packets at the near end's interface; call the result when all are through."""
    out = folder / "capture.json"
    process = subprocess.Popen(
        inside([sys.executable, "-m", "benchmarks.wire", str(out)]), stdout=subprocess.PIPE
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker
    process.stdout.readline()

    def stop() -> Truth:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        found: Truth = json.loads(out.read_text())
        return found

    try:
        yield stop
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def enter() -> None:
    """Move the calling thread into the near namespace."""
    with Path(f"/run/netns/{A}").open("rb") as handle:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def _record(out: Path) -> None:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind((DEVICE, ETH_P_ALL))
    sock.setblocking(False)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.sigwait([signal.SIGTERM])

    left: dict[tuple[str, int, int], int] = {}  # when a request left, by address and numbers
    place: dict[tuple[str, int, int], int] = {}
    found: Truth = {}
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(256, 256)
        except BlockingIOError:
            break
        if len(data) < 28 or data[0] >> 4 != 4 or data[9] != socket.IPPROTO_ICMP:
            continue
        icmp = data[(data[0] & 15) * 4 :]
        kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", icmp)
        [stamp] = [d for level, k, d in ancillary if k == SO_TIMESTAMPNS]
        seconds, nanoseconds = struct.unpack_from("@ll", stamp)
        now = seconds * 10**9 + nanoseconds
        far = socket.inet_ntoa(data[16:20] if kind == 8 else data[12:16])
        key = (far, identifier, sequence)
        if kind == 8:
            left[key] = now
            place[key] = len(found.setdefault(far, []))
            found[far].append((sequence, None))
        elif kind == 0 and key in left:
            found[far][place.pop(key)] = (sequence, (now - left.pop(key)) / 1e9)
    out.write_text(json.dumps(found))


def _run(*argv: str, text: str | None = None) -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")


def _remove() -> None:
    for name in (A, B):
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def require_root() -> None:
    """Say in one line what is missing."""
    if os.geteuid():
        sys.exit("benchmarks make network namespaces and capture packets: run them as root")


if __name__ == "__main__":
    _record(Path(sys.argv[1]))

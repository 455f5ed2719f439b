"""Wires that are late, slow or full, in network namespaces of their own; needs root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from smolmon.lab import flood, wire
from smolmon.lab.wire import Port, Wire
from tests.exporter.netns import require_root

pytestmark = pytest.mark.lab


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Two network namespaces, which are no machines of a lab."""
    require_root()
    names = f"wire-a-{os.getpid()}", f"wire-b-{os.getpid()}"
    monkeypatch.setattr(wire, "namespace", str)
    try:
        for name in names:
            run("ip", "netns", "add", name)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def test_a_wire_is_as_late_and_as_slow_as_it_is_told_and_ends_with_its_taps(
    ends: tuple[str, str],
) -> None:
    a, b = ends
    one = Wire((Port(a, "tap0", 100), Port(b, "tap1", full_duplex=False)), 0.02)
    laid = threading.Event()
    ended = threading.Event()

    def serve() -> None:  # setns(2) moves this thread alone
        taps = wire.open_tap(one.ends[0]), wire.open_tap(one.ends[1])
        laid.set()
        try:
            wire.relay(taps, one.delay)
        except OSError:
            pass
        finally:
            ended.set()
            for tap in taps:
                os.close(tap)

    threading.Thread(target=serve, daemon=True).start()
    assert laid.wait(10)
    # It may get the name of what it replaces.
    run("ip", "-n", a, "link", "set", "tap0", "name", "eth0")
    for name, device, address in ((a, "eth0", "198.18.0.1/24"), (b, "tap1", "198.18.0.2/24")):
        run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", name, "address", "add", address, "dev", device)
    said = run("ip", "netns", "exec", a, "ping", "-q", "-c", "3", "-i", "0.2", "198.18.0.2")
    assert float(re.findall(r"rtt \S+ = ([0-9.]+)/", said)[0]) >= 2 * one.delay * 1000

    def told(name: str, device: str) -> list[str]:
        folder = f"/sys/class/net/{device}"
        found = run("ip", "netns", "exec", name, "cat", f"{folder}/speed", f"{folder}/duplex")
        return found.split()

    assert told(a, "eth0") == ["100", "full"]
    assert told(b, "tap1") == ["10000", "half"]
    run("ip", "-n", a, "link", "delete", "eth0")
    assert ended.wait(10)


def test_a_flood_fills_a_wire_and_stops(ends: tuple[str, str]) -> None:
    a, b = ends
    run("ip", "link", "add", "full0", "netns", a, "type", "veth", "peer", "full1", "netns", b)
    run("ip", "-n", a, "link", "set", "full0", "up")
    run("ip", "-n", b, "link", "set", "full1", "up")
    limit = ("rate", "100mbit", "burst", "1mb", "limit", "400kb")
    run("ip", "netns", "exec", a, "tc", "qdisc", "add", "dev", "full0", "root", "tbf", *limit)
    run("ip", "netns", "exec", a, sys.executable, "-m", "smolmon.lab.flood", "full0", "0.5")
    counter = "/sys/class/net/full1/statistics/rx_bytes"
    arrived = int(run("ip", "netns", "exec", b, "cat", counter))
    assert 1_000_000 < arrived < 12_500_000  # not more than a second of that rate


def test_a_frame_of_the_flood_is_cut_up_where_tcp_would_be() -> None:
    data = flood.frame(bytes(6))
    header, frame = data[:10], data[10:]
    assert len(frame) == flood.SIZE
    assert header[2:4] == (54).to_bytes(2, "little")
    ip = frame[14:34]
    total = sum(int.from_bytes(ip[i : i + 2], "big") for i in range(0, 20, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # RFC 1071

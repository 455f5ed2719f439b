"""Pings as the exporter does it, or with icmplib, in a process of its own; prints what it saw.

The process loads all of the exporter, so that its memory is the exporter's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import icmplib

import smolmon.exporter.run as exporter
from benchmarks.wire import addresses
from smolmon.exporter.echo_linux import LinuxEcho
from smolmon.exporter.host import this_host
from smolmon.exporter.pinger import Pinger
from smolmon.exporter.prober import Prober

ALL_OF_IT = exporter, this_host()


def main(argv: Sequence[str]) -> None:
    who, count, period, rounds, busy = argv
    burner = threading.Thread(target=_burn, daemon=True)
    if busy == "busy":
        burner.start()

    def paid() -> float:
        """CPU seconds of all threads but the one that only keeps the process busy."""
        burnt = time.pthread_getcpuclockid(burner.ident) if burner.ident else None
        return time.process_time() - (time.clock_gettime(burnt) if burnt is not None else 0.0)

    run = with_smolmon if who == "smolmon" else with_icmplib
    seen, cpu, probes = run(addresses(int(count)), float(period), int(rounds), paid)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [rss] = [int(x.split()[1]) for x in status.splitlines() if x.startswith("VmRSS:")]
    json.dump({"seen": seen, "cpu": cpu, "probes": probes, "rss_mb": rss / 1024}, sys.stdout)


def with_smolmon(
    targets: list[str], period: float, rounds: int, cpu: Callable[[], float]
) -> tuple[list[tuple[str, int, float]], float, int]:
    """(address, sequence number, seconds) of each reply; CPU seconds, and what they paid for."""
    seen: list[tuple[str, int, float]] = []
    pinger = Pinger(targets, 1.0, limits=[0.0005] * len(targets))
    pinger.observe = lambda index, sequence, rtt: seen.append((targets[index], sequence, rtt))

    async def go() -> tuple[float, int]:
        prober = Prober(pinger, LinuxEcho)
        task = asyncio.ensure_future(prober.run(period))
        gc.freeze()  # as the exporter does
        await asyncio.sleep(period * 1.5)  # the first round pays for opening the socket
        before, start = _accounted(pinger), cpu()
        await asyncio.sleep(period * rounds)
        prober.settle()
        paid, done = cpu() - start, _accounted(pinger) - before
        task.cancel()
        await asyncio.wait((task,))
        prober.close()
        return paid, done

    paid, done = asyncio.run(go())
    return seen, paid, done


def with_icmplib(
    targets: list[str], period: float, rounds: int, cpu: Callable[[], float]
) -> tuple[list[tuple[str, int, float]], float, int]:
    """The same with icmplib.ping(), one target, round trips in order."""
    start = cpu()
    host = icmplib.ping(targets[0], count=rounds, interval=period, timeout=1, privileged=False)
    paid = cpu() - start
    return [(targets[0], -1, rtt / 1000) for rtt in host.rtts], paid, rounds


def _accounted(pinger: Pinger) -> int:
    return sum(t.requests for t in pinger.tallies())


def _burn() -> None:
    while True:
        pass


if __name__ == "__main__":
    main(sys.argv[1:])

"""The probers that are compared: each runs for a while and says what it saw and what it took.

Programs of Debian are unpacked into the cache folder as `scripts/tools` does; nothing is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.wire import addresses, inside

BLACKBOX_MODULES = """\
modules: {icmp: {prober: icmp, timeout: 1s, icmp: {preferred_ip_protocol: ip4}}}
"""


@frozen
class Seen:
    """What a prober said: (address, sequence number or -1 for `in order`, seconds) for each reply.

    `cpu` is in seconds, for `probes` echo requests.
    """

    replies: Sequence[tuple[str, int, float]]
    cpu: float
    probes: int
    rss_mb: float


Run = Callable[[int, float, int, bool], Seen]  # targets, period in seconds, rounds, busy


def smolmon(targets: int, period: float, rounds: int, busy: bool) -> Seen:
    """The exporter's own pings."""
    return _python("smolmon", targets, period, rounds, busy)


def icmplib(targets: int, period: float, rounds: int, busy: bool) -> Seen:
    """icmplib.ping()."""
    return _python("icmplib", targets, period, rounds, busy)


def ping(targets: int, period: float, rounds: int, busy: bool) -> Seen:
    """ping(8), one target."""
    [to] = addresses(targets)
    argv = ["ping", "-n", "-i", str(period), "-c", str(rounds), to]
    text, cpu, rss = _finish(argv, period, rounds, busy)
    found = re.findall(r"icmp_seq=(\d+) .* time=([0-9.]+) ms", text)
    return Seen([(to, int(s), float(ms) / 1000) for s, ms in found], cpu, rounds - 3, rss)


def fping(targets: int, period: float, rounds: int, busy: bool) -> Seen:
    """fping, all targets from one process."""
    to = addresses(targets)
    argv = ["fping", "-i", "1", "-p", str(round(period * 1000)), "-c", str(rounds), *to]
    text, cpu, rss = _finish(argv, period, rounds, busy)
    found = re.findall(r"^(\S+) *: \[\d+\], .* ([0-9.]+) ms \(", text, re.MULTILINE)
    return Seen([(a, -1, float(ms) / 1000) for a, ms in found], cpu, targets * (rounds - 3), rss)


def smokeping_prober(targets: int, period: float, rounds: int, busy: bool) -> Seen:
    """smokeping_prober: round trips from its debug log, cost from a run without that."""
    program = debian("prometheus-smokeping-prober")
    with tempfile.TemporaryDirectory() as folder, _load(busy):
        config = Path(folder) / "smokeping.yml"
        config.write_text(
            f"targets: [{{hosts: {json.dumps(addresses(targets))}, protocol: icmp, "
            f"network: ip4, interval: {round(period * 1000)}ms}}]\n"
        )
        argv = [program, f"--config.file={config}", "--web.listen-address=127.0.0.1:9374"]
        with tempfile.TemporaryFile("w+") as log:
            with _server([*argv, "--log.level=debug"], log):
                time.sleep(period * (rounds + 1))
            log.seek(0)
            found = re.findall(r"ip_addr=(\S+) .*icmp_seq=(\d+) time=(\S+)", log.read())
        with tempfile.TemporaryFile("w+") as log, _server(argv, log) as p:
            time.sleep(period * 2)
            before = cpu_of(p)
            time.sleep(period * rounds)
            cpu, rss = cpu_of(p) - before, rss_of(p)
    return Seen([(a, int(s), _go(t)) for a, s, t in found], cpu, targets * rounds, rss)


def blackbox_exporter(targets: int, period: float, rounds: int, busy: bool) -> Seen:
    """blackbox_exporter, asked for each target in turn."""
    program = debian("prometheus-blackbox-exporter")
    client = f"""
import json, time, urllib.request
seen = []
def ask(to):
    url = "http://127.0.0.1:9115/probe?module=icmp&target=" + to
    for line in urllib.request.urlopen(url).read().decode().splitlines():
        if line.startswith('probe_icmp_duration_seconds{{phase="rtt"}}'):
            seen.append((to, -1, float(line.split()[1])))
start = time.monotonic()
for i in range({rounds}):
    for to in {addresses(targets)!r}:
        ask(to)
    time.sleep(max(0, start + (i + 1) * {period} - time.monotonic()))
print(json.dumps(seen))
"""
    with tempfile.TemporaryDirectory() as folder:
        modules = Path(folder) / "modules.yml"
        modules.write_text(BLACKBOX_MODULES)
        argv = [program, f"--config.file={modules}", "--web.listen-address=127.0.0.1:9115"]
        with tempfile.TemporaryFile("w+") as log, _load(busy), _server(argv, log) as p:
            _wait_for(log, "Listening on")
            before = cpu_of(p)
            asked = subprocess.run(
                inside([sys.executable, "-c", client]), stdout=subprocess.PIPE, check=True
            )
            cpu, rss = cpu_of(p) - before, rss_of(p)
    return Seen([tuple(x) for x in json.loads(asked.stdout)], cpu, targets * rounds, rss)


ALL: Mapping[str, Run] = {
    "smolmon": smolmon,
    "ping": ping,
    "fping": fping,
    "icmplib": icmplib,
    "smokeping_prober": smokeping_prober,
    "blackbox_exporter": blackbox_exporter,
}
ONE_TARGET = ("ping", "icmplib")  # they ping one address at a time


def missing() -> list[str]:
    """What has to be installed first."""
    return [
        f"{p} ({d})"
        for p, d in (("ping", "iputils-ping"), ("fping", "fping"))
        if not shutil.which(p)
    ]


def debian(package: str) -> str:
    """The program of that name, on PATH or out of the distribution's package."""
    if there := shutil.which(package):
        return there
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "smolmon"
    tools = Path(os.environ.get("SMOLMON_CACHE", home)) / "tools"
    program = tools / package
    if not program.exists():
        tools.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tools) as work:
            subprocess.run(["chmod", "777", work], check=True)
            got = subprocess.run(
                ["apt-get", "download", package], cwd=work, capture_output=True, check=False
            )
            if got.returncode:
                sys.exit(f"cannot download {package}: {got.stderr.decode().strip()}")
            [deb] = Path(work).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", str(deb), f"{work}/out"], check=True)
            Path(f"{work}/out/usr/bin/{package}").rename(program)
    return str(program)


def _python(who: str, targets: int, period: float, rounds: int, busy: bool) -> Seen:
    argv = [sys.executable, "-m", "benchmarks.ours", who, str(targets), str(period), str(rounds)]
    done = subprocess.run(
        inside([*argv, "busy" if busy else "idle"]), stdout=subprocess.PIPE, check=True
    )
    found = json.loads(done.stdout)
    replies = [(str(a), int(s), float(rtt)) for a, s, rtt in found["seen"]]
    return Seen(replies, found["cpu"], found["probes"], found["rss_mb"])


def _finish(
    argv: Sequence[str], period: float, rounds: int, busy: bool
) -> tuple[str, float, float]:
    """Run a program that ends by itself: output, CPU seconds of all but three rounds, memory."""
    with _load(busy), tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(inside(argv), stdout=out, stderr=subprocess.DEVNULL)
        time.sleep(period * 1.5)
        before = cpu_of(process.pid)
        time.sleep(period * (rounds - 3))
        cpu, rss = cpu_of(process.pid) - before, rss_of(process.pid)
        process.wait()
        out.seek(0)
        return out.read(), cpu, rss


@contextmanager
def _load(busy: bool) -> Iterator[None]:
    """Keep one core busy, with a process of its own."""
    if not busy:
        yield
        return
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        burner.kill()
        burner.wait()


@contextmanager
def _server(argv: Sequence[str], log: object) -> Iterator[int]:
    """A running program: its process id (ip netns exec becomes it)."""
    process = subprocess.Popen(inside(argv), stdout=log, stderr=log)  # type: ignore[call-overload]
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(log: object, text: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        log.seek(0)  # type: ignore[attr-defined]
        if text in log.read():  # type: ignore[attr-defined]
            return
        if time.monotonic() > deadline:
            sys.exit(f"a program did not say `{text}` within 10 s")
        time.sleep(0.05)


def cpu_of(pid: int) -> float:
    """CPU seconds that all threads have used, to the nanosecond (proc(5), schedstat)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(t.read_text().split()[0]) for t in tasks) / 1e9


def rss_of(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("VmRSS:")) / 1024


def _go(text: str) -> float:
    """A duration as Go prints it (`123.4µs`, `1.2ms`), in seconds."""
    for unit, factor in (("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9), ("s", 1.0)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    raise ValueError(text)

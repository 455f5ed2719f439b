"""Bandwidth tests over a shaped wire between two namespaces, with the real libiperf."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smolmon.cluster import Cluster, parse
from smolmon.cluster.timetable import between
from smolmon.exporter.bandwidth import end
from smolmon.exporter.bandwidth.end import Turn
from smolmon.exporter.bandwidth.job import Role
from smolmon.exporter.bandwidth.local import Local
from smolmon.exporter.bandwidth.outcome import Aborted, Failed, Outcome, Result, Skipped
from smolmon.exporter.system_linux import LinuxSystem
from tests.exporter import netns
from tests.exporter.netns import A, B, cable, inside, ip, nft, sh, until

PI5, MINI1 = "192.168.50.2", "192.168.50.1"
WIRE = 200e6 / 8  # bytes per second, each way
PORT = 9743
TEXT = """
cluster: pair
server: {node: mini1, segment: edge50}
nodes:
  mini1: {platform: linux, management: 192.168.1.11}
  pi5: {platform: linux, management: 192.168.1.14}
segments:
  edge50:
    kind: ethernet
    subnet: 192.168.50.0/24
    expect: {bandwidth: 150Mbit/s, rtt: 200ms}
    members:
      mini1: {address: 192.168.50.1, interface: en5}
      pi5: {address: 192.168.50.2, interface: eth0}
"""
BANDWIDTH = "bandwidth: {{period: {period}s, duration: {duration}s, guard: 500ms{more}}}\n"


def cluster(duration: int = 2, period: int = 100, more: str = "") -> Cluster:
    return parse(TEXT + BANDWIDTH.format(duration=duration, period=period, more=more))


@pytest.fixture(autouse=True)
def wire():
    netns.require_root()
    if not libiperf():
        reason = "needs libiperf (Debian: libiperf0)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with cable(f"{PI5}/24", f"{MINI1}/24"):
        for name, device in ((A, "eth0"), (B, "en5")):
            shape = "rate 200mbit burst 64kb latency 50ms"
            sh(name, "tc", "qdisc", "add", "dev", device, "root", "tbf", *shape.split())
        yield
        until(lambda: not listening(A) and not listening(B))


def libiperf() -> bool:
    with contextlib.suppress(OSError):
        ctypes.CDLL("libiperf.so.0")
        return True
    return False


def listening(namespace: str) -> str:
    """Who listens there on the tests' port."""
    command = ["ip", "netns", "exec", namespace, "ss", "-Hltn", f"sport = :{PORT}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def run(node: str, *, seconds: float = 8, sends: bool = True, patience=2.0, **options) -> Outcome:
    """One end of pi5 -> mini1, or of the way back, in the namespace of `node`."""
    return start(node, seconds=seconds, sends=sends, patience=patience, **options).result(60)


def start(
    node: str,
    *,
    seconds: float = 8,
    sends: bool = True,
    patience: float = 2.0,
    of: Cluster | None = None,
    force: bool = False,
    argv=None,
    cancel: threading.Event | None = None,
) -> Future:
    """The same, under way. `sends`: this end is the client. `cancel` ends it when it is set."""
    declared = of or cluster()
    peer = "mini1" if node == "pi5" else "pi5"
    test = between(declared, *((node, peer) if sends else (peer, node)))
    namespace = A if node == "pi5" else B

    async def main() -> Outcome:
        now = time.time()
        turn = Turn(test, Role.SEND if sends else Role.RECEIVE, now + 0.7, now + seconds, patience)
        with ThreadPoolExecutor(1, initializer=partial(netns.enter, namespace)) as worker:
            system = LinuxSystem()
            local = Local(declared, node, system, worker)
            work = asyncio.create_task(
                end.run(turn, declared.bandwidth, local, force=force, argv=argv)
            )
            try:
                while cancel and not work.done():
                    if cancel.is_set():
                        work.cancel()
                    await asyncio.wait((work,), timeout=0.05)
                return await work
            finally:
                worker.submit(system.close)

    return _POOL.submit(inside, namespace, lambda: asyncio.run(main()))


_POOL = ThreadPoolExecutor(4)


@contextlib.contextmanager
def training():
    """An established connection from pi5 to the training server on mini1."""

    def listen():
        server = socket.create_server((MINI1, 65432))
        server.settimeout(5)
        return server

    server = inside(B, listen)
    client = inside(A, lambda: socket.create_connection((MINI1, 65432), 5))
    accepted, _ = server.accept()
    try:
        yield
    finally:
        for sock in (client, accepted, server):
            sock.close()


def children(parent: int | None = None) -> list[int]:
    """The tests' processes below this one, or below `parent`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (path / "stat").read_text().rsplit(")", 1)[1].split()
            words = (path / "cmdline").read_bytes()
            mine = int(stat[1]) == (parent or os.getpid())
            if mine and (parent or b"bandwidth.child" in words) and stat[0] != "Z":
                found.append(int(path.name))
    return found


def flowing() -> bool:
    """Whether data of a test are on their way."""
    command = ["ip", "netns", "exec", A, "cat", "/sys/class/net/eth0/statistics/tx_bytes"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout) > 3_000_000


def stand_in(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_ends_measure_the_wire():
    receiver = start("mini1", sends=False)
    sent, got = run("pi5"), receiver.result(30)
    assert got.result is sent.result is Result.SUCCESS
    assert got.measurement.rate == pytest.approx(WIRE, rel=0.1)
    assert sent.measurement.rate == pytest.approx(WIRE, rel=0.1)
    assert sent.bytes >= got.bytes > 0
    assert sent.measurement.retransmits is not None
    assert got.measurement.retransmits is None
    assert 0 < sent.measurement.cpu < 2
    assert sent.measurement.remote_cpu == pytest.approx(got.measurement.cpu, abs=0.05)
    assert got.measurement.peer == PI5
    assert not children()


@pytest.mark.parametrize("streams", [1, 16])
def test_a_rate_cap_holds_for_all_streams_together(streams):
    capped = cluster(more=f", rate: 40Mbit/s, streams: {streams}")
    receiver = start("mini1", sends=False, of=capped)
    sent, got = run("pi5", of=capped), receiver.result(30)
    assert sent.measurement
    assert got.measurement.rate == pytest.approx(5e6, rel=0.2)


class TestTheOtherEnd:
    def test_is_absent(self):
        assert run("pi5").reason is Failed.REFUSED

    def test_never_comes(self):
        assert run("mini1", sends=False, seconds=3).reason is Failed.NO_CLIENT

    def test_does_not_answer(self):
        nft(B, "add table ip t")
        nft(B, "add chain ip t c { type filter hook input priority 0; }")
        nft(B, f"add rule ip t c tcp dport {PORT} drop")
        assert run("pi5", seconds=20).reason is Failed.CONNECT_TIMEOUT

    def test_cannot_be_reached(self):
        ip(A, f"route add unreachable {MINI1}/32")
        assert run("pi5").reason is Failed.UNREACHABLE

    def test_listens_a_moment_later(self):
        sender = start("pi5", patience=8, seconds=15)
        until(children)
        time.sleep(1.5)  # it has been refused by now
        receiver = start("mini1", sends=False, seconds=12)
        assert sender.result(30).result is Result.SUCCESS
        assert receiver.result(30).result is Result.SUCCESS

    def test_is_somebody_else(self):
        ip(A, "addr del 192.168.50.2/24 dev eth0")
        ip(A, "addr add 192.168.50.9/24 dev eth0")
        stranger = parse(TEXT.replace(PI5, "192.168.50.9"))
        receiver = start("mini1", sends=False)
        run("pi5", of=stranger)
        outcome = receiver.result(30)
        assert outcome.reason is Failed.ERROR
        assert outcome.text == "192.168.50.9 came instead of pi5"


class TestThisEnd:
    def test_has_no_such_address(self):
        ip(B, f"addr del {MINI1}/24 dev en5")
        assert run("mini1", sends=False, seconds=5).reason is Failed.ADDRESS

    def test_lost_its_process(self):
        receiver, sender = start("mini1", sends=False), start("pi5")
        until(lambda: len(children()) == 2 and flowing())
        victim = next(p for p in children() if not listens(p))
        os.kill(victim, signal.SIGKILL)
        outcome = sender.result(30)
        assert outcome.reason is Failed.KILLED
        assert outcome.bytes > 1_000_000  # what had been sent all the same
        assert receiver.result(30).reason is Aborted.PEER

    def test_had_its_interface_switched_off(self):
        long = cluster(duration=30)
        receiver = start("mini1", sends=False, of=long, seconds=40)
        sender = start("pi5", of=long, seconds=40)
        until(flowing)
        ip(A, "link set eth0 down")
        assert sender.result(30).reason is Failed.LINK_DOWN
        assert receiver.result(30).reason is Failed.LINK_DOWN  # its cable has no other end

    def test_lost_all_packets(self):
        long = cluster(duration=2)
        receiver = start("mini1", sends=False, of=long, seconds=8)
        sender = start("pi5", of=long, seconds=8)
        until(flowing)
        nft(A, "add table ip t")
        for way in ("input", "output"):
            nft(A, f"add chain ip t {way} {{ type filter hook {way} priority 0; policy drop; }}")
        assert sender.result(30).reason is Failed.TIMEOUT
        assert receiver.result(30).reason is Failed.TIMEOUT

    def test_is_cancelled(self):
        cancel = threading.Event()
        receiver = start("mini1", sends=False, seconds=20, cancel=cancel)
        until(lambda: listening(B))
        cancel.set()
        with pytest.raises(asyncio.CancelledError):
            receiver.result(30)
        assert not children()
        assert not listening(B)


def listens(pid: int) -> bool:
    """Whether a test's process is the server."""
    return Path(f"/proc/{pid}/ns/net").stat().st_ino == Path(f"/run/netns/{B}").stat().st_ino


class TestLibiperf:
    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("import time; time.sleep(99)", Failed.TIMEOUT),  # it hangs
            ("import os, time; os.close(1); os.close(2); time.sleep(99)", Failed.TIMEOUT),
            ("import os; os.abort()", Failed.KILLED),  # it aborts
            ("raise SystemExit(7)", Failed.ERROR),  # it calls exit()
            ("print('x' * 10**6)", Failed.ERROR),  # more than a pipe holds
            (
                "from smolmon.exporter.bandwidth import child; child.LIBRARIES=['libnone.so.0'];"
                "child.main()",
                Skipped.UNAVAILABLE,
            ),
        ],
    )
    def test_misbehaves(self, code, reason):
        assert run("pi5", seconds=4, argv=stand_in(code)).reason is reason
        assert not children()

    def test_may_not_make_memory_executable(self):
        """MemoryDenyWriteExecute= of the exporter's unit, by the kernel's own switch."""
        code = (
            "import ctypes; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0;"  # PR_SET_MDWE
            "from smolmon.exporter.bandwidth.child import main; main()"
        )
        receiver = start("mini1", sends=False, argv=stand_in(code))
        sent, got = run("pi5", argv=stand_in(code)), receiver.result(30)
        assert (sent.result, got.result) == (Result.SUCCESS, Result.SUCCESS)

    def test_ends_with_its_parent(self, tmp_path):
        file = tmp_path / "cluster.yaml"
        file.write_text(TEXT)
        parent = subprocess.Popen(
            ["ip", "netns", "exec", B, *command(file, "mini1", "pi5", "mini1")],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: listening(B))
        parent.kill()
        parent.wait()
        until(lambda: not listening(B))


class TestTraining:
    def test_goes_on(self):
        with training():
            receiver = start("mini1", sends=False)
            sent, got = run("pi5"), receiver.result(30)
        assert sent.reason is got.reason is Skipped.TRAINING
        assert not flowing()

    @pytest.mark.parametrize("busy", ["pi5", "mini1"])
    def test_is_seen_at_one_end_only(self, busy):
        """The other one is told, and does not take it for a fault."""
        other = cluster()
        # Not the port that this end takes for the training server's.
        blind = parse(TEXT.replace("segment: edge50}", "segment: edge50, port: 65000}"))
        with training():
            receiver = start("mini1", sends=False, of=other if busy == "mini1" else blind)
            sent, got = run("pi5", of=other if busy == "pi5" else blind), receiver.result(30)
        found = {"pi5": sent, "mini1": got}
        assert found.pop(busy).reason is Skipped.TRAINING
        (told,) = found.values()
        assert told.reason is Skipped.PEER_BUSY
        assert told.text == f"{busy} does not take part"
        assert not flowing()

    def test_begins(self):
        long = cluster(duration=30)
        receiver = start("mini1", sends=False, of=long, seconds=40)
        sender = start("pi5", of=long, seconds=40)
        until(flowing)
        with training():
            began = time.monotonic()
            reasons = {sender.result(20).reason, receiver.result(20).reason}
            took = time.monotonic() - began
        assert took < 1
        assert Aborted.TRAINING in reasons
        assert reasons <= {Aborted.TRAINING, Aborted.PEER}
        assert not children()

    def test_does_not_matter_by_force(self):
        with training():
            receiver = start("mini1", sends=False, force=True)
            assert run("pi5", force=True).result is Result.SUCCESS
            assert receiver.result(30).result is Result.SUCCESS


def test_a_busy_link_is_left_alone():
    stop = threading.Event()

    def blast():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.is_set():
                sock.sendto(bytes(1400), (MINI1, 9))

    quiet = cluster(more=", busy: 1%")
    with ThreadPoolExecutor(1) as pool:
        blasting = pool.submit(inside, A, blast)
        try:
            receiver = start("mini1", sends=False, of=quiet, seconds=5)
            sent, got = run("pi5", of=quiet), receiver.result(30)
        finally:
            stop.set()
        blasting.result(5)
    assert sent.reason is got.reason is Skipped.LINK_BUSY


def command(file: Path, node: str, source: str, target: str) -> list[str]:
    words = ["bandwidth", "end", "--cluster", str(file), "--node", node]
    return [sys.executable, "-m", "smolmon", *words, "--source", source, "--target", target]


def test_both_ends_by_hand(tmp_path):
    """What `smolmon bandwidth run` starts on two nodes."""
    file = tmp_path / "cluster.yaml"
    file.write_text(TEXT)
    ends = [
        subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command(file, node, "mini1", "pi5")],
            stdout=subprocess.PIPE,
        )
        for namespace, node in ((A, "pi5"), (B, "mini1"))
    ]
    got, sent = (json.loads(e.communicate(timeout=30)[0]) for e in ends)
    assert (got["result"], sent["result"]) == ("success", "success")
    assert got["measurement"]["rate"] == pytest.approx(WIRE, rel=0.1)


def test_two_exporters_keep_the_timetable(tmp_path):
    """Both directions, twice in a row; a lost server; and the pings go on as ever."""
    file = tmp_path / "cluster.yaml"
    file.write_text(TEXT + BANDWIDTH.format(duration=1, period=10, more=""))

    running = [exporter(file, A, "pi5"), exporter(file, B, "mini1")]
    try:
        for namespace, node in ((A, "mini1"), (B, "pi5")):
            for direction in ("transmit", "receive"):
                labels = {"target": node, "link": "edge50", "direction": direction}
                until(partial(two_good, namespace, labels), 60)
                # A busy machine may spoil one that lasts a second, not each.
                until(partial(is_right, namespace, labels), 60)
        seen = scrape(A)
        assert seen["smolmon_bandwidth_available", ()] == 1
        assert not sum(v for (name, _), v in seen.items() if "tests_failed" in name)
        assert pings(seen) == pings(seen, "reply") > 0
        until(lambda: scrape(B).get(("smolmon_bandwidth_test_in_progress", EDGE)) == 1, 20)
        until(lambda: scrape(B).get(("smolmon_bandwidth_test_in_progress", EDGE)) == 0, 20)
        running[1].kill()
        refused = ("smolmon_bandwidth_tests_failed_total", (("reason", "refused"),))
        until(lambda: scrape(A)[refused] >= 1, 30)
    finally:
        for process in running:
            process.terminate()
        assert running[0].wait(10) == 0
        running[1].wait(10)


# An exporter whose children are other ones: they find libiperf, and then it does as it likes.
EXPORTER = (
    "import sys; from smolmon.exporter.bandwidth import cage; cage._CHILD = sys.argv.pop(1);"
    "from smolmon.cli import cli; cli()"
)
CHILD = """
import os, sys, time
print('{{"fine": {{}}}}') if '"check"' in sys.stdin.readline() else {code}
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [("time.sleep(99)", "timeout"), ("os.abort()", "killed")],
)
def test_an_exporter_outlives_a_libiperf_that_misbehaves(tmp_path, code, reason):
    """Counted, nothing left open, and the pings go on as ever."""
    file = tmp_path / "cluster.yaml"
    file.write_text(TEXT + BANDWIDTH.format(duration=1, period=10, more=""))
    running = exporter(file, A, "pi5", "-c", EXPORTER, CHILD.format(code=code))
    try:
        failed = ("smolmon_bandwidth_tests_failed_total", (("reason", reason),))
        until(lambda: scrape(A).get(failed, 0) >= 1, 30)
        until(lambda: not listening(A) and not children(running.pid))
        until(lambda: pings(scrape(A), "reply") > 5)
        seen = scrape(A)
        assert pings(seen) == pings(seen, "reply")
    finally:
        running.terminate()
        assert running.wait(10) == 0


EDGE = (("link", "edge50"),)
PINGS = "smolmon_ping_results_total"


def exporter(file, namespace, node, *start):
    """One that runs there; `start` for Python where it is not the usual one."""
    words = ["exporter", "--node", node, "--cluster", str(file), "--listen", "127.0.0.1:9742"]
    python = [sys.executable, *(start or ("-m", "smolmon"))]
    argv = ["ip", "netns", "exec", namespace, *python, *words]
    return subprocess.Popen(argv, stderr=subprocess.DEVNULL)


def pings(seen, *results):
    """How many have been answered or given up; with one of those results, if any are said."""
    counts = [(dict(ls)["result"], v) for (n, ls), v in seen.items() if n == PINGS]
    return sum(v for result, v in counts if result in results or not results)


def key(labels):
    return tuple(sorted(labels.items()))


def two_good(namespace, labels):
    good = key({**labels, "result": "success"})
    return scrape(namespace).get(("smolmon_bandwidth_tests_total", good), 0) >= 2


def is_right(namespace: str, labels: dict[str, str]) -> bool:
    """Whether the last result is the wire's rate."""
    rate = scrape(namespace)["smolmon_bandwidth_bytes_per_second", key(labels)]
    return rate == pytest.approx(WIRE, rel=0.1)


def scrape(namespace):
    """Every sample that the exporter in a namespace has, by name and labels."""

    def get():
        try:
            with socket.create_connection(("127.0.0.1", 9742), 5) as sock:
                sock.sendall(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")
                return b"".join(iter(lambda: sock.recv(65536), b""))
        except OSError:
            return b"\r\n\r\n"

    body = inside(namespace, get).split(b"\r\n\r\n", 1)[1].decode()
    return {
        (sample.name, key(sample.labels)): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }

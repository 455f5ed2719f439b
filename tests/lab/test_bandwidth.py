"""The timetable on the guide's whole cluster, in one compressed period, on shaped wires."""

from __future__ import annotations

import contextlib
import ctypes
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smolmon.cluster import Cluster, Kind, load
from smolmon.cluster.timetable import declared_tests, timetable
from tests.exporter.netns import inside
from tests.lab.client import ROOT, Lab, refuse_to_replace_a_lab, smolmon, until

pytestmark = pytest.mark.long

PERIOD = 128  # seconds: room for 16 slots
SECTION = f"\nbandwidth: {{period: {PERIOD}s, duration: 2s}}\n"
WIRE = 900e6 / 8  # bytes per second on edge links
CLONE_NEWNET = 0x40000000
SAMPLING = 0.1  # seconds
BUSY = 2e6  # bytes in one sample: far more than pings and scrapes, far less than a test


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("bandwidth") / "cluster.yaml"
    text = (ROOT / "examples" / "guide.yaml").read_text()
    # Stand-ins of Apple's tools start slowly: how soon they see something says nothing of Macs.
    path.write_text(text.replace("platform: macos", "platform: linux") + SECTION)
    refuse_to_replace_a_lab()
    try:
        smolmon("lab", "up", "--cluster", str(path))
        shape(load(path))
        yield Lab(path)
    finally:
        smolmon("lab", "down")


def shape(cluster: Cluster) -> None:
    """Make the edge links as slow as real ones, both ways, and leave the processor some room."""
    for segment in cluster.routed:
        rate = "900mbit" if segment.kind is Kind.ETHERNET else "3gbit"
        for member in segment.members:
            subprocess.run(
                f"ip netns exec smolmon-{member.node} tc qdisc add dev {member.interface}"
                f" root tbf rate {rate} burst 1mb latency 20ms".split(),
                check=True,
            )


class Counters(threading.Thread):
    """Bytes that each member of each segment sends, every SAMPLING seconds.

    `samples` are (time, {(segment, node): bytes since the last one}).
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, dict[tuple[str, str], int]]] = []
        self.over = threading.Event()
        self._cluster = cluster

    def __enter__(self) -> Counters:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join(5)

    def busy(self, since: float) -> list[float]:
        """When, from `since` on, somebody sent as much as only a test sends."""
        return [t for t, sent in list(self.samples) if t > since and max(sent.values()) > BUSY]

    def run(self) -> None:
        before = self._read()
        while not self.over.wait(SAMPLING):
            now = self._read()
            self.samples.append((time.time(), {key: now[key] - before[key] for key in now}))
            before = now

    def _read(self) -> dict[tuple[str, str], int]:
        found = {}
        libc = ctypes.CDLL(None, use_errno=True)
        for node in self._cluster.nodes:
            with Path(f"/run/netns/smolmon-{node.name}").open("rb") as handle:
                assert libc.setns(handle.fileno(), CLONE_NEWNET) == 0
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
            sent = {
                line.split(":")[0].strip(): int(line.split(":")[1].split()[8]) for line in lines
            }
            for segment in self._cluster.segments_of(node.name):
                member = segment.member(node.name)
                assert member is not None
                found[segment.name, node.name] = sent[member.interface or ""]
        return found


def good(lab: Lab) -> dict[tuple[str, str], float]:
    """What arrived: bytes per second by source and target."""
    return {
        (s["target"], s["node"]): s["value"]
        for s in lab.query('smolmon_bandwidth_bytes_per_second{direction="receive"}')
    }


def available(lab: Lab) -> set[str]:
    """The nodes that are scraped, and whose exporters have found libiperf."""
    return {s["node"] for s in lab.query("smolmon_bandwidth_available == 1")}


def reasons(lab: Lab, what: str) -> dict[tuple[str, str], float]:
    """How often tests were skipped, aborted or have failed, by node and reason."""
    seen = lab.query(f"smolmon_bandwidth_tests_{what}_total")
    return {(s["node"], s["reason"]): s["value"] for s in seen}


def test_all_paths_are_measured_in_one_period_and_never_two_on_a_segment(lab: Lab) -> None:
    cluster = load(lab.cluster_file)
    table = timetable(cluster)
    until("every node has libiperf", lambda: available(lab) == {n.name for n in cluster.nodes})
    # What failed while the nodes were set up one after the other is nobody's fault, nor is what
    # becomes of the slot that had begun when the last of them was.
    up = time.time()
    until("that slot is counted", lambda: scraped(lab) > up + table.window)
    before = reasons(lab, "failed")
    began = time.time()
    every = declared_tests(cluster)
    with Counters(cluster) as counters:
        until("every test's result", lambda: len(good(lab)) == len(every), 2.2 * PERIOD)
        over = began + PERIOD + table.window
        until("a whole period is counted", lambda: scraped(lab) > over, 2 * PERIOD)

    # One of them at a time, and only inside its own slot.
    seen = set()
    for moment, sent in counters.samples:
        slots = [s for s in table.slots(moment - PERIOD, moment) if s.end + SAMPLING * 3 > moment]
        open_to = {segment for slot in slots for segment in slot.test.segments}
        for segment in cluster.routed:
            # Acknowledgements flow the other way: a few per cent of the data.
            loads = sorted((n, node) for (name, node), n in sent.items() if name == segment.name)
            if loads[-1][0] < BUSY:
                continue
            assert segment.name in open_to, (moment, loads)
            assert loads[-2][0] < 0.1 * loads[-1][0], (moment, loads)
            seen.add(segment.name)
    assert seen == {segment.name for segment in cluster.routed}
    assert len({s.test for s in table.slots(began, time.time())}) > 1

    found = good(lab)
    for test in every:
        if any(cluster.segment(name).kind is Kind.ETHERNET for name in test.segments):
            assert found[test.source, test.target] == pytest.approx(WIRE, rel=0.1), test.name
    after = reasons(lab, "failed")
    assert before.keys() == after.keys()
    risen = {of for of, n in before.items() if after[of] != n}
    assert not risen, [(of, log_of(lab, of[0])) for of in risen]


@pytest.fixture(scope="module")
def training(lab: Lab) -> Iterator[Training]:
    """A training server, with which nobody trains yet."""
    address = (str(load(lab.cluster_file).server_address), load(lab.cluster_file).server.port)
    server = inside("smolmon-mini1", lambda: socket.create_server(address))
    kept: list[socket.socket] = []

    def accept() -> None:
        # The exporters' own attempts to connect too, or they would fill the queue.
        with contextlib.suppress(OSError):
            while True:
                kept.append(server.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield Training(address)
    for sock in (server, *kept):
        sock.close()


class Training:
    """By a worker behind a gateway: its packets cross edge51 and the fabric."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    @contextlib.contextmanager
    def going_on(self) -> Iterator[float]:
        """Since when."""
        worker = inside("smolmon-jetson", lambda: socket.create_connection(self._address, 5))
        with worker:
            yield time.time()


def skipped(lab: Lab) -> dict[tuple[str, str, str, str], float]:
    """How often each end of each test was skipped."""
    seen = lab.query('smolmon_bandwidth_tests_total{result="skipped"}')
    return {(s["node"], s["target"], s["link"], s["direction"]): s["value"] for s in seen}


def scraped(lab: Lab) -> float:
    """When the node was scraped whose latest scrape is the oldest."""
    return min(s["value"] for s in lab.query("timestamp(smolmon_bandwidth_available)"))


def log_of(lab: Lab, node: str) -> str:
    """What the node's exporter has said of the tests."""
    cat = "cat /var/log/smolmon/exporter.log 2>/dev/null || journalctl -qu smolmon-exporter"
    return lab.run(node, "sh", "-c", f"({cat}) | grep bandwidth", check=False).stdout


def last_success(lab: Lab) -> float:
    """When any test last had a good result."""
    return max(s["value"] for s in lab.query("smolmon_bandwidth_last_success_timestamp_seconds"))


def test_no_test_starts_while_a_worker_behind_a_gateway_trains(
    lab: Lab, training: Training
) -> None:
    failed, why, before = (reasons(lab, "failed"), reasons(lab, "skipped"), skipped(lab))
    assert len(before) == 2 * len(declared_tests(load(lab.cluster_file)))
    with Counters(load(lab.cluster_file)) as counters, training.going_on() as since:
        until(
            "every test is skipped, at both ends",
            lambda: all(n > before[end] for end, n in skipped(lab).items()),
            1.5 * PERIOD,
        )
        assert counters.busy(since + 1) == []
        assert last_success(lab) < since + 1
    assert reasons(lab, "failed") == failed
    risen = {
        reason for (node, reason), n in reasons(lab, "skipped").items() if n > why[node, reason]
    }
    assert risen == {"training", "peer_busy"}
    over = time.time()
    until("tests again", lambda: last_success(lab) > over)


def test_every_test_ends_within_a_second_when_training_begins(lab: Lab, training: Training) -> None:
    """Whichever test it is: the server's node and the worker may take part in it, or neither."""
    cluster = load(lab.cluster_file)
    failed, aborted = reasons(lab, "failed"), reasons(lab, "aborted")
    table = timetable(cluster)
    now = time.time()
    took: dict[str, float] = {}
    with Counters(cluster) as counters:
        for slot in table.slots(now, now + PERIOD):
            until("data flow", lambda s=slot: counters.busy(s.sending), slot.end - time.time())
            with training.going_on() as since:
                # Longer than this no test would last.
                until("it is over", lambda s=slot: time.time() > s.sending + 4)
                took[slot.test.name] = counters.busy(slot.sending)[-1] - since
    assert set(took) == {test.name for test in declared_tests(cluster)}
    assert max(took.values()) < 1, took
    over = time.time()
    until("the last of them is counted", lambda: scraped(lab) > over)
    assert reasons(lab, "failed") == failed
    risen = dict.fromkeys(("training", "peer", "stopped"), 0.0)
    for (node, reason), n in reasons(lab, "aborted").items():
        risen[reason] += n - aborted[node, reason]
    # One end at least knows why; the other one may have been left before it looked.
    assert risen["training"] >= len(took), risen
    assert risen["training"] + risen["peer"] == 2 * len(took), risen


def test_one_test_now(lab: Lab) -> None:
    off = "sed -i 's/period: /enabled: false, period: /' /etc/smolmon/cluster.yaml"
    lab.run("controller", "sh", "-c", f"{off} && smolmon setup --yes")
    until("no slots", lambda: not lab.query("smolmon_bandwidth_period_seconds"))
    shown = lab.run("controller", "smolmon", "bandwidth", "run", "pi4", "mini1", "--json")
    result = json.loads(shown.stdout)
    assert result["as_expected"]
    rate = result["ends"]["mini1"]["measurement"]["rate"]
    assert rate == pytest.approx(WIRE, rel=0.1)
    text = lab.run("controller", "smolmon", "bandwidth", "run", "mini3", "jetson").stdout
    assert text.startswith("mini3 -> jetson over edge51: ")
    assert "as expected" in text

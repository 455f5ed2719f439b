"""The timetable on the guide's whole cluster, in one compressed period, on shaped wires."""

from __future__ import annotations

import ctypes
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smolmon.cluster import Cluster, Kind, load
from smolmon.cluster.timetable import declared_tests, timetable
from tests.lab.client import ROOT, Lab, refuse_to_replace_a_lab, smolmon, until

pytestmark = pytest.mark.long

PERIOD = 100  # seconds
SECTION = f"\nbandwidth: {{period: {PERIOD}s, duration: 2s, guard: 500ms}}\n"
WIRE = 900e6 / 8  # bytes per second on edge links
CLONE_NEWNET = 0x40000000
SAMPLING = 0.1  # seconds
BUSY = 2e6  # bytes in one sample: far more than pings and scrapes, far less than a test


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("bandwidth") / "cluster.yaml"
    path.write_text((ROOT / "examples" / "guide.yaml").read_text() + SECTION)
    refuse_to_replace_a_lab()
    try:
        smolmon("lab", "up", "--cluster", str(path))
        shape(load(path))
        yield Lab(path)
    finally:
        smolmon("lab", "down")


def shape(cluster: Cluster) -> None:
    """Make the edge links as slow as real ones, in both directions."""
    for segment in cluster.segments:
        if segment.kind is Kind.ETHERNET:
            for member in segment.members:
                subprocess.run(
                    f"ip netns exec smolmon-{member.node} tc qdisc add dev {member.interface}"
                    " root tbf rate 900mbit burst 1mb latency 20ms".split(),
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


def failures(lab: Lab) -> dict[tuple[str, str], float]:
    """How many tests have failed, by node and reason."""
    seen = lab.query("smolmon_bandwidth_tests_failed_total")
    return {(s["node"], s["reason"]): s["value"] for s in seen}


def test_all_paths_are_measured_in_one_period_and_never_two_on_a_segment(lab: Lab) -> None:
    cluster = load(lab.cluster_file)
    until("every node has libiperf", lambda: available(lab) == {n.name for n in cluster.nodes})
    # What failed while the nodes were set up one after the other is nobody's fault.
    before = failures(lab)
    counters = Counters(cluster)
    counters.start()
    began = time.time()
    every = declared_tests(cluster)
    until("every test's result", lambda: len(good(lab)) == len(every), 2.2 * PERIOD)
    until("a whole period is over", lambda: time.time() > began + PERIOD, PERIOD)
    counters.over.set()
    counters.join(5)

    # One of them at a time, and only inside its own slot.
    table = timetable(cluster)
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
    after = failures(lab)
    assert before.keys() == after.keys()
    assert {of: (n, after[of]) for of, n in before.items() if after[of] != n} == {}


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

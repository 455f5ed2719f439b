"""Every fault on the guide's cluster: the right notification and no other, and its end.

Faults that have nothing to do with each other are tried together, so that this takes minutes; one
by one, and on every node, scripts/fault-matrix tries them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smolmon.lab import faults, place
from smolmon.lab.matrix import Watcher, attempt, until
from smolmon.lab.pairs import broken
from smolmon.lab.place import Lab
from tests.lab.client import example, refuse_to_replace_a_lab, smolmon

pytestmark = pytest.mark.long

SPEED = 20
TRIALS = [
    "cable-pulled@pi5",
    "cable-pulled@mini3",
    "switch-off@mini3",
    "node-dead@mini1",
    "node-dead@mini2",
    "node-dead@mini3 exporter-dead@pi5",
    "edge-port-off@mini1 forward-route-gone@pi4",
    "port-off@pi5 address-lost@jetson",
    "forwarding-off@mini3 default-route-stolen@pi5",
    "return-route-gone@mini1 exporter-dead@mini2",
    "neighbor-wrong@pi4 mtu-mismatch@pi5",
    "address-taken@jetson server-elsewhere@mini1",
    "wifi-out@jetson server-exposed@mini1",
    "wifi-out-everywhere@mini1",
    "internet-out@mini1 firewall-drop@mini1",
    "firewall-reject@mini1",
    "route-overruled@pi4 server-unreachable@pi5",
    "isolation-broken@pi5",
    "certificate-expired@jetson",
    "bridge-loop@mini3",
    "link-slow@jetson server-stopped@mini1",
    "half-duplex@pi5",
    "adapter-gone@jetson",
    "switch-port-dead@pi4",
    "internet-blocked@pi5 config-invalid@pi4",
    "default-route-gone@jetson",
    "files-differ@mini2",
]
# It takes a minute of pings to tell 3 % from chance, or late from busy, whatever the speed; and a
# full wire keeps this machine busy.
SLOW = {"packet-loss", "latency", "link-saturated"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The guide's cluster, all of it Linux, provisioned and watched."""
    refuse_to_replace_a_lab()
    try:
        path = example("guide.yaml", tmp_path_factory.mktemp("cluster"), linux=True)
        smolmon("lab", "up", "--cluster", str(path), "--speed", str(SPEED))
        yield place.running()
    finally:
        smolmon("lab", "down")


def test_every_fault_is_tried() -> None:
    tried = {name for trial in TRIALS for name, _ in broken(trial)}
    assert tried | SLOW == {fault.name for fault in faults.FAULTS}


def test_a_healthy_cluster_is_silent(lab: Lab) -> None:
    watcher = Watcher(lab)
    until("silence", watcher.quiet)
    assert not watcher.sent()


@pytest.mark.parametrize("trial", TRIALS)
def test_each_fault_is_told_of_once_and_nothing_else(lab: Lab, trial: str) -> None:
    came = attempt(lab, broken(trial))
    assert came.expected <= came.notified <= came.permitted
    assert came.count == len({told.alert for told in came.expected})
    assert came.fix_healed is not False
    assert came.resolved

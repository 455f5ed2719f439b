"""Every fault on the guide's cluster: the right notification and no other, and its end.

Faults that have nothing to do with each other are tried together, so that this takes minutes; one
by one, and on every node, scripts/fault-matrix tries them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smolmon.lab import faults, place
from smolmon.lab.machines import run_in
from smolmon.lab.matrix import Watcher, attempt, until
from smolmon.lab.pairs import broken
from smolmon.lab.place import Lab
from smolmon.lab.plan import CONTROLLER
from tests.lab.client import example, refuse_to_replace_a_lab, smolmon

SPEED = 20
TRIALS = [
    "cable-pulled@pi5 default-route-stolen@jetson server-exposed@mini1",
    "cable-pulled@mini3 certificate-expired@pi5",
    "switch-off@mini3 exporter-dead@mini2 server-elsewhere@mini1",
    "node-dead@mini1",
    "node-dead@mini2 default-route-gone@jetson",
    "node-dead@mini3 config-invalid@pi5",
    "edge-port-off@mini1 forward-route-gone@pi4 wifi-out@jetson",
    "port-off@pi5 address-lost@jetson files-differ@mini2",
    "forwarding-off@mini3 half-duplex@pi5",
    "return-route-gone@mini1 adapter-gone@jetson",
    "neighbor-wrong@pi4 mtu-mismatch@pi5 internet-out@mini1",
    "address-taken@jetson link-slow@pi5 firewall-drop@mini1",
    "route-overruled@pi4 server-unreachable@pi5",
    "isolation-broken@pi5 firewall-reject@mini1",
    "switch-port-dead@pi4 internet-blocked@pi5 server-stopped@mini1",
    "wifi-out-everywhere@mini1",
    "bridge-loop@mini3",
]
# Whatever the speed, it takes some minutes of pings to tell 3 % from chance, or late from busy, and
# as many to forget it; and a full wire keeps this machine busy.
SLOW = ["packet-loss@jetson latency@pi5", "link-saturated@pi4"]


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
    tried = {name for trial in TRIALS + SLOW for name, _ in broken(trial)}
    assert tried == {fault.name for fault in faults.FAULTS}


def test_a_healthy_cluster_is_silent(lab: Lab) -> None:
    watcher = Watcher(lab)
    until("silence", watcher.quiet)
    assert not watcher.sent()


@pytest.mark.parametrize(
    "command",
    [
        # Another cluster file for all: every exporter is started anew.
        "echo '# changed' >> /etc/smolmon/cluster.yaml && smolmon setup --yes",
        "smolmon bandwidth run jetson mini1 && smolmon bandwidth run mini3 pi4",
    ],
    ids=["setup", "bandwidth"],
)
def test_our_own_work_is_no_fault(lab: Lab, command: str) -> None:
    watcher = Watcher(lab)
    before = len(watcher.sent())
    done = run_in(CONTROLLER, ["sh", "-c", command])
    assert done.returncode == 0, done.stdout + done.stderr
    until("silence", watcher.quiet)
    assert watcher.sent()[before:] == []


@pytest.mark.parametrize(
    "trial", [*TRIALS, *(pytest.param(trial, marks=pytest.mark.long) for trial in SLOW)]
)
def test_each_fault_is_told_of_once_and_nothing_else(lab: Lab, trial: str) -> None:
    came = attempt(lab, broken(trial))
    assert came.expected <= came.notified <= came.permitted
    assert came.count == len({told.alert for told in came.expected})
    assert came.fix_healed is not False
    assert came.resolved

"""A cluster boots, is provisioned and watched; each fault gives one notification, the right one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from smolmon.cluster import Cluster, derive, load
from tests.lab.client import Lab, example, refuse_to_replace_a_lab, smolmon, until

SPEED = 20
# All of it Linux: each tool of a stand-in for a Mac is a program in Python that starts anew, and at
# this speed every node is scraped once a second. test_macs.py has the Macs, at their own pace.
LONG = pytest.mark.long
SHAPES = [
    pytest.param(("guide.yaml", "bookworm"), id="guide-bookworm"),
    pytest.param(("five-macs.yaml", "trixie"), id="five-trixie"),
    pytest.param(("switch.yaml", "bookworm"), id="switch-bookworm", marks=LONG),
    pytest.param(("jetson-on-mini2.yaml", "trixie"), id="jetson-trixie", marks=LONG),
]


def faults_of(cluster: Cluster) -> list[str]:
    """The faults that some node of `cluster` can have."""
    purposes = {r.purpose for n in cluster.nodes for r in derive.routes(cluster, n.name)}
    possible = {
        "forwarding-off": bool(derive.gateways(cluster)),
        "return-route-gone": derive.Purpose.RETURN in purposes,
        "forward-route-gone": derive.Purpose.FORWARD in purposes,
        "server-unreachable": True,
    }
    return [fault for fault, can_be in possible.items() if can_be]


@pytest.fixture(scope="module", params=SHAPES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A provisioned, healthy lab; one boot for all tests of a shape."""
    name, suite = request.param
    path = example(name, tmp_path_factory.mktemp("cluster"), linux=True)
    refuse_to_replace_a_lab()
    try:
        smolmon("lab", "up", "--cluster", str(path), "--speed", str(SPEED), "--suite", suite)
        yield Lab(path)
    finally:
        smolmon("lab", "down")


@pytest.fixture
def cluster(lab: Lab) -> Cluster:
    """What the lab emulates."""
    return load(lab.cluster_file)


# The guide's Part 3, word for word: who pings what, and whether that should work.
PART_3 = [
    # From edge workers: local link, server via routing, cross-subnet isolation, internet.
    ("pi5", "192.168.50.1", True),
    ("pi5", "10.10.0.1", True),
    ("pi5", "192.168.51.4", False),
    ("pi5", "8.8.8.8", True),
    ("pi4", "192.168.51.2", True),
    ("pi4", "10.10.0.1", True),
    ("pi4", "192.168.50.2", False),
    ("pi4", "8.8.8.8", True),
    ("jetson", "192.168.51.2", True),
    ("jetson", "10.10.0.1", True),
    ("jetson", "192.168.50.2", False),
    ("jetson", "8.8.8.8", True),
    # From the Mac minis: the fabric, and the edge workers from their gateway.
    ("mini1", "10.10.0.2", True),
    ("mini1", "10.10.0.3", True),
    ("mini2", "10.10.0.1", True),
    ("mini2", "10.10.0.3", True),
    ("mini3", "10.10.0.1", True),
    ("mini3", "10.10.0.2", True),
    ("mini1", "192.168.50.2", True),
    ("mini3", "192.168.51.4", True),
    ("mini3", "192.168.51.5", True),
]


def test_part_3_of_the_guide_holds(lab: Lab, cluster: Cluster) -> None:
    rows = PART_3
    if cluster.name != "guide":
        rows = [
            (n.name, str(p.address), True)
            for n in cluster.nodes
            for p in derive.probes(cluster, n.name)
        ] + [
            (n.name, str(p.address), False)
            for n in cluster.nodes
            for p in derive.isolation(cluster, n.name)
        ]
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda row: (row[0], row[1], lab.pings(row[0], row[1])), rows))
    assert seen == rows


def test_isolation_holds_on_the_wire_itself(lab: Lab, cluster: Cluster) -> None:
    """Without a port to leave by, such a ping goes to the Wi-Fi router, and proves nothing."""
    for node in cluster.nodes:
        for pair in derive.isolation(cluster, node.name):
            member = cluster.segment(pair.link).member(node.name)
            assert member is not None
            port = member.interface or by_mac(lab, node.name, member.mac or "")
            assert lab.pings(node.name, str(pair.control), port)
            assert not lab.pings(node.name, str(pair.address), port)


def by_mac(lab: Lab, node: str, mac: str) -> str:
    """The name of the interface with this MAC address."""
    links = json.loads(lab.run(node, "ip", "-j", "link").stdout)
    return next(link["ifname"] for link in links if link["address"] == mac)


def test_the_server_is_one_hop_or_two_away(lab: Lab, cluster: Cluster) -> None:
    """What the guide looks for with traceroute; a reply's TTL tells the way back too."""
    for node in cluster.nodes:
        for probe in derive.probes(cluster, node.name):
            if probe.kind is derive.ProbeKind.SERVER:
                routers = len([g for g in probe.gateways if g != cluster.server.node])
                out = lab.run(node.name, "ping", "-c", "1", "-W", "1", str(probe.address)).stdout
                assert f"ttl={64 - routers}" in out


def test_verify_agrees(lab: Lab) -> None:
    done = lab.run("controller", "smolmon", "verify", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_setup_changes_nothing(lab: Lab) -> None:
    plan = lab.run("controller", "smolmon", "setup", "--plan", check=False)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    again = lab.run("controller", "smolmon", "setup", "--yes")
    assert "nothing to do" in again.stdout.lower()


def test_a_healthy_cluster_is_silent(lab: Lab) -> None:
    until("no alert", lab.quiet)
    down = lab.query("smolmon_ping_up == 0")
    assert not down
    assert lab.query("smolmon_ping_up == 1")


def test_one_fault_is_one_notification_and_its_symptoms_are_held_back(
    lab: Lab, cluster: Cluster
) -> None:
    one_fault_gives_one_notification(lab, faults_of(cluster)[0])


@LONG  # of the guide's cluster, test_fault_matrix.py has every fault
def test_each_fault_gives_one_notification(
    lab: Lab, cluster: Cluster, subtests: pytest.Subtests
) -> None:
    for fault in faults_of(cluster):
        with subtests.test(fault):
            one_fault_gives_one_notification(lab, fault)


def one_fault_gives_one_notification(lab: Lab, fault: str) -> None:
    """Break, see it named, heal, see it resolved; nothing else may have been sent."""
    known = next(f for f in lab.json("faults") if f["fault"] == fault)
    node, cause = known["nodes"][-1], known["cause"]
    until("no alert", lab.quiet)
    before = len(lab.notifications())
    suffering = workers_cut_off(load(lab.cluster_file), fault, node)

    smolmon("lab", "break", fault, "--node", node)
    try:
        until(f"a notification of {cause}", lambda: lab.notifications()[before:])
        # The symptom, once it fires, is held back: seen by Alertmanager, and not sent.
        for worker in suffering:
            until(f"the symptom of {worker} suppressed", lambda w=worker: suppressed(lab, w))
    finally:
        smolmon("lab", "heal", fault)
    until("the resolution", lambda: resolved(lab, before))
    until("no alert", lab.quiet)

    sent = sent_since(lab, before)
    assert [(n["status"], n["alert"], n["node"]) for n in sent] == [
        ("firing", cause, node),
        ("resolved", cause, node),
    ]
    assert node in sent[0]["summary"]
    assert sent[0]["fix"]


def sent_since(lab: Lab, before: int) -> list[dict[str, str]]:
    """What was sent since there were `before` notifications.

    But not the end of an earlier fault's symptom, which was held back: Alertmanager may tell of
    that together with what fires in the same group.
    """
    sent = lab.notifications()[before:]
    told = {(n["alert"], n["node"]) for n in sent if n["status"] == "firing"}
    return [n for n in sent if (n["alert"], n["node"]) in told]


def resolved(lab: Lab, before: int) -> bool:
    """Whether a resolution was sent since there were `before` notifications."""
    return any(n["status"] == "resolved" for n in sent_since(lab, before))


def suppressed(lab: Lab, node: str) -> bool:
    """Whether Alertmanager holds back this node's symptom."""
    return any(
        a["labels"]["alertname"] == "SmolmonServerUnreachable"
        and a["labels"]["node"] == node
        and a["status"]["state"] == "suppressed"
        for a in lab.alertmanager()
    )


def workers_cut_off(cluster: Cluster, fault: str, node: str) -> list[str]:
    """The workers that must lose the server by `fault` on `node`, as the cluster is drawn."""
    probes = [
        p
        for n in cluster.nodes
        for p in derive.probes(cluster, n.name)
        if p.kind is derive.ProbeKind.SERVER
    ]
    if fault == "forwarding-off":
        # Linux answers for its own addresses whether it forwards or not.
        return [p.node for p in probes if node in p.gateways and node != cluster.server.node]
    if fault == "return-route-gone" and node == cluster.server.node:
        lost = {r.to for r in derive.routes(cluster, node)}
        return [p.node for p in probes if p.link in lost]
    if fault == "forward-route-gone":
        return [node]
    return []


def test_a_fault_by_hand_is_seen_the_same(lab: Lab, cluster: Cluster) -> None:
    node = [n.name for n in cluster.nodes if derive.role(cluster, n.name) == "worker"][-1]
    address = str(next(iter(derive.probes(cluster, node))).address)
    until("no alert", lab.quiet)
    before = len(lab.notifications())
    by_hand(node, "ip", "route", "add", "blackhole", address)
    first = until("a notification", lambda: lab.notifications()[before:])[0]
    assert (first["alert"], first["node"]) == ("SmolmonRouteOverruled", node)
    by_hand(node, "ip", "route", "del", "blackhole", address)
    until("the resolution", lambda: resolved(lab, before))
    until("no alert", lab.quiet)
    assert [n["status"] for n in sent_since(lab, before)] == ["firing", "resolved"]


def by_hand(node: str, *command: str) -> None:
    """What anybody with a root shell on this machine can do to a node."""
    subprocess.run(["ip", "netns", "exec", f"smolmon-{node}", *command], check=True)


@LONG  # of the guide's cluster, test_fault_matrix.py runs every repair
def test_the_repair_runs_as_it_is_printed(lab: Lab, cluster: Cluster) -> None:
    repairable = [f for f in faults_of(cluster) if f != "server-unreachable"]
    for fault in repairable:
        repair_heals(lab, fault)


def repair_heals(lab: Lab, fault: str) -> None:
    """Break, run the `fix` of the notification on the controller, see it resolved."""
    known = next(f for f in lab.json("faults") if f["fault"] == fault)
    until("no alert", lab.quiet)
    before = len(lab.notifications())
    smolmon("lab", "break", fault, "--node", known["nodes"][0])
    first = until("a notification", lambda: lab.notifications()[before:])[0]
    assert (first["alert"], first["node"]) == (known["cause"], known["nodes"][0])
    lab.run("controller", "sh", "-c", first["fix"])
    until("the resolution", lambda: resolved(lab, before))
    smolmon("lab", "heal", fault)
    until("no alert", lab.quiet)
    sent = {(n["status"], n["alert"], n["node"]) for n in sent_since(lab, before)}
    assert {status for status, _, _ in sent} == {"firing", "resolved"}
    assert {(alert, node) for _, alert, node in sent} == {(known["cause"], known["nodes"][0])}

"""The rules of `isolation: enforce`, in a real kernel: pi5 - gateway - pi4."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address, IPv4Network

import pytest

from smolmon.setup.linux.fence import TABLE, ruleset
from smolmon.setup.linux.neighbours import StaticNeighbour, batch
from tests.exporter.netns import PREFIX, A, B, cable, ip, require_root, sh

pytestmark = pytest.mark.lab

C = A[:-1] + "c"
PI5, PI4, GATEWAY_51 = "192.168.50.2", "192.168.51.4", "192.168.51.2"
APART = [IPv4Network("192.168.50.0/24"), IPv4Network("192.168.51.0/24")]


def answers(namespace: str, address: str) -> bool:
    command = ["ip", "netns", "exec", namespace, "ping", "-c1", "-W1", "-q", address]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def load(rules: bytes) -> None:
    command = ["ip", "netns", "exec", B, "nft", "-f", "-"]
    subprocess.run(command, input=rules, check=True)


def tables() -> str:
    command = ["ip", "netns", "exec", B, "nft", "list", "tables"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def gateway():
    """Somebody has given each worker a route to the other's segment."""
    require_root()
    assert C.startswith(PREFIX)
    with cable(f"{PI5}/24", "192.168.50.1/24"):
        subprocess.run(["ip", "netns", "add", C], check=True)
        ip(C, f"link add eth0 type veth peer name en6 netns {B}")
        ip(B, f"addr add {GATEWAY_51}/24 dev en6")
        ip(B, "link set en6 up")
        ip(C, f"addr add {PI4}/24 dev eth0")
        ip(C, "link set eth0 up")
        ip(A, "route add 192.168.51.0/24 via 192.168.50.1")
        ip(C, f"route add 192.168.50.0/24 via {GATEWAY_51}")
        sh(B, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        try:
            yield
        finally:
            subprocess.run(["ip", "netns", "del", C], check=True)


def test_nothing_crosses_and_everything_else_does(gateway):
    assert answers(A, PI4)
    assert answers(C, PI5)
    for _ in range(2):  # the second time it replaces itself
        load(ruleset(APART, []))
        assert not answers(A, PI4)
        assert not answers(C, PI5)
        assert not answers(A, GATEWAY_51)  # the gateway's own address over there
        assert answers(A, "192.168.50.1")
        assert answers(B, PI5)
        assert answers(B, PI4)


def test_a_node_of_the_fabric_may_open_and_is_answered(gateway):
    load(ruleset(APART, [IPv4Address(PI4)]))
    assert answers(C, PI5)
    assert not answers(A, PI4)


def test_it_touches_only_its_own_table(gateway):
    load(b"table ip mine {}\n")
    load(ruleset(APART, []))
    assert tables().splitlines() == ["table ip mine", f"table ip {TABLE}"]


def test_one_segment_is_kept_from_nobody(gateway):
    load(ruleset(APART[:1], []))
    assert answers(A, PI4)


def test_static_neighbours_are_kept_and_corrected(gateway):
    for mac in ("02:00:00:00:00:07", "02:00:00:00:00:08"):
        text = batch([StaticNeighbour(IPv4Address("192.168.50.9"), mac, "en5")])
        command = ["ip", "netns", "exec", B, "ip", "-batch", "-"]
        subprocess.run(command, input=text, check=True)
        command = ["ip", "netns", "exec", B, "ip", "neigh", "show", "192.168.50.9"]
        seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert seen.strip() == f"192.168.50.9 dev en5 lladdr {mac} PERMANENT"

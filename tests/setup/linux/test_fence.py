"""`isolation: enforce` and static neighbours, in a real kernel: pi5 - gateway - pi4."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address, IPv4Network

import pytest

from smolmon.setup.linux import fence
from smolmon.setup.linux.facts_system import read_permanent
from smolmon.setup.linux.fence import TABLE, ruleset
from smolmon.setup.linux.neighbours import NAME, StaticNeighbour, delete, dispatcher, replace
from smolmon.setup.linux.neighbours import entries as read_entries
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


def output(*command: str) -> str:
    entered = ["ip", "netns", "exec", B, *command]
    return subprocess.run(entered, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """A stored file with two subnets on either side, loaded."""
    file = tmp_path / "isolation.nft"
    monkeypatch.setattr(fence, "RULES", str(file))
    further = [*APART, IPv4Network("192.168.53.0/24")]
    file.write_bytes(ruleset(further, [IPv4Address("192.168.50.9"), IPv4Address("10.0.0.1")]))
    load(file.read_bytes())
    return file


def differs() -> str | None:
    made, live = (fence.listed(output(*command)) for command in (fence.made(), fence.live()))
    return fence.difference(made, live)


def test_the_kernel_s_rules_are_compared_with_those_of_the_file(gateway, rules):
    """Whatever nft makes of them: this one joins neighbouring subnets to a range."""
    assert differs() is None
    sh(B, "nft", "insert", "rule", "ip", TABLE, "forward", "accept")
    assert differs() == "the kernel's table also has `accept`"
    load(rules.read_bytes())
    assert differs() is None
    sh(B, "nft", "flush", "chain", "ip", TABLE, "input")
    # The same rules are in the other chain, so only their number tells.
    assert "another" in differs()
    load(ruleset(APART, []))
    assert "lacks `ip saddr { 10.0.0.1, 192.168.50.9 } accept`" in differs()
    sh(B, *fence.delete())
    made = fence.listed(output(*fence.made()))
    assert fence.difference(made, ()) == "the kernel has no rules of it"


def test_asking_what_a_file_makes_changes_nothing(gateway, rules):
    sh(B, *fence.delete())
    before = tables()
    assert fence.listed(output(*fence.made()))
    assert tables() == before
    rules.unlink()
    assert subprocess.run(fence.made(), capture_output=True, check=False).returncode != 0


def permanent() -> tuple[StaticNeighbour, ...]:
    return read_permanent(output("ip", "-j", "-4", "neigh", "show", "nud", "permanent"))


def test_static_neighbours_are_kept_and_corrected(gateway, tmp_path):
    """As NetworkManager's dispatcher does it."""
    script = tmp_path / NAME
    entries = [
        StaticNeighbour(IPv4Address("192.168.50.9"), f"02:00:00:00:00:0{n}", "en5") for n in "78"
    ]
    run = ("env", "CONNECTION_UUID=ours", "sh")
    for entry in entries:
        text = dispatcher({"other": [entries[0]], "ours": [entry]})
        script.write_bytes(text)
        sh(B, *run, str(script), "en5", "pre-up")
        assert permanent() == (entry,)
        assert read_entries(text.decode()) == (entries[0], entry)
    sh(B, "ip", "link", "set", "en5", "down")
    sh(B, "ip", "link", "set", "en5", "up")
    assert permanent() == ()  # why it is run at every activation
    script.rename(script.with_suffix(".previous"))
    sh(B, *run, str(script.with_suffix(".previous")), "en5", "pre-up")
    assert permanent() == ()
    script.with_suffix(".previous").rename(script)
    sh(B, "env", "CONNECTION_UUID=mine", "sh", str(script), "en5", "pre-up")
    assert permanent() == ()


def test_commands_for_one_neighbour(gateway):
    entry = StaticNeighbour(IPv4Address("192.168.50.9"), "02:00:00:00:00:07", "en5")
    sh(B, *replace(entry))
    assert permanent() == (entry,)
    sh(B, *delete(entry.address, entry.interface))
    assert permanent() == ()

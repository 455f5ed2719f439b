"""`isolation: enforce` and `static_neighbors: true` on real machines, from bare to removed.

Two edge segments behind one gateway, which the server's segment joins to a hub.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.client import Lab, refuse_to_replace_a_lab, smolmon, until

pytestmark = pytest.mark.long

CLUSTER = """\
cluster: apart
isolation: enforce
server: {node: hub, segment: core}
internet: {address: 8.8.8.8}
bandwidth: {enabled: false}
nodes:
  hub: {platform: linux, ssh: smol@192.168.1.11, management: 192.168.1.11}
  gate: {platform: linux, ssh: smol@192.168.1.12, management: 192.168.1.12}
  left: {platform: linux, ssh: smol@192.168.1.13, management: 192.168.1.13}
  right: {platform: linux, ssh: smol@192.168.1.14, management: 192.168.1.14}
segments:
  core:
    kind: ethernet
    subnet: 10.10.0.0/24
    members:
      hub: {address: 10.10.0.1, interface: eth0}
      gate: {address: 10.10.0.2, interface: eth0}
  edge1:
    kind: ethernet
    subnet: 192.168.50.0/24
    static_neighbors: true
    members:
      gate: {address: 192.168.50.1, interface: eth1}
      left: {address: 192.168.50.2, interface: eth0}
  edge2:
    kind: ethernet
    subnet: 192.168.51.0/24
    static_neighbors: true
    members:
      gate: {address: 192.168.51.1, interface: eth2}
      right: {address: 192.168.51.2, interface: eth0}
"""
NODES = ("hub", "gate", "left", "right")
LEFT, RIGHT = "192.168.50.2", "192.168.51.2"
SCRIPT = "/etc/NetworkManager/dispatcher.d/pre-up.d/90-smolmon-neighbors"
OTHER = "02:00:00:00:00:99"
UNIT = "smolmon-isolation.service"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Bare machines."""
    refuse_to_replace_a_lab()
    file = tmp_path_factory.mktemp("apart") / "cluster.yaml"
    file.write_text(CLUSTER)
    try:
        smolmon("lab", "up", "--bare", "--cluster", str(file))
        yield Lab(file)
    finally:
        smolmon("lab", "down")


def setup(lab: Lab, *arguments: str, code: int = 0) -> str:
    """Everything that `smolmon setup` on the controller says."""
    done = lab.run("controller", "smolmon", "setup", *arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def pending(lab: Lab) -> dict[str, list[str]]:
    """Why anything is left to do, by node."""
    done = lab.run("controller", "smolmon", "setup", "--plan", "--json", check=False)
    return {
        name: whys
        for name, plan in json.loads(done.stdout)["plan"].items()
        if (whys := [step["why"] for step in plan["network"] + plan["system"]])
    }


def left_there(lab: Lab) -> dict[str, str]:
    """All that these two settings could leave on each node: files, units, rules, neighbours."""
    script = (
        "find /etc/systemd /etc/NetworkManager /etc/sysctl.d /opt | sort;"
        "nft list tables; ip -4 neigh show nud permanent;"
        "systemctl list-units --all --plain --no-legend 'smolmon*'"
    )
    with ThreadPoolExecutor(len(NODES)) as pool:
        said = pool.map(lambda node: lab.run(node, "sh", "-c", script).stdout, NODES)
        return dict(zip(NODES, said, strict=True))


def permanent(lab: Lab, node: str) -> list[str]:
    said = lab.run(node, "ip", "-4", "neigh", "show", "nud", "permanent").stdout
    return sorted(line.split(" lladdr")[0] for line in said.splitlines())


@pytest.fixture
def crossed(lab: Lab) -> Iterator[None]:
    """Somebody gave each worker a route to the other's segment."""
    routes = (
        ("left", "192.168.51.0/24", "192.168.50.1"),
        ("right", "192.168.50.0/24", "192.168.51.1"),
    )
    for node, subnet, gateway in routes:
        lab.run(node, "ip", "route", "add", subnet, "via", gateway)
    yield
    for node, subnet, _ in routes:
        lab.run(node, "ip", "route", "del", subnet)


def test_from_bare_to_as_wanted(lab: Lab) -> None:
    before = left_there(lab)
    setup(lab, "--yes")
    assert pending(lab) == {}
    assert "nothing to do: every node is as wanted" in setup(lab, "--yes")
    lab.run("controller", "smolmon", "verify")
    kept = lab.run("controller", "smolmon", "verify", "--after-reboot").stdout
    assert "its rules are in force" in kept
    assert "static neighbours on eth1" in kept
    assert permanent(lab, "gate") == [f"{LEFT} dev eth1", f"{RIGHT} dev eth2"]
    assert permanent(lab, "left") == ["192.168.50.1 dev eth0"]
    assert permanent(lab, "hub") == []
    setup(lab, "--remove", "--yes")
    assert "nothing of smolmon is on any node" in setup(lab, "--remove", "--yes")
    assert left_there(lab) == before
    setup(lab, "--yes")


def test_the_must_fail_pair_really_fails(lab: Lab, crossed: None) -> None:
    def kept_apart() -> bool:
        return not lab.pings("left", RIGHT) and not lab.pings("right", LEFT)

    def loaded() -> bool:
        return lab.run("gate", "nft", "list", "table", "ip", "smolmon", check=False).returncode == 0

    assert kept_apart()
    assert not lab.pings("left", "192.168.51.1")  # the gateway's own address over there
    for node, address in (("left", "192.168.50.1"), ("left", "10.10.0.1"), ("hub", RIGHT)):
        assert lab.pings(node, address)
    # Whoever has a firewall of their own starts it again: Debian's flushes everybody's rules.
    lab.run("gate", "systemctl", "start", "nftables")
    assert any("no rules of it" in why for why in pending(lab)["gate"])
    lab.run("gate", "systemctl", "reload", UNIT)
    for word in ("reload", "restart"):
        lab.run("gate", "systemctl", word, "nftables")
        until(f"the rules after a {word}", loaded, 10)
        assert kept_apart(), word
    lab.run("gate", "systemctl", "stop", UNIT)
    assert lab.pings("left", RIGHT)
    lab.run("gate", "systemctl", "start", UNIT)
    assert kept_apart()


BY_HAND = [
    ("gate", "nft flush ruleset", "isolation: the kernel has no rules of it"),
    ("gate", "nft insert rule ip smolmon forward accept", "also has `accept`"),
    ("gate", f"systemctl stop {UNIT}", f"{UNIT} is not active"),
    ("gate", f"systemctl disable -q {UNIT}", f"{UNIT} does not start at boot"),
    ("gate", "echo >>/opt/smolmon/isolation.nft", "the isolation file is another one"),
    (
        "gate",
        f"echo >>/etc/systemd/system/{UNIT}; systemctl daemon-reload",
        "the isolation unit is another one",
    ),
    ("gate", f"rm /opt/smolmon/isolation.nft /etc/systemd/system/{UNIT}", "is not installed"),
    ("left", f"echo >>{SCRIPT}", "the static neighbours' script is another one"),
    ("left", f"rm {SCRIPT}", "the static neighbours' script is not installed"),
    ("left", f"chmod 644 {SCRIPT}", "has the mode 0644 instead of 0755"),
    (
        "right",
        "ip neigh del 192.168.51.1 dev eth0",
        "no MAC address of gate (192.168.51.1) is kept on eth0",
    ),
    (
        "right",
        "ip neigh change 192.168.51.1 dev eth0 nud reachable",
        "no MAC address of gate (192.168.51.1) is kept on eth0",
    ),
    (
        "right",
        f"ip neigh replace 192.168.51.1 lladdr {OTHER} nud permanent dev eth0",
        f"{OTHER} is kept for gate (192.168.51.1) on eth0 instead of ",
    ),
]


@pytest.mark.parametrize(("node", "command", "said"), BY_HAND, ids=range(len(BY_HAND)))
def test_what_is_altered_by_hand_is_named_and_repaired(
    lab: Lab, node: str, command: str, said: str
) -> None:
    lab.run(node, "sh", "-c", command)
    found = pending(lab)
    assert list(found) == [node]
    assert any(said in why for why in found[node]), found
    setup(lab, "--yes")
    assert pending(lab) == {}
    assert not lab.pings("left", RIGHT)


def test_an_interface_that_was_down_has_its_neighbours_again(lab: Lab) -> None:
    kept = permanent(lab, "left")
    lab.run("gate", "ip", "link", "set", "eth1", "down")  # for left, the cable is pulled
    lab.run("gate", "ip", "link", "set", "eth1", "up")
    lab.run("left", "nmcli", "connection", "down", "smolmon-edge1")
    lab.run("left", "sh", "-c", "ip link set eth0 down; ip link set eth0 up")
    assert permanent(lab, "left") == []
    lab.run("left", "nmcli", "connection", "up", "smolmon-edge1")
    assert permanent(lab, "left") == kept
    until("the gateway's network", lambda: lab.pings("left", "192.168.50.1"), 20)
    setup(lab, "--yes")  # by hand, the gateway's interface was down too briefly to be noticed
    assert pending(lab) == {}


def test_one_node_alone_changes_nothing_of_the_others(lab: Lab) -> None:
    said = setup(lab, "--node", "gate", "--yes")
    assert "the MAC address of left is not known in this run, so " in said
    assert "nothing to do" in said
    assert "nothing to do" in setup(lab, "--only", "network", "--yes")


def test_another_network_card_is_told_at_once(lab: Lab) -> None:
    lab.run("left", "ip", "link", "set", "eth0", "address", OTHER)
    found = pending(lab)
    assert any(
        "is kept for left (192.168.50.2) on eth1 instead of 02:" in why for why in found["gate"]
    )
    setup(lab, "--yes")
    assert pending(lab) == {}
    assert lab.pings("left", "192.168.50.1")


def test_a_narrow_sudoers_file_is_enough(lab: Lab) -> None:
    for node, address in (("gate", "192.168.1.12"), ("left", "192.168.1.13")):
        text = lab.run("controller", "smolmon", "setup", "--sudoers", node).stdout
        path = "/etc/sudoers.d/smolmon"
        lab.run(
            node,
            "sh",
            "-c",
            'printf %s "$1" >/root/f && install -m 440 /root/f "$2"',
            "sh",
            text,
            path,
        )
        lab.run(node, "mv", "/etc/sudoers.d/smolmon-lab", "/root/kept")
        ask = ("ssh", f"smol@{address}", "sudo -n id")
        assert lab.run("controller", *ask, check=False).returncode != 0
    try:
        assert pending(lab) == {}
        lab.run("gate", "nft", "flush", "ruleset")
        lab.run(
            "gate",
            "ip",
            "neigh",
            "replace",
            LEFT,
            "lladdr",
            OTHER,
            "dev",
            "eth1",
            "nud",
            "permanent",
        )
        lab.run("left", "rm", SCRIPT)
        setup(lab, "--yes")
        setup(lab, "--remove", "--yes")
        setup(lab, "--yes")
        assert pending(lab) == {}
    finally:
        for node in ("gate", "left"):
            lab.run(node, "mv", "/root/kept", "/etc/sudoers.d/smolmon-lab")
            lab.run(node, "rm", "/etc/sudoers.d/smolmon", "/root/f")


def test_a_reboot_keeps_it(lab: Lab) -> None:
    smolmon("lab", "reboot", "gate", "left")
    until("nothing left to do", lambda: pending(lab) == {}, 30)
    assert permanent(lab, "gate") == [f"{LEFT} dev eth1", f"{RIGHT} dev eth2"]
    lab.run("controller", "smolmon", "verify")
    assert not lab.pings("left", RIGHT)


def test_no_longer_asked_for_and_removed(lab: Lab) -> None:
    path = "/etc/smolmon/cluster.yaml"
    lab.run("controller", "sed", "-i", "/^isolation/d; /static_neighbors/d", path)
    assert "isolation is not enforced here" in " ".join(pending(lab)["gate"])
    setup(lab, "--yes")
    assert pending(lab) == {}
    for said in left_there(lab).values():
        assert not any(word in said for word in ("isolation", "neighbors", "PERMANENT", "table ip"))
    setup(lab, "--remove", "--yes")
    for said in left_there(lab).values():
        assert "smolmon" not in said

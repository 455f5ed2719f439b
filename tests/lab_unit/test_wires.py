"""From the plan to the commands of ip(8)."""

from pathlib import Path

from smolmon.cluster import load
from smolmon.lab.plan import plan
from smolmon.lab.wires import cables, inside

GUIDE = plan(load(Path(__file__).parents[2] / "examples/guide.yaml"))


def test_a_cable_lies_between_two_namespaces() -> None:
    assert cables(GUIDE)[3] == (
        "link add name en5 netns smolmon-mini1 type veth peer name eth0 netns smolmon-pi5"
    )


def test_a_node_gets_its_wifi_and_nothing_that_setup_provides() -> None:
    assert inside(GUIDE, "smolmon-pi5") == [
        "link set lo up",
        "link set eth0 up",
        "link set wlan0 up",
        "address add 192.168.1.14/24 broadcast + dev wlan0",
        "route add default via 192.168.1.1 dev wlan0 metric 600",
    ]


def test_the_router_holds_the_internet() -> None:
    commands = inside(GUIDE, "smolmon-internet")
    assert "address add 192.168.1.1/24 dev lan" in commands
    assert "address add 8.8.8.8/32 dev lo" in commands


def test_the_middle_of_a_chain_joins_its_ports() -> None:
    commands = inside(GUIDE, "smolmon-mini2")
    assert [c for c in commands if "master" in c] == [
        "link set lab-in master lab-br",
        "link set lab-a master lab-br",
        "link set lab-b master lab-br",
    ]


def test_a_switch_does_not_answer_for_its_machine() -> None:
    assert "link set lab-br arp off" in inside(GUIDE, "smolmon-mini2")
    assert "link set lan arp off" not in inside(GUIDE, "smolmon-internet")

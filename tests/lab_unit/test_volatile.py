"""What a reboot takes from a namespace."""

from pathlib import Path

from smolmon.cluster import load
from smolmon.lab.plan import plan
from smolmon.lab.volatile import script

GUIDE = plan(load(Path(__file__).parents[2] / "examples/guide.yaml"))


def lines(node: str) -> list[str]:
    return script(GUIDE, GUIDE.machine(node)).splitlines()


def test_every_device_of_the_node_is_emptied() -> None:
    flushed = {line.split()[-1] for line in lines("mini2") if line.startswith("address flush")}
    machine = GUIDE.machine("mini2")
    assert flushed == {"bridge0", machine.wifi, *machine.lab_devices}


def test_the_wifi_is_there_again_after_everything_was_forgotten() -> None:
    pi5 = lines("pi5")
    assert pi5.index("route flush table main") < pi5.index(
        "route add default via 192.168.1.1 dev wlan0 metric 600"
    )
    assert "address add 192.168.1.14/24 broadcast + dev wlan0" in pi5
    assert not [line for line in pi5 if "192.168.50" in line]


def test_forwarding_is_off_after_a_reboot() -> None:
    assert "echo 0 >/proc/sys/net/ipv4/ip_forward" in lines("mini1")


def test_it_acts_in_the_nodes_own_namespace_only() -> None:
    outside = script(GUIDE, GUIDE.machine("pi4")).partition("sh <<'END'")[0].splitlines()
    acting = [line for line in outside if line.startswith(("nsenter", "ip ", "  ["))]
    assert acting
    assert all("--net=/run/netns/smolmon-pi4 " in line for line in acting)

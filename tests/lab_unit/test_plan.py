"""From a cluster file to machines and wires."""

from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from smolmon.cluster import load
from smolmon.cluster.load import parse
from smolmon.lab.errors import LabError
from smolmon.lab.plan import CONTROLLER, INTERNET, Cable, End, Plan, plan

GUIDE = Path(__file__).parents[2] / "examples/guide.yaml"


def made(nodes: str, segments: str, top: str = "") -> Plan:
    text = f"cluster: c\nserver: {{node: a}}\n{top}nodes:\n{nodes}segments:\n{segments}"
    return plan(parse(text))


FABRIC = """\
  fabric:
    kind: thunderbolt
    subnet: 10.10.0.0/24
    members:
      a: {address: 10.10.0.1, interface: bridge0}
      b: {address: 10.10.0.2, interface: bridge0}
"""
TWO = "  a: {platform: linux}\n  b: {platform: linux}\n"


@pytest.fixture(name="guide", scope="module")
def _guide() -> Plan:
    return plan(load(GUIDE))


def test_namespaces_are_those_of_the_contract(guide: Plan) -> None:
    assert set(guide.namespaces) == {
        "smolmon-mini1",
        "smolmon-mini2",
        "smolmon-mini3",
        "smolmon-pi5",
        "smolmon-pi4",
        "smolmon-jetson",
        "smolmon-controller",
        "smolmon-internet",
    }


def test_a_link_of_two_is_one_cable(guide: Plan) -> None:
    assert Cable(End("mini1", "en5"), End("pi5", "eth0")) in guide.cables


def test_a_star_of_three_is_a_switch_outside_the_nodes(guide: Plan) -> None:
    joined = {
        cable.a.machine: cable.b.interface
        for cable in guide.cables
        if cable.b.machine == INTERNET and cable.a.interface != guide.machine(cable.a.machine).wifi
    }
    assert set(joined) == {"mini3", "pi4", "jetson"}
    switches = [s for s in guide.switches if set(s.ports) == set(joined.values())]
    assert [s.machine for s in switches] == [INTERNET]


def test_a_chain_breaks_where_its_middle_breaks(guide: Plan) -> None:
    (middle,) = [s for s in guide.switches if s.machine == "mini2"]
    far = {}
    for cable in guide.cables:
        for here, there in ((cable.a, cable.b), (cable.b, cable.a)):
            if here.machine == "mini2" and here.interface in middle.ports:
                far[here.interface] = (there.machine, there.interface)
    assert sorted(far.values()) == [
        ("mini1", "bridge0"),
        ("mini2", "bridge0"),
        ("mini3", "bridge0"),
    ]
    assert set(guide.machine("mini2").lab_devices) == {middle.name, *middle.ports}
    assert guide.machine("mini1").lab_devices == ()


def test_declared_management_addresses_are_used(guide: Plan) -> None:
    assert [str(m.addresses[0]) for m in guide.machines[:2]] == [
        "192.168.1.11/24",
        "192.168.1.12/24",
    ]
    assert [str(lan.router) for lan in guide.lans] == ["192.168.1.1"]
    assert guide.internet == IPv4Address("8.8.8.8")


def test_no_address_and_no_interface_is_given_twice(guide: Plan) -> None:
    addresses = Counter(a.ip for m in guide.machines for a in m.addresses)
    addresses.update(lan.router for lan in guide.lans)
    assert max(addresses.values()) == 1
    ends = Counter((e.machine, e.interface) for c in guide.cables for e in (c.a, c.b))
    ends.update((s.machine, s.name) for s in guide.switches)
    assert max(ends.values()) == 1
    assert all(len(interface) <= 15 for _, interface in ends)


def test_users_are_those_of_the_ssh_destinations(guide: Plan) -> None:
    assert [guide.machine(n).user for n in ("mini1", "pi5", "jetson")] == ["smol", "pi", "nvidia"]


def test_names_get_addresses_and_the_controller_knows_them() -> None:
    wanted = made(
        "  a: {platform: linux, ssh: me@a.local, management: a.lan}\n  b: {platform: linux}\n",
        FABRIC,
    )
    assert wanted.machine("a").names == ("a", "a.lan", "a.local")
    assert wanted.lans[0].subnet == IPv4Network("192.168.1.0/24")
    assert all(m.addresses[0].network == wanted.lans[0].subnet for m in wanted.machines)


def test_the_spare_wifi_avoids_the_segments() -> None:
    segments = FABRIC.replace("10.10.0.", "192.168.1.")
    assert made(TWO, segments).lans[0].subnet == IPv4Network("192.168.2.0/24")


def test_a_wifi_beside_a_narrow_segment_is_narrower() -> None:
    nodes = TWO.replace("a: {", "a: {management: 192.168.1.10, ")
    segments = FABRIC.replace("10.10.0.0/24", "192.168.1.128/25").replace(
        "10.10.0.", "192.168.1.13"
    )
    assert made(nodes, segments).lans[0].subnet == IPv4Network("192.168.1.0/25")


def test_each_wifi_subnet_has_its_own_router_address() -> None:
    nodes = "  a: {platform: linux, management: 10.5.5.1}\n"
    nodes += "  b: {platform: linux, management: 10.6.6.7, ssh: b@10.5.5.254}\n"
    wanted = made(nodes, FABRIC)
    assert {str(lan.subnet): str(lan.router) for lan in wanted.lans} == {
        "10.5.5.0/24": "10.5.5.2",
        "10.6.6.0/24": "10.6.6.1",
    }
    assert [str(a.ip) for a in wanted.machine("b").addresses] == ["10.6.6.7", "10.5.5.254"]


def test_the_router_can_be_the_internet() -> None:
    nodes = TWO.replace("a: {", "a: {management: 192.168.7.10, ")
    wanted = made(nodes, FABRIC, "internet: {address: 192.168.7.254}\n")
    assert wanted.lans[0].router == IPv4Address("192.168.7.254")
    assert wanted.internet is None


def test_a_declared_wifi_segment_is_the_wifi() -> None:
    segments = FABRIC + (
        "  air: {kind: wifi, subnet: 192.168.8.0/22, members: {b: {address: 192.168.9.7, "
        "interface: wlp1s0, mac: '02:00:00:00:00:07'}}}\n"
    )
    wanted = made(TWO, segments)
    b = wanted.machine("b")
    assert (b.wifi, [str(a) for a in b.addresses]) == ("wlp1s0", ["192.168.9.7/22"])
    assert any(c.a == End("b", "wlp1s0", "02:00:00:00:00:07") for c in wanted.cables)


def test_the_wifi_gives_way_to_a_declared_wlan0() -> None:
    segments = FABRIC.replace("10.10.0.1, interface: bridge0", "10.10.0.1, interface: wlan0")
    wanted = made(TWO, segments)
    assert wanted.machine("a").wifi == "wlan1"
    assert wanted.machine(CONTROLLER).wifi == "wlan0"


def test_a_port_known_by_its_mac_gets_a_name_and_the_mac() -> None:
    segments = FABRIC.replace("thunderbolt", "ethernet")
    segments = segments.replace("1, interface: bridge0", "1, mac: '02:AA:00:00:00:01'")
    segments = segments.replace("2, interface: bridge0", "2, interface: eth0")
    assert made(TWO, segments).cables[0] == Cable(
        End("a", "eth0", "02:aa:00:00:00:01"), End("b", "eth0")
    )


def test_long_names_make_short_ports() -> None:
    names = [f"a-node-with-quite-a-long-name-{i}" for i in range(4)]
    nodes = "  a: {platform: linux}\n" + "".join(f"  {n}: {{platform: linux}}\n" for n in names)
    members = ", ".join(
        f"{n}: {{address: 10.10.0.{i}, interface: bridge0}}"
        for i, n in enumerate(["a", *names], start=1)
    )
    segments = (
        "  fabric-with-a-long-name: {kind: thunderbolt, cabling: star, subnet: 10.10.0.0/24, "
        f"members: {{{members}}}}}\n"
    )
    wanted = made(nodes, segments)
    ends = Counter((e.machine, e.interface) for c in wanted.cables for e in (c.a, c.b))
    ends.update((s.machine, s.name) for s in wanted.switches)
    assert max(ends.values()) == 1
    assert all(len(interface) <= 15 for _, interface in ends)


def test_a_mac_has_its_wifi_where_macs_have_it() -> None:
    assert (
        made(TWO.replace("a: {platform: linux", "a: {platform: macos"), FABRIC).machine("a").wifi
        == "en1"
    )


@pytest.mark.parametrize(
    ("nodes", "segments", "said"),
    [
        (TWO.replace("a: {", "a: {management: 127.0.0.1, "), FABRIC, "nodes.a: 127.0.0.1"),
        (
            TWO,
            FABRIC.replace("10.10.0.1, interface: bridge0", "10.10.0.1, interface: lo"),
            "segments.fabric.members.a: lo",
        ),
    ],
)
def test_what_cannot_be_emulated_is_told(nodes: str, segments: str, said: str) -> None:
    with pytest.raises(LabError, match=said) as caught:
        made(nodes, segments)
    assert caught.value.code == 2

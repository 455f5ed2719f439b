"""Every reason not to touch a node is one line that names the remedy."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from attrs import evolve

from smolmon.setup.linux.facts import Connection, Device, Facts, KernelRoute
from smolmon.setup.linux.plan import plan
from smolmon.setup.linux.preflight import refusals
from tests.setup.linux.test_plan import NODES, stolen_default
from tests.setup.material import bare, provisioned, want


def _without_device(facts: Facts) -> Facts:
    return evolve(facts, devices=tuple(d for d in facts.devices if d.name != "eth0"))


def _named(facts: Facts, name: str) -> Facts:
    return evolve(
        facts,
        interfaces=tuple(evolve(i, name=name) if i.name == "eth0" else i for i in facts.interfaces),
        devices=(Device(name, "ethernet", "disconnected"),),
    )


def _port(facts: Facts, name: str, **changes: str) -> Facts:
    return evolve(
        facts,
        interfaces=tuple(evolve(i, **changes) if i.name == name else i for i in facts.interfaces),
    )


def _stacked(facts: Facts, name: str, below: str) -> Facts:
    return evolve(
        facts,
        interfaces=(*facts.interfaces, evolve(facts.interface("eth0"), name=name, link=below)),
    )


def _address(facts: Facts, interface: str, address: str) -> Facts:
    return evolve(
        facts,
        interfaces=tuple(
            evolve(i, addresses=(*i.addresses, IPv4Interface(address)))
            if i.name == interface
            else i
            for i in facts.interfaces
        ),
    )


def _route(facts: Facts, destination: str, device: str | None, kind: str = "unicast") -> Facts:
    via = IPv4Address("192.168.1.1") if device == "wlan0" else None
    return evolve(
        facts, routes=(*facts.routes, KernelRoute(IPv4Network(destination), via, device, kind))
    )


@pytest.mark.parametrize("node", NODES)
def test_a_good_node_passes(node):
    assert refusals(want(node), bare(node)) == []
    assert refusals(want(node), provisioned(node)) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (evolve(bare("pi5"), sudo=False), "echo 'pi ALL=(ALL) NOPASSWD: ALL' | sudo tee"),
        (evolve(bare("pi5"), python_version=None), "sudo apt install python3"),
        (evolve(bare("pi5"), python_version=(3, 8)), "/usr/bin/python3 is Python 3.8"),
        (evolve(bare("pi5"), systemd=246), "systemd is 246; smolmon needs 247 or newer"),
        (evolve(bare("pi5"), systemd=None), "there is no systemd"),
        (evolve(bare("pi5"), nm_running=False), "systemctl enable --now NetworkManager"),
        (_named(bare("pi5"), "end0"), "there is no interface eth0; wired ones here: end0"),
        (_without_device(bare("pi5")), "nmcli device set eth0 managed yes"),
        (
            evolve(bare("pi5"), devices=(Device("eth0", "ethernet", "unmanaged"),)),
            "does not manage eth0",
        ),
        (evolve(bare("pi5"), devices=(Device("eth0", "bridge", "connected"),)), "is a bridge"),
        (
            _address(evolve(bare("pi5"), ssh_address="192.168.7.1"), "eth0", "192.168.7.1/24"),
            "eth0 carries this SSH session",
        ),
        (_port(bare("pi5"), "eth0", master="br0"), "eth0 is a port of br0; smolmon never takes"),
        (
            _port(bare("pi5"), "wlan0", link="eth0"),
            "eth0 is below wlan0, which carries this SSH session",
        ),
        (
            _route(
                _stacked(_stacked(bare("pi5"), "mv0", "eth0"), "mv0.7", "mv0"), "0.0.0.0/0", "mv0.7"
            ),
            "eth0 is below mv0.7, which carries the default route",
        ),
        (_route(bare("pi5"), "0.0.0.0/0", "eth0"), "eth0 carries the default route"),
        (_address(bare("pi5"), "wlan0", "10.10.0.9/16"), "10.10.0.0/24 of fabric overlaps"),
        (_route(bare("pi5"), "10.0.0.0/8", "wlan0"), "ip route del 10.0.0.0/8 via 192.168.1.1"),
        (_route(bare("pi5"), "10.10.0.7/32", None, "blackhole"), "blackhole 10.10.0.7/32"),
        (
            evolve(
                bare("pi5"), connections=(Connection("u", "smolmon-x", "wlan0", "802-3-ethernet"),)
            ),
            "nmcli connection modify uuid u connection.id NAME",
        ),
    ],
)
def test_reasons(facts, said):
    lines = refusals(want("pi5"), facts)
    assert len(lines) == 1
    assert said in lines[0]
    assert "\n" not in lines[0]


def test_every_declared_subnet_is_held_against_every_node():
    """Also those of segments that the node is not on, and whatever is there already."""
    for subnet, address in (
        ("192.168.51.0/24", "192.168.51.77/24"),  # a segment behind another gateway
        ("192.168.50.0/24", "192.168.50.77/24"),  # a home router that has this very subnet
        ("10.10.0.0/24", "10.10.0.0/16"),
    ):
        (line,) = refusals(want("pi5"), _address(bare("pi5"), "wlan0", address))
        assert line.startswith(f"{subnet} of ")
    jetson = evolve(bare("pi5").interface("eth0"), name="l4tbr0", carrier=False, up=False)
    facts = evolve(bare("pi5"), interfaces=(*bare("pi5").interfaces, jetson))
    facts = _address(facts, "l4tbr0", "192.168.55.1/24")
    assert refusals(want("pi5"), facts) == []
    here = evolve(want("pi5"), declared=(("usb", IPv4Network("192.168.55.0/24")),))
    (line,) = refusals(here, facts)
    assert "192.168.55.0/24 of usb overlaps 192.168.55.1/24 on l4tbr0" in line


def test_what_overlaps_the_wifi_is_seen_and_the_wifi_itself_is_not():
    wanted = evolve(want("pi5"), wifi=(("wifi", IPv4Network("192.168.1.0/24")),))
    assert refusals(wanted, bare("pi5")) == []
    docker = evolve(bare("pi5").interface("eth0"), name="docker0")
    facts = evolve(bare("pi5"), interfaces=(*bare("pi5").interfaces, docker))
    facts = _address(facts, "docker0", "192.168.1.1/25")
    (line,) = refusals(wanted, facts)
    assert "192.168.1.0/24 of wifi overlaps 192.168.1.1/25 on docker0" in line


def test_what_overlaps_the_way_in_is_noted():
    facts = _address(bare("pi5"), "lo", "192.168.0.1/16")
    (note,) = plan(want("pi5"), facts, ()).notes
    assert "lo has 192.168.0.1/16, which overlaps 192.168.1.14/24 of wlan0" in note


def test_a_pair_of_virtual_links_goes_in_circles_and_is_no_stack():
    facts = _port(_port(bare("pi5"), "wlan0", link="mv0"), "eth0", link="mv1")
    facts = _stacked(_stacked(facts, "mv0", "mv1"), "mv1", "mv0")
    assert refusals(want("pi5"), facts) == []
    assert facts.below("wlan0") == ("mv0", "mv1")


def test_a_wifi_profile_of_such_a_name_is_somebody_s():
    facts = evolve(
        bare("pi5"), connections=(Connection("u", "smolmon-x", "wlan0", "802-11-wireless"),)
    )
    assert refusals(want("pi5"), facts) == []


def test_a_session_from_nowhere_protects_the_default_route_s_interface():
    facts = evolve(bare("pi5"), ssh_address=None)
    facts = evolve(facts, routes=(KernelRoute(IPv4Network("0.0.0.0/0"), None, "eth0"),))
    assert "carries this SSH session" in refusals(want("pi5"), facts)[0]


def test_a_default_route_that_our_own_profile_was_given_is_repaired_not_refused():
    assert refusals(want("pi5"), stolen_default(provisioned("pi5"), "pi5")) == []


def test_a_port_that_moves_takes_its_addresses_along():
    """The cluster file now names eth1: what our own profile left on eth0 is no foreign network."""
    facts = provisioned("pi5")
    spare = evolve(facts.interface("eth0"), name="eth1", mac="02:00:00:00:00:01", addresses=())
    facts = evolve(
        facts,
        interfaces=(*facts.interfaces, spare),
        devices=(*facts.devices, Device("eth1", "ethernet", "disconnected")),
    )
    (link,) = want("pi5").links
    moved = evolve(link, profile=evolve(link.profile, interface="eth1"))
    assert refusals(evolve(want("pi5"), links=(moved,)), facts) == []


def test_a_management_address_that_is_elsewhere():
    wanted = evolve(want("pi5"), management="192.168.1.99")
    assert "its management address 192.168.1.99 is on none" in refusals(wanted, bare("pi5"))[0]
    assert refusals(evolve(wanted, management="pi5.local"), bare("pi5")) == []


def test_interface_and_mac_must_agree():
    wanted = want("pi5")
    (link,) = wanted.links
    mac = bare("pi5").interface("wlan0").mac
    both = evolve(link, profile=evolve(link.profile, mac=mac))
    lines = refusals(evolve(wanted, links=(both,)), bare("pi5"))
    assert any(f"{mac} is wlan0, not eth0" in line for line in lines)

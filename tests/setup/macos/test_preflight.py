"""Every reason not to touch a Mac, and everything that is only told, is one line with a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from attrs import evolve

from smolmon.macos.thunderbolt import Bus, Peer
from smolmon.setup.linux.system import LinuxState
from smolmon.setup.macos.facts import Python
from smolmon.setup.macos.notes import notes
from smolmon.setup.macos.preflight import refusals
from smolmon.setup.macos.rings import ring_refusals
from smolmon.setup.macos.system import MacState
from smolmon.setup.system import refused_together
from tests.setup.macos.material import facts, provisioned, want
from tests.setup.macos.model import State, change, device_of, mini, service
from tests.setup.material import bare
from tests.setup.material import want as linux_want


def lines(state: State, node: str = "mini1", **extra: str) -> list[str]:
    return refusals(want(node), facts(state, **extra))


def test_a_bare_and_a_provisioned_mac_may_be_touched():
    assert lines(mini()) == []
    assert lines(provisioned()) == []


def test_an_idle_mac_has_nothing_to_tell():
    assert list(notes(want(), facts(mini()))) == []


def _lease(state: State) -> None:
    one = state["services"][2]
    change(state, one, method="manual", address="192.168.1.77", mask="255.255.255.0")
    change(state, one, router="192.168.1.1")
    one["method"] = "dhcp"
    state["live"]["en1"]["routes"] = []


def _wifi_is_the_edge(state: State) -> None:
    state["live"]["en5"] = state["live"].pop("en1")


def _other_service(state: State) -> None:
    one = service('second "one"', "en5", "USB 10/100/1000 LAN")
    state["services"].append(one)
    change(state, one, method="manual", address="192.168.50.9", mask="255.255.255.0")


def _stored_elsewhere(state: State) -> None:
    state["macs"]["en7"] = "9c:eb:e8:98:0e:77"
    one = service("USB 2", "en7", "USB 2")
    one |= {"method": "manual", "address": "192.168.51.9", "mask": "255.255.255.0"}
    state["services"].append(one)


REFUSED: list[tuple[Callable[[State], object], str]] = [
    (lambda s: s.update(location="exo"), "its network location is `exo`"),
    (
        lambda s: s["macs"].pop("en5"),
        "edge50: there is no interface en5; wired ones here",
    ),
    (_wifi_is_the_edge, "edge50: en5 carries this SSH session; smolmon never changes it. Reach"),
    (_lease, "fabric: bridge0 carries the default route (a DHCP server on the link gave"),
    (
        lambda s: s["services"][0].update(port="Ethernet Adapter (en5)"),
        "edge50: en5 is the far end of a USB cable, not an Ethernet adapter",
    ),
    (lambda s: s["services"][0].update(port="Wi-Fi"), "edge50: en5 is Wi-Fi, which smolmon never"),
    (
        lambda s: s["services"][0].update(method="manual", address="none", mask="none"),
        "edge50: the settings of USB 10/100/1000 LAN cannot be read",
    ),
    (
        lambda s: s["services"][2].update(routes=[["10.9.0.0", "255.0.255.0", "10.10.0.9"]]),
        "fabric: the additional routes of Thunderbolt Bridge cannot be read",
    ),
    (
        _other_service,
        'edge50: a second service second "one" on en5 has the address 192.168.50.9/24',
    ),
    (
        lambda s: device_of(s, "en1")["addresses"].append("192.168.50.1/24"),
        "192.168.50.0/24 of edge50 overlaps 192.168.50.1/24 on en1; choose another subnet",
    ),
    (
        lambda s: device_of(s, "en1")["routes"].append(["192.168.51.0/24", "192.168.1.9"]),
        "192.168.51.0/24 of edge51 overlaps the route 192.168.51.0/24 via 192.168.1.9 on en1",
    ),
    (_stored_elsewhere, "192.168.51.0/24 of edge51 overlaps 192.168.51.9/24 of the service USB 2"),
    (
        lambda s: s["services"].append(service("smolmon-wifi", "en1", "Wi-Fi")),
        "the service smolmon-wifi is on en1, which carries this SSH session",
    ),
]


@pytest.mark.parametrize(("spoil", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_each_reason_is_one_line(spoil, said):
    state = mini()
    spoil(state)
    found = lines(state)
    assert any(line.startswith(said) for line in found), found
    assert not any("\n" in line for line in found)


def test_what_the_machine_lacks():
    assert "sudo asks train for a password" in lines(mini(), sudo="")[0]
    assert "`smolmon setup --sudoers mini1`" in lines(mini(), sudo="")[0]
    bare = facts(mini())
    none = refusals(want(), evolve(bare, pythons=()))
    assert none == [
        "there is no Python 3.10 or newer; install one: `brew install python@3.13`, or the "
        "installer of python.org"
    ]
    old = evolve(bare, pythons=(Python("/usr/bin/python3", (3, 9), "/x"),))
    assert refusals(want(), old)[0].startswith("/usr/bin/python3 is Python 3.9; smolmon needs 3.10")
    (exo,) = lines(mini(), daemons="org.x.plist\nio.exo.networksetup.plist")
    assert "sudo launchctl bootout system/io.exo.networksetup" in exo
    moved = refusals(evolve(want(), management="192.168.1.99"), bare)
    assert "its management address 192.168.1.99 is on none of its interfaces" in moved[0]


def test_a_port_in_the_bridge_is_not_an_edge_link():
    link = evolve(want().links[1], interface="en2")
    (line,) = refusals(evolve(want(), links=(link,)), facts(mini()))
    assert line.startswith("edge50: en2 is a port of bridge0; declare bridge0 instead")


def test_a_mac_address_means_the_bridge_only_on_thunderbolt():
    fabric, edge = want().links
    shared = "82:15:07:f3:c5:40"
    both = (evolve(fabric, mac=shared), evolve(edge, mac=shared, interface="en2"))
    found = refusals(evolve(want(), links=both), facts(mini()))
    assert [line.split(":")[0] for line in found] == ["edge50"]
    assert "en2 is a port of bridge0" in found[0]


def test_ssh_over_a_link_local_ipv6_address_is_recognised_by_its_zone():
    here = facts(mini(), ssh="fe80::1%en9 50000 fe80::c1d:55aa:9f3e:1%en5 22")
    assert here.session == "en5"
    unzoned = facts(mini(), ssh="fe80::1 50000 fe80::c1d:55aa:9f3e:1 22")
    assert unzoned.session == "en1"
    assert facts(mini(), ssh="").session == "en1"  # the default route's, to be on the safe side


TOLD: list[tuple[Callable[[State], object], str]] = [
    (lambda s: s.update(inactive=["bridge0"]), "fabric: bridge0 has no link, so its settings"),
    (lambda s: s.update(mtu={"bridge0": 9000}), "fabric: bridge0 has an MTU of 9000; every node"),
    (
        lambda s: s.update(pmset={"sleep": 10, "womp": 0}),
        "it goes to sleep by itself; to keep it awake: sudo pmset -a sleep 0 womp 1",
    ),
    (lambda s: s["pmset"].update(autorestart=0), "it does not come back by itself"),
    (lambda s: s["private"].update(en1="de:a4:ca:f3:67:03"), "Wi-Fi (en1) uses a private address"),
    (lambda s: s.update(firewall=2), "its firewall blocks all incoming connections"),
    (lambda s: s.update(firewall=1), "its firewall is on: the interpreter that trains needs"),
    (
        lambda s: s.update(firewall=1, stealth=True),
        "its firewall is in stealth mode",
    ),
]


@pytest.mark.parametrize(("spoil", "said"), TOLD, ids=[said[:40] for _, said in TOLD])
def test_what_is_seen_and_not_changed(spoil, said):
    state = mini()
    spoil(state)
    assert any(note.startswith(said) for note in notes(want(), facts(state)))
    assert lines(state) == []


def test_an_adapter_that_is_gone_and_dead_lines_of_the_guide_are_told():
    state = mini()
    one = service("old", "en9", "USB")
    one |= {"method": "manual", "address": "192.168.50.1", "mask": "255.255.255.0"}
    state["services"].append(one)
    told = list(notes(want(), facts(state, **{"sysctl.conf": "net.inet.ip.forwarding=1"})))
    assert any(note.startswith("/etc/sysctl.conf asks for forwarding") for note in told)
    assert any("sudo networksetup -removenetworkservice old" in note for note in told)
    assert lines(state) == []


def test_a_closed_ring_is_refused_on_every_mac_of_it_and_a_chain_is_not():
    def bus(mine: str, theirs: str) -> Bus:
        return Bus(mine, None, True, None, (Peer(None, theirs),))

    chain = {"mini1": [bus("a", "b")], "mini2": [bus("b", "a"), bus("c", "d")]}
    chain |= {"mini3": [bus("d", "c")]}
    assert ring_refusals(chain) == {}
    ring = {**chain, "mini1": [*chain["mini1"], bus("e", "f")]}
    ring["mini3"] = [*ring["mini3"], bus("f", "e")]
    found = ring_refusals(ring)
    assert sorted(found) == ["mini1", "mini2", "mini3"]
    assert "pull one cable" in found["mini2"][0]


def test_a_survey_sees_the_ring_that_no_mac_sees_alone():
    def cables(*ends: tuple[str, str]) -> str:
        buses = [{"domain_uuid_key": a, "_items": [{"domain_uuid_key": b}]} for a, b in ends]
        return json.dumps({"SPThunderboltDataType": buses})

    ends = {"mini1": [("a", "b"), ("f", "e")], "mini2": [("b", "a"), ("e", "f")]}
    states = {
        name: MacState(want(name), facts(mini(thunderbolt=cables(*pairs))))
        for name, pairs in ends.items()
    }
    assert sorted(refused_together(states)) == ["mini1", "mini2"]
    linux = LinuxState(linux_want("pi5"), bare("pi5"))
    assert refused_together({"pi5": linux, "mini1": states["mini1"]}) == {}

"""What is planned for a Mac, carried out on a model of one, leaves nothing to do."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.setup.macos.material import done, guide, network, planned, provisioned, want
from tests.setup.macos.model import State, change, device_of, mini, service

BRIDGE, USB = "Thunderbolt Bridge", "USB 10/100/1000 LAN"
FOREIGN = ["203.0.113.0", "255.255.255.0", "10.10.0.9"]


def named(state: State, name: str) -> State:
    return next(s for s in state["services"] if s["name"] == name)


def commands(state: State, node: str = "mini1") -> list[str]:
    return [step.command for step in network(state, node)]


def carried_out(state: State, node: str = "mini1") -> State:
    return done(state, commands(state, node))


def undone(before: State, node: str = "mini1") -> State:
    """Everything done, and then everything undone, last first."""
    steps = network(before, node)
    after = done(before, [step.command for step in steps])
    return done(after, [step.undo for step in reversed(steps) if step.undo])


def test_the_guide_s_own_settings_and_the_return_route_it_forgot():
    assert commands(mini()) == [
        "sudo -n /usr/sbin/networksetup -setmanual 'Thunderbolt Bridge' 10.10.0.1 255.255.255.0 ''",
        "sudo -n /usr/sbin/networksetup -setadditionalroutes 'Thunderbolt Bridge' "
        "192.168.51.0 255.255.255.0 10.10.0.3",
        "sudo -n /usr/sbin/networksetup -setv6LinkLocal 'Thunderbolt Bridge'",
        "sudo -n /usr/sbin/networksetup -setmanual 'USB 10/100/1000 LAN' 192.168.50.1 "
        "255.255.255.0 ''",
        "sudo -n /usr/sbin/networksetup -setv6LinkLocal 'USB 10/100/1000 LAN'",
    ]
    undos = [step.undo for step in network(mini())]
    assert undos[0] == "sudo -n /usr/sbin/networksetup -setdhcp 'Thunderbolt Bridge'"
    assert undos[1].endswith("-setadditionalroutes 'Thunderbolt Bridge'")


@pytest.mark.parametrize("node", ["mini1", "mini3"])
@pytest.mark.parametrize("wipes", [False, True])
def test_a_second_run_does_nothing_whether_or_not_setmanual_wipes_the_routes(node, wipes):
    after = carried_out(mini(wipes=wipes), node)
    assert network(after, node) == ()
    assert planned(after, node).notes == planned(mini(), node).notes


def test_services_are_found_by_device_in_any_language():
    state = mini()
    named(state, BRIDGE)["name"] = "雷雳 \"$(reboot)\" `x` '网桥'"
    after = carried_out(state)
    assert network(after) == ()
    assert device_of(after, "bridge0")["addresses"] == ["10.10.0.1/24"]


def test_a_device_without_a_service_gets_one_and_loses_it_again():
    state = mini()
    state["services"].remove(named(state, BRIDGE))
    first, *_ = network(state)
    assert first.command.endswith("-createnetworkservice smolmon-fabric bridge0")
    assert network(carried_out(state)) == ()
    assert undone(state) == state | {"live": undone(state)["live"]}


def test_an_adapter_in_another_socket_takes_our_service_along():
    state = mini()
    state["services"][0] = service("smolmon-edge50", "en7", "en7")
    state["macs"]["en7"] = "9c:eb:e8:98:0e:77"
    after = carried_out(state)
    assert network(after) == ()
    assert [s["device"] for s in after["services"] if s["name"] == "smolmon-edge50"] == ["en5"]


def test_foreign_routes_stay_where_they_are_and_come_back():
    state = mini(wipes=True)
    named(state, BRIDGE)["routes"] = [FOREIGN]
    after = carried_out(state)
    assert named(after, BRIDGE)["routes"] == [
        FOREIGN,
        ["192.168.51.0", "255.255.255.0", "10.10.0.3"],
    ]
    assert undone(state)["services"] == state["services"]


# -- what people and accidents do ---------------------------------------------------------------


def lose_address(state: State) -> None:
    state["live"]["en5"] = {"addresses": [], "routes": []}


def lose_route(state: State) -> None:
    device_of(state, "bridge0")["routes"] = []


def wrong_route(state: State) -> None:
    device_of(state, "bridge0")["routes"] = [["192.168.51.0/24", "10.10.0.9"]]


def narrow_route(state: State) -> None:
    device_of(state, "bridge0")["routes"].append(["192.168.51.128/25", "10.10.0.9"])


def extra_address(state: State) -> None:
    device_of(state, "en5")["addresses"].append("192.168.51.9/24")


def stored_address(state: State) -> None:
    change(state, named(state, USB), address="192.168.50.77")


def dhcp_again(state: State) -> None:
    change(state, named(state, BRIDGE), method="dhcp", address="", mask="")


def given_a_router(state: State) -> None:
    change(state, named(state, USB), router="192.168.50.2")


def no_stored_routes(state: State) -> None:
    change(state, named(state, BRIDGE), routes=[])


def another_stored_route(state: State) -> None:
    narrow = ["192.168.51.0", "255.255.255.128", "10.10.0.2"]
    change(state, named(state, BRIDGE), routes=[*named(state, BRIDGE)["routes"], narrow])


def switched_off(state: State) -> None:
    change(state, named(state, USB), enabled=False)


def ipv6_automatic(state: State) -> None:
    named(state, USB)["ipv6"] = "Automatic"


def second_service(state: State) -> None:
    state["services"].append(service("smolmon-old", "en5", "en5"))


ACCIDENTS = (
    *(stored_address, dhcp_again, given_a_router, no_stored_routes, another_stored_route),
    *(switched_off, ipv6_automatic, second_service),
    *(lose_address, lose_route, wrong_route, narrow_route, extra_address),
)


@given(st.lists(st.sampled_from(ACCIDENTS), unique=True))
@settings(max_examples=200, deadline=None)
def test_each_accident_is_seen_repaired_and_nothing_else_changes(accidents):
    right = provisioned()
    broken = copy.deepcopy(right)
    for accident in sorted(accidents, key=ACCIDENTS.index):
        accident(broken)
    assert bool(network(broken)) == bool(accidents)
    state = carried_out(broken)
    assert network(state) == ()
    assert sorted(state["services"], key=str) == sorted(right["services"], key=str)
    assert state["live"]["en1"] == right["live"]["en1"]


@given(st.lists(st.sampled_from(ACCIDENTS), unique=True))
@settings(max_examples=100, deadline=None)
def test_the_inverses_lead_back_to_what_was_stored(accidents):
    broken = provisioned()
    for accident in sorted(accidents, key=ACCIDENTS.index):
        accident(broken)
    back = undone(broken)
    assert sorted(back["services"], key=str) == sorted(broken["services"], key=str)
    # So that `apply` finds the network as it was.
    named_before = {s["name"]: s for s in broken["services"]}
    assert {s["name"]: s for s in back["services"]} == named_before


def test_what_only_the_kernel_lost_is_put_back_without_taking_the_link_down():
    state = provisioned()
    lose_route(state)
    (step,) = network(state)
    assert step.command == "sudo -n /sbin/route -n add -net 192.168.51.0/24 10.10.0.3"
    assert step.undo == "sudo -n /sbin/route -n delete -net 192.168.51.0/24 10.10.0.3"


def test_without_a_link_all_is_stored_and_nothing_is_expected_of_the_kernel():
    state = mini(inactive=["bridge0"])
    after = carried_out(state)
    assert network(after) == ()
    assert device_of(after, "bridge0")["addresses"] == []
    assert any("bridge0 has no link" in note for note in planned(after).notes)


def test_each_mac_of_the_guide_gets_the_routes_that_its_packets_need():
    routes = {
        link.segment: [f"{r.destination} {r.gateway}" for r in link.routes]
        for node in ("mini2",)
        for link in want(node).links
    }
    assert routes == {"fabric": ["192.168.50.0/24 10.10.0.1", "192.168.51.0/24 10.10.0.3"]}
    assert guide().node("mini2").platform.value == "macos"

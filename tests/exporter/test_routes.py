"""A route is present when the kernel would use it."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from attrs import evolve

from smolmon.cluster import Member, derive, load
from smolmon.exporter.routes import device, is_present
from smolmon.exporter.system import KernelRoute
from tests.exporter.fakes import FakeSystem

CLUSTER = load(Path(__file__).parents[2] / "examples" / "guide.yaml")
[WANTED] = derive.routes(CLUSTER, "pi5")  # 10.10.0.0/24 via 192.168.50.1
OURS = KernelRoute(WANTED.destination, WANTED.via, "eth0", metric=100)
OTHER = evolve(OURS, gateway=IPv4Address("192.168.50.9"))
WIDER = evolve(OURS, destination=IPv4Network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("table", "present"),
    [
        ([], False),
        ([OURS], True),
        ([WIDER], False),
        ([evolve(OURS, gateway=None)], False),
        ([OTHER], False),
        ([evolve(OURS, device="wlan0")], False),
        ([evolve(OURS, linkdown=True)], False),
        ([evolve(OURS, dead=True)], False),
        ([OURS, evolve(OTHER, metric=99)], False),
        ([evolve(OTHER, metric=101), OURS], True),
        ([OURS, evolve(OTHER, metric=99, dead=True)], True),
        ([OURS, evolve(OTHER, metric=99, destination=WIDER.destination)], True),
        ([OURS, OTHER], True),
        ([OTHER, OURS], False),
    ],
)
def test_presence(table, present):
    assert is_present(WANTED, "eth0", table) is present


def test_any_device_will_do_where_the_file_names_none():
    assert is_present(WANTED, "", [evolve(OURS, device="wlan0")])


def test_the_device_is_the_declared_one_by_name_or_by_hardware_address():
    system = FakeSystem(by_mac={"d8:3a:dd:01:02:03": "enx0"})
    member = Member("pi5", WANTED.via, interface="eth0", mac="d8:3a:dd:01:02:03")
    assert device(member, system) == "eth0"
    assert device(evolve(member, interface=None), system) == "enx0"
    assert device(evolve(member, interface=None, mac="d8:3a:dd:00:00:00"), system) == ""
    assert device(evolve(member, interface=None, mac=None), system) == ""

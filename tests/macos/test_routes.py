"""The routing table, and single routes."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from smolmon.macos import netstat_routes, route_get
from smolmon.macos.netstat_routes import NetstatRoute
from tests.macos.recorded import recorded


def network(text: str) -> IPv4Network:
    return IPv4Network(text)


def address(text: str) -> IPv4Address:
    return IPv4Address(text)


def test_every_row_that_can_be_read_is_there_in_order() -> None:
    gateway = address("10.64.0.1")
    assert netstat_routes.parse(recorded("netstat_rn.txt")) == (
        NetstatRoute(network("0.0.0.0/0"), address("172.18.3.1"), "UGScg", "en1"),
        NetstatRoute(network("0.0.0.0/0"), None, "UCSIg", "bridge0"),
        NetstatRoute(network("0.0.0.0/0"), gateway, "UGScIg", "utun4"),
        NetstatRoute(network("0.0.0.0/1"), gateway, "UGSc", "utun4"),
        NetstatRoute(network("10.0.0.0/8"), gateway, "UGSc", "utun4"),
        NetstatRoute(network("10.10.0.0/24"), None, "UCS", "bridge0"),
        NetstatRoute(network("10.10.0.1/32"), None, "UCS", "bridge0"),
        NetstatRoute(network("10.10.0.3/32"), None, "UHLWIi", "bridge0", 1134),
        NetstatRoute(network("10.64.0.1/32"), address("10.64.0.2"), "UH", "utun4"),
        NetstatRoute(network("127.0.0.0/8"), address("127.0.0.1"), "UCS", "lo0"),
        NetstatRoute(network("127.0.0.1/32"), address("127.0.0.1"), "UH", "lo0"),
        NetstatRoute(network("128.0.0.0/1"), gateway, "UGSc", "utun4"),
        NetstatRoute(network("169.254.0.0/16"), None, "UCS", "en1"),
        NetstatRoute(network("172.18.3.0/24"), None, "UCS", "en1"),
        NetstatRoute(network("192.168.0.0/16"), gateway, "UGSc", "utun4"),
        NetstatRoute(network("192.168.50.0/24"), None, "UCS", "en5"),
        NetstatRoute(network("192.168.50.2/32"), None, "UHLWIi", "en5", 1180),
        NetstatRoute(network("192.168.51.0/24"), address("10.10.0.3"), "UGSc", "bridge0"),
        NetstatRoute(network("192.168.52.0/24"), address("10.10.0.2"), "UGRSc", "bridge0"),
        # `198.51.100&0xff00` has holes in its mask, and is left out.
        NetstatRoute(network("224.0.0.0/4"), None, "UmCS", "en1"),
        NetstatRoute(network("255.255.255.255/32"), None, "UCS", "en1"),
    )


def test_only_one_of_several_default_routes_serves_everybody() -> None:
    table = netstat_routes.parse(recorded("netstat_rn.txt"))
    defaults = [r for r in table if r.destination.prefixlen == 0]
    assert [r.device for r in defaults if not r.scoped] == ["en1"]
    assert [r.device for r in defaults if r.scoped] == ["bridge0", "utun4"]


def test_flags() -> None:
    table = netstat_routes.parse(recorded("netstat_rn.txt"))
    assert [str(r.destination) for r in table if r.refuses] == ["192.168.52.0/24"]
    assert [str(r.destination) for r in table if r.cloned] == ["10.10.0.3/32", "192.168.50.2/32"]


def test_ipv6_default_routes_are_not_taken_for_ipv4_ones() -> None:
    table = netstat_routes.parse(recorded("netstat_rn.txt"))
    assert "UGcg" not in {r.flags for r in table}


def test_old_releases_have_two_more_columns() -> None:
    assert netstat_routes.parse(recorded("netstat_rn_macos_10_14.txt")) == (
        NetstatRoute(network("0.0.0.0/0"), address("172.18.3.1"), "UGSc", "en1"),
        NetstatRoute(network("10.10.0.0/24"), None, "UCS", "bridge0"),
        NetstatRoute(network("192.168.50.2/32"), None, "UHLWI", "en5", 1180),
        NetstatRoute(network("192.168.51.0/24"), address("10.10.0.3"), "UGSc", "bridge0"),
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("default", "0.0.0.0/0"),
        ("0/1", "0.0.0.0/1"),
        ("10", "10.0.0.0/8"),
        ("10.10/24", "10.10.0.0/24"),
        ("10.10/16", "10.10.0.0/16"),
        ("128.0/1", "128.0.0.0/1"),
        ("172.18.3/24", "172.18.3.0/24"),
        ("172.18", "172.18.0.0/16"),
        ("192.168.51", "192.168.51.0/24"),
        ("192.168.0/16", "192.168.0.0/16"),
        ("192.168.50.128/25", "192.168.50.128/25"),
        ("224.0.0/4", "224.0.0.0/4"),
        ("255.255.255.255/32", "255.255.255.255/32"),
    ],
)
def test_abbreviated_destinations(word: str, expected: str) -> None:
    assert netstat_routes.destination(word) == network(expected)


@pytest.mark.parametrize(
    "word", ["", "link#5", "10.10.0.1/33", "256.1", "1.2.3.4.5", "10.10.0.1/24", "fe80::/64", "10/"]
)
def test_what_is_no_destination(word: str) -> None:
    assert netstat_routes.destination(word) is None


def test_four_octets_are_a_host_only_if_the_flags_say_so() -> None:
    assert netstat_routes.destination("192.168.50.2", host=True) == network("192.168.50.2/32")
    assert netstat_routes.destination("192.168.50.2") is None


def test_a_row_that_lacks_its_gateway_is_not_shifted_into_place() -> None:
    assert netstat_routes.parse("10.10/24  UCS  utun1  !\n10.10/24  UCS  utun1  1134\n") == ()


def test_a_route_of_its_own() -> None:
    found = route_get.parse(recorded("route_get.txt"))
    assert found == route_get.RouteGet(
        destination=network("192.168.51.0/24"),
        gateway=address("10.10.0.3"),
        interface="bridge0",
        flags=frozenset({"UP", "GATEWAY", "DONE", "STATIC", "PRCLONING"}),
        mtu=1500,
    )
    assert not found.is_default
    assert not found.refuses


def test_a_missing_route_answers_with_the_default_one() -> None:
    found = route_get.parse(recorded("route_get_default.txt"))
    assert found is not None
    assert found.is_default
    assert (found.interface, found.gateway) == ("en1", address("172.18.3.1"))


def test_a_neighbour_is_a_host_route_without_gateway() -> None:
    found = route_get.parse(recorded("route_get_on_link.txt"))
    assert found is not None
    assert found.destination == network("192.168.50.2/32")
    assert found.gateway is None
    assert found.mtu == 1500  # locked


def test_a_rejected_neighbour() -> None:
    found = route_get.parse(recorded("route_get_rejected.txt"))
    assert found is not None
    assert found.refuses


def test_no_route_at_all_is_none_whatever_the_exit_status() -> None:
    assert route_get.parse(recorded("route_get_not_in_table.txt")) is None
    assert route_get.parse("") is None
    assert route_get.parse("route: writing to routing socket: not in table\n") is None


def test_a_mask_with_holes_is_not_believed() -> None:
    text = recorded("route_get.txt").replace("255.255.255.0", "255.0.255.0")
    assert route_get.parse(text) is None

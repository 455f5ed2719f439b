"""Interfaces, their counters, and neighbours."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address

import pytest

from smolmon.macos import arp, ifconfig, ndp, netstat_interfaces
from smolmon.macos.arp import ArpEntry, Reachability
from smolmon.macos.ifconfig import CacheEntry
from smolmon.macos.ndp import NdpEntry, NdpState
from smolmon.macos.netstat_interfaces import InterfaceCounters
from tests.macos.recorded import recorded


def all_interfaces() -> dict[str, ifconfig.Interface]:
    return {i.name: i for i in ifconfig.parse(recorded("ifconfig_a.txt"))}


def test_all_interfaces_in_order() -> None:
    assert list(all_interfaces()) == [
        *("lo0", "gif0", "en1", "en2", "en5", "en7", "bridge0", "utun4"),
    ]


def test_an_ethernet_interface() -> None:
    assert all_interfaces()["en5"] == ifconfig.Interface(
        name="en5",
        flags=frozenset({"UP", "BROADCAST", "SMART", "RUNNING", "SIMPLEX", "MULTICAST"}),
        mtu=1500,
        mac="9c:eb:e8:98:0e:62",
        addresses=(IPv4Interface("192.168.50.1/24"), IPv4Interface("192.168.60.1/24")),
        active=True,
        media="autoselect (1000baseT <full-duplex>)",
        speed=1e9,
        full_duplex=True,
    )


def test_a_bridge_with_two_peers() -> None:
    bridge = all_interfaces()["bridge0"]
    assert bridge.active is True
    assert bridge.addresses == (IPv4Interface("10.10.0.2/24"),)
    assert bridge.members == ("en2", "en3")
    assert bridge.cache == (
        CacheEntry("82:e6:6d:c0:a4:01", "en3", 1198),
        CacheEntry("36:90:11:cc:0f:40", "en2", 1199),
    )
    assert bridge.speed is None


def test_a_bridge_without_a_peer_has_no_address() -> None:
    (bridge,) = ifconfig.parse(recorded("ifconfig_bridge_without_peer.txt"))
    assert bridge.up
    assert bridge.active is False
    assert bridge.addresses == ()
    assert bridge.members == ("en2", "en3")
    assert bridge.cache == ()
    assert bridge.media == "<unknown type>"
    assert bridge.speed is None


def test_an_interface_without_cable_has_no_speed() -> None:
    interface = all_interfaces()["en7"]
    assert (interface.up, interface.active, interface.speed) == (True, False, None)
    assert interface.full_duplex is None


def test_what_is_not_printed_is_not_known() -> None:
    lo0, gif0, utun4 = (all_interfaces()[name] for name in ("lo0", "gif0", "utun4"))
    assert (lo0.active, lo0.mac, lo0.media) == (None, None, None)
    assert not gif0.up
    assert utun4.addresses == (IPv4Interface("10.64.0.2/32"),)


@pytest.mark.parametrize(
    ("media", "bits"),
    [
        ("autoselect (1000baseT <full-duplex>)", 1e9),
        ("autoselect (100baseTX <half-duplex>)", 100e6),
        ("autoselect (2500Base-T <full-duplex>)", 2.5e9),
        ("autoselect (10Gbase-T <full-duplex,flow-control>)", 10e9),
        ("10baseT/UTP", 10e6),
        ("autoselect", None),
        ("autoselect (none)", None),
        ("autoselect <full-duplex>", None),  # Thunderbolt
        ("<unknown type>", None),
    ],
)
def test_speed(media: str, bits: float | None) -> None:
    assert ifconfig.speed(media) == bits


def test_counters_come_from_the_interfaces_own_rows() -> None:
    rows = netstat_interfaces.parse(recorded("netstat_ibdn.txt"))
    assert [(r.name, r.up, r.index) for r in rows] == [
        ("lo0", True, 1),
        ("gif0", False, 2),
        ("en1", True, 15),
        ("en5", True, 21),
        ("bridge0", True, 18),
        ("utun4", True, 30),
    ]
    assert rows[3] == InterfaceCounters(
        name="en5",
        up=True,
        index=21,
        mtu=1500,
        mac="9c:eb:e8:98:0e:62",
        receive_packets=5661610,
        receive_errors=3,
        receive_bytes=5998695733,  # more than 32 bits hold
        transmit_packets=1557229,
        transmit_errors=4,
        transmit_bytes=991638350,
        collisions=5,
        transmit_drops=6,
    )


def test_a_row_without_hardware_address_is_not_shifted() -> None:
    lo0, *_, utun4 = netstat_interfaces.parse(recorded("netstat_ibdn.txt"))
    assert (lo0.mac, lo0.receive_packets, lo0.receive_bytes) == (None, 163411, 24117203)
    assert (utun4.receive_packets, utun4.transmit_bytes) == (10000, 5000000)


def test_old_releases_leave_the_last_column_empty() -> None:
    rows = netstat_interfaces.parse(recorded("netstat_ibd_macos_10.txt"))
    assert [(r.name, r.mac, r.receive_packets, r.collisions, r.transmit_drops) for r in rows] == [
        ("lo0", None, 163411, 0, None),
        ("gif0", None, 0, 0, None),
        ("en1", "dc:a4:ca:f3:67:03", 5817720, 0, None),
        ("fw0", None, 0, 0, None),  # FireWire's address has eight octets
    ]


def test_counters_without_header_are_not_guessed() -> None:
    text = recorded("netstat_ibdn.txt").split("\n", 1)[1]
    assert netstat_interfaces.parse(text) == ()


def test_arp() -> None:
    def entry(address: str, mac: str | None, device: str, permanent: bool = False) -> ArpEntry:
        return ArpEntry(IPv4Address(address), mac, device, permanent)

    assert arp.parse(recorded("arp_an.txt")) == (
        entry("10.10.0.1", "82:15:07:f3:c5:40", "bridge0", permanent=True),
        entry("10.10.0.3", "36:90:11:cc:0f:40", "bridge0"),
        entry("172.18.3.1", "00:18:01:8f:23:ed", "en1"),
        entry("192.168.50.1", "9c:eb:e8:98:0e:62", "en5", permanent=True),
        entry("192.168.50.2", "d8:3a:dd:01:02:03", "en5"),
        entry("192.168.50.3", None, "en5"),
        entry("192.168.50.4", None, "en5"),
        entry("192.168.50.5", "d8:3a:dd:01:02:05", "en5", permanent=True),
        # 192.168.50.7 is on an interface that is gone.
        entry("192.168.50.255", "ff:ff:ff:ff:ff:ff", "en5"),
        entry("224.0.0.251", "01:00:5e:00:00:fb", "en5", permanent=True),
    )


def test_reachability() -> None:
    rows = arp.parse_reachability(recorded("arp_anl.txt"))
    assert [(str(r.address), r.device, r.recent, r.probes) for r in rows] == [
        ("10.10.0.1", "bridge0", None, 0),
        ("10.10.0.3", "bridge0", True, 0),
        ("172.18.3.1", "en1", False, 0),
        ("192.168.50.2", "en5", False, 12),
        ("192.168.50.3", "en5", None, 0),
        ("192.168.50.4", "en5", False, 35),
        ("192.168.64.3", None, True, 0),  # `bridge10` may be bridge100
        ("224.0.0.251", "en5", None, 0),
    ]
    assert rows[1] == Reachability(
        IPv4Address("10.10.0.3"), "36:90:11:cc:0f:40", "bridge0", recent=True
    )


def test_ndp() -> None:
    rows = ndp.parse(recorded("ndp_an.txt"))
    assert [(str(r.address), r.device, r.state) for r in rows] == [
        ("::1", "lo0", NdpState.REACHABLE),
        ("fe80::1%lo0", "lo0", NdpState.REACHABLE),
        ("fe80::1096:5fe7:adbf:e70c%bridge0", "bridge0", NdpState.REACHABLE),
        ("fe80::18:1ff:fe8f:23ed%en1", "en1", NdpState.STALE),
        ("fe80::da3a:ddff:fe01:203%en5", "en5", NdpState.REACHABLE),
        ("fe80::da3a:ddff:fe01:204%en5", "en5", NdpState.INCOMPLETE),
    ]
    assert rows[3] == NdpEntry(
        IPv6Address("fe80::18:1ff:fe8f:23ed%en1"),
        "00:18:01:8f:23:ed",
        "en1",
        "23h59m58s",
        NdpState.STALE,
        router=True,
    )
    assert [r.router for r in rows] == [False, False, False, True, False, False]


def test_ipv6_addresses_come_without_their_zones() -> None:
    found = all_interfaces()
    assert found["en1"].ipv6 == (IPv6Address("fe80::c1d:55aa:9f3e:1"),)
    assert found["lo0"].ipv6 == (IPv6Address("::1"),)
    assert found["en5"].ipv6 == ()

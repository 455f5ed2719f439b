"""How the stand-ins write and read addresses: smolmon's own parsers read back what they write."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmon.lab.mac.words import network, short_mac, short_network
from smolmon.macos import netstat_routes, text

networks = st.builds(
    lambda number, length: IPv4Network((number, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 31),
)


@given(networks)
def test_a_network_is_read_back(net: IPv4Network) -> None:
    # Without octets of its own there is nothing to tell 0.0.0.0/8 from.
    if net.prefixlen and (int(net.network_address) >> 24 or net.prefixlen < 8):
        assert netstat_routes.destination(short_network(net)) == net


@pytest.mark.parametrize(
    ("net", "word"),
    [
        ("0.0.0.0/0", "default"),
        ("0.0.0.0/1", "0/1"),
        ("10.0.0.0/8", "10"),
        ("10.10.0.0/24", "10.10/24"),
        ("128.0.0.0/1", "128.0/1"),
        ("169.254.0.0/16", "169.254"),
        ("172.18.3.0/24", "172.18.3/24"),
        ("192.168.0.0/16", "192.168.0/16"),
        ("192.168.51.0/24", "192.168.51"),
        ("224.0.0.0/4", "224.0.0/4"),
    ],
)
def test_networks_as_recorded(net: str, word: str) -> None:
    assert short_network(IPv4Network(net)) == word


@given(st.lists(st.integers(0, 255), min_size=6, max_size=6))
def test_an_ethernet_address_is_read_back(octets: list[int]) -> None:
    mac = ":".join(f"{octet:02x}" for octet in octets)
    assert text.mac(short_mac(mac)) == mac


@pytest.mark.parametrize(
    ("word", "mask", "net"),
    [
        ("192.168.51.0/24", None, "192.168.51.0/24"),
        ("192.168.51", None, "192.168.51.0/24"),
        ("192.168.51.0", None, "192.168.51.0/24"),
        ("192.168.51.4", None, "192.168.51.4/32"),
        ("10.10.0.0", "255.255.255.0", "10.10.0.0/24"),
        ("10.10/16", None, "10.10.0.0/16"),
        ("default", None, "0.0.0.0/0"),
    ],
)
def test_networks_as_one_types_them(word: str, mask: str | None, net: str) -> None:
    assert network(word, mask) == IPv4Network(net)


@pytest.mark.parametrize("word", ["", "10.10.0.x", "1.2.3.4.5", "10.10.0.1/24", "10.0.0.0/33"])
def test_what_is_no_network(word: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of ipaddress' texts
        network(word)

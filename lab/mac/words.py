"""How the BSD tools write addresses, and how all of them speak."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv4Network


def say(text: str = "") -> None:
    """A line on standard output."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """A line on standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


def short_mac(mac: str) -> str:
    """`36:90:11:cc:f:40`: octets without leading zeros, as arp, netstat and ndp print them."""
    return ":".join(f"{int(octet, 16):x}" for octet in mac.split(":"))


def short_network(network: IPv4Network) -> str:
    """`10.10/24`, `192.168.51`, `10`: netstat's netname and domask.

    Zero octets at the end go as far as the address's class allows; so does its own length.
    """
    if network.prefixlen == 0:
        return "default"
    octets = str(network.network_address).split(".")
    length = _class_length(int(octets[0]))
    last = max((i + 1 for i, octet in enumerate(octets) if octet != "0"), default=1)
    text = ".".join(octets[: max(length // 8, last)])
    return text if network.prefixlen == length else f"{text}/{network.prefixlen}"


def _class_length(first: int) -> int:
    """As forgemask: what is neither class A nor B is taken for C."""
    return 8 if first < 128 else 16 if first < 192 else 24


def network(text: str, mask: str | None = None) -> IPv4Network:
    """`192.168.51.0/24`, `192.168.51`, `10.10/16`, `default`. Raises ValueError."""
    if text == "default":
        return IPv4Network("0.0.0.0/0")
    address, slash, length = text.partition("/")
    octets = address.split(".")
    full = IPv4Address(".".join(octets + ["0"] * (4 - len(octets))))
    if mask is not None:
        return IPv4Network((full, str(IPv4Address(mask))))
    if slash:
        return IPv4Network((full, int(length)))
    if len(octets) == 4 and octets[3] != "0":
        return IPv4Network((full, 32))
    # As route's inet_makenetandmask: what is written out, else the address's class.
    written = 8 * len(octets) if len(octets) < 4 else _class_length(int(octets[0]))
    return IPv4Network((full, written))

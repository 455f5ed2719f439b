"""The small words that the tools' output is made of. Each function returns None for what is not."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_NUMBER = re.compile(r"[0-9]{1,20}")
_OCTET = re.compile(r"[0-9a-fA-F]{1,2}")
_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,15}")  # IFNAMSIZ is 16


def number(word: str) -> int | None:
    """A decimal number without sign, of at most 64 bits' length."""
    return int(word) if _NUMBER.fullmatch(word) else None


def ipv4(word: str) -> IPv4Address | None:
    """An IPv4 address of four octets."""
    try:
        return IPv4Address(word)
    except AddressValueError:
        return None


def ipv6(word: str) -> IPv6Address | None:
    """An IPv6 address, with its zone (`fe80::1%en5`) if it has one."""
    try:
        return IPv6Address(word)
    except AddressValueError:
        return None


def mac(word: str) -> str | None:
    """An Ethernet address as `82:e6:6d:c0:a4:01`: lower case, two digits an octet.

    netstat, arp, ndp and the bridge's address cache print octets without leading zeros (source:
    `%x` in netstat.tproj/route.c and arp.tproj/arp.c, ether_ntoa); ifconfig and networksetup print
    two digits.
    """
    octets = word.split(":")
    if len(octets) != 6 or not all(map(_OCTET.fullmatch, octets)):
        return None
    return ":".join(octet.zfill(2) for octet in octets).lower()


def device(word: str) -> str | None:
    """The name of an interface."""
    return word if _DEVICE.fullmatch(word) else None


def prefix_length(mask: int) -> int | None:
    """The length of a netmask, or None if its bits are not contiguous."""
    inverse = mask ^ 0xFFFFFFFF
    if not 0 <= mask <= 0xFFFFFFFF or inverse & (inverse + 1):
        return None
    return 32 - inverse.bit_length()

"""Answers, checked one at a time: text in, value out, or ValueError with one line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import TypeVar

from smolmon.cluster.load import DESTINATION, HOST, INTERFACE, MAC, NAME, RESERVED
from smolmon.setup.init.draft import address_of

T = TypeVar("T")


def name(text: str) -> str:
    """A name for a node or a cluster."""
    if not NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name: lower-case letters, digits, dashes, at most 40")
    if text in RESERVED:
        raise ValueError(f"{text} is kept for the emulated cluster; choose another")
    return text


def names(text: str, taken: Collection[str] = (), at_least: int = 0) -> tuple[str, ...]:
    """Several names, with spaces or commas between them."""
    found = tuple(name(word) for word in re.split(r"[\s,]+", text) if word)
    for index, one in enumerate(found):
        if one in taken or one in found[:index]:
            raise ValueError(f"{one} is named already; each machine once")
    if len(found) < at_least:
        raise ValueError("at least one name, please")
    return found


def choice(text: str, known: Mapping[str, T]) -> T:
    """One of a few words, or the beginning of just one."""
    meant = [word for word in known if text and word.startswith(text.lower())]
    if len(meant) != 1:
        raise ValueError(f"{text!r} is none of {', '.join(known)}")
    return known[meant[0]]


def port(text: str) -> int:
    """A TCP port."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def address(text: str) -> IPv4Address:
    """An IPv4 address."""
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise ValueError(f"{text!r} is not an IPv4 address such as 10.10.0.1") from None


def destination(text: str, taken: Collection[str]) -> str:
    """What to give ssh(1)."""
    if not DESTINATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a host or user@host as ssh takes it")
    return _host(text, taken)


def management(text: str, taken: Collection[str]) -> str:
    """Where a node is scraped."""
    if not HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name or an address")
    return _host(text, taken)


def _host(text: str, taken: Collection[str]) -> str:
    host = text.rpartition("@")[2]
    if re.fullmatch(r"[0-9.]+", host):
        address(host)
    if text in taken:
        raise ValueError(f"{text} is that of another machine already")
    return text


def subnet(
    text: str, used: Mapping[str, IPv4Network], hosts: Collection[str], machines: int
) -> IPv4Network:
    """A subnet for a link of that many machines. `hosts` are reached from elsewhere."""
    try:
        found = IPv4Network(text, strict=False)
    except ValueError:
        found = None
    if found is None or "/" not in text:
        raise ValueError(f"{text!r} is not an IPv4 subnet such as 10.10.0.0/24")
    if str(found.network_address) != text.partition("/")[0]:
        raise ValueError(f"{text} has bits beyond its mask; write {found}")
    if not 8 <= found.prefixlen <= 30:
        raise ValueError(f"{text}: use a prefix from /8 to /30")
    if found.num_addresses - 2 < machines:
        raise ValueError(f"{found} has no room for {machines} machines")
    for other, network in used.items():
        if found.overlaps(network):
            raise ValueError(f"{found} overlaps {network} of {other}; one subnet for each link")
    for host in hosts:
        there = address_of(host)
        if there is not None and there in found:
            raise ValueError(f"{there} is in {found}, and you gave it as a way from outside")
    return found


def member(text: str, within: IPv4Network, used: Mapping[IPv4Address, str]) -> IPv4Address:
    """A machine's address on a link."""
    found = address(text)
    if found not in within:
        raise ValueError(f"{found} is not in {within}")
    if found in (within.network_address, within.broadcast_address):
        raise ValueError(f"{found} is not a host's address in {within}")
    if found in used:
        raise ValueError(f"{found} is already the address of {used[found]}")
    return found


def interface(
    text: str, ports: Collection[str], macs: Collection[str]
) -> tuple[str | None, str | None]:
    """A port, by its name or its MAC address; those named already are taken."""
    if MAC.fullmatch(text.lower()):
        if text.lower() in macs:
            raise ValueError(f"{text} is the MAC address of another port already")
        return None, text.lower()
    if not INTERFACE.fullmatch(text):
        raise ValueError(f"{text!r} is neither an interface such as eth0 nor a MAC address")
    if text in ports:
        raise ValueError(f"{text} of this machine is on another link already")
    return text, None

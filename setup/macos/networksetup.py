"""The commands of networksetup(8) that change something, as words. Pure.

The tool reports errors on standard output and ends with status 0 all the same: `CHECKED` is how a
script tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface

from smolmon.macos.networksetup import AdditionalRoute, Method
from smolmon.setup.macos.facts import StoredService
from smolmon.setup.macos.tools import NETWORKSETUP

# What the tools say when they did not do what they were told; sh patterns. The last is route(8)'s.
TROUBLE = (
    "*'** Error: '*|*' is not a recognized network service.'*|*'requires admin privileges'*"
    "|*'writing to routing socket'*"
)
# A shell function: runs its words, and fails where they say that they failed.
CHECKED = f"""\
checked() {{
  said=$("$@" 2>&1); status=$?
  [ -z "$said" ] || printf '%s\\n' "$said"
  case $said in {TROUBLE}) return 1 ;; esac
  return $status
}}"""


def create(name: str, device: str) -> list[str]:
    """Make a service for a device that has none. It begins with DHCP, enabled."""
    return [NETWORKSETUP, "-createnetworkservice", name, device]


def remove(name: str) -> list[str]:
    """Remove a service."""
    return [NETWORKSETUP, "-removenetworkservice", name]


def enable(name: str, *, on: bool = True) -> list[str]:
    """Switch a service on or off."""
    return [NETWORKSETUP, "-setnetworkserviceenabled", name, "on" if on else "off"]


def manual(name: str, address: IPv4Interface, router: IPv4Address | None = None) -> list[str]:
    """Give a service an address. An empty router clears an earlier one."""
    mask = str(address.netmask)
    return [NETWORKSETUP, "-setmanual", name, str(address.ip), mask, str(router or "")]


def dhcp(name: str, client_id: str | None = None) -> list[str]:
    """Let a service ask for its address."""
    return [NETWORKSETUP, "-setdhcp", name, *([client_id] if client_id else [])]


def routes(name: str, entries: Iterable[AdditionalRoute]) -> list[str]:
    """Make these the additional routes of a service: the whole list is replaced."""
    words = [NETWORKSETUP, "-setadditionalroutes", name]
    for route in entries:
        network = route.destination
        words += [str(network.network_address), str(network.netmask), str(route.gateway)]
    return words


def ipv6_link_local(name: str) -> list[str]:
    """Give a service no IPv6 address but the link's own."""
    return [NETWORKSETUP, "-setv6LinkLocal", name]


def ipv6_automatic(name: str) -> list[str]:
    """Let a service find its IPv6 addresses."""
    return [NETWORKSETUP, "-setv6automatic", name]


def as_before(service: StoredService) -> list[str] | None:
    """The command that brings back the IPv4 method of `service`; None where there is none."""
    name, info = service.name, service.info
    address = info.address if info else None
    words: list[str] | None = None
    match info.method if info else None:
        case Method.DHCP:
            words = dhcp(name, info.client_id if info else None)
        case Method.BOOTP:
            words = [NETWORKSETUP, "-setbootp", name]
        case Method.OFF:
            words = [NETWORKSETUP, "-setv4off", name]
        case Method.DHCP_MANUAL_ADDRESS if address:
            words = [NETWORKSETUP, "-setmanualwithdhcprouter", name, str(address)]
        case Method.MANUAL if info and address and info.prefix_length is not None:
            words = manual(name, IPv4Interface((address, info.prefix_length)), info.router)
    return words

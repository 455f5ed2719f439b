"""`/usr/sbin/networksetup`: the stored network services, hardware ports and their settings.

The tool is not open source: everything here is seen or from networksetup(8). It reports errors on
stdout, and its exit status is not to be relied on: ask :func:`error` first.
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from attrs import frozen

from smolmon.macos.text import device, ipv4, mac, prefix_length

_PROSE = "An asterisk (*) denotes that a network service is disabled."
_ORDERED = re.compile(r"\((\*|[0-9]+)\) (.+)")
_PORT = re.compile(r"\(Hardware Port: (.*), Device: (\S*)\)")
_ERRORS = (
    re.compile(r"\*\* Error: .+"),
    re.compile(r".+ is not a recognized network service\."),
)


@frozen
class Service:
    """A network service. `name` is what the user sees and may change, in any language; `device`
    is None for a service without one, such as a VPN; `port` and `device` stand only in
    `-listnetworkserviceorder`."""

    name: str
    enabled: bool
    port: str | None = None
    device: str | None = None


@frozen
class HardwarePort:
    """A port. `mac` is None where the tool says `N/A` or `none`."""

    name: str
    device: str
    mac: str | None


class Method(str, Enum):
    """How a service comes to its IPv4 address."""

    MANUAL = "manual"
    DHCP = "dhcp"
    DHCP_MANUAL_ADDRESS = "dhcp-manual-address"
    BOOTP = "bootp"
    OFF = "off"


@frozen
class Info:
    """The settings of a service, `method`, and partly its live values: what `-getinfo` mixes.

    With `method` MANUAL, the stored address is printed also while the link is down; with DHCP the
    live one. `method` is None for a first line that is not known. `ipv6` is the tool's own word
    (seen: `Automatic`, `Off`, `Manual`), `client_id` that of DHCP, None if it is empty.
    """

    method: Method | None
    address: IPv4Address | None
    prefix_length: int | None
    router: IPv4Address | None
    mac: str | None
    ipv6: str | None = None
    client_id: str | None = None


@frozen
class AdditionalRoute:
    """A route that the service installs while it is active."""

    destination: IPv4Network
    gateway: IPv4Address


def error(text: str) -> str | None:
    """The first line that reports an error, without the marks; None if there is none."""
    for line in text.split("\n"):
        if any(pattern.fullmatch(line.strip()) for pattern in _ERRORS):
            return line.strip().removeprefix("** Error: ")
    return None


def services(text: str) -> tuple[Service, ...]:
    """`-listallnetworkservices`: a line of prose, then names; `*` before a disabled one."""
    if error(text) is not None:
        return ()
    names = [line for line in text.split("\n") if line.strip() and line.strip() != _PROSE]
    return tuple(Service(n.removeprefix("*"), not n.startswith("*")) for n in names)


def service_order(text: str) -> tuple[Service, ...]:
    """`-listnetworkserviceorder`: for each service the lines `(1) NAME`, with `*` for the number
    of a disabled one, and `(Hardware Port: PORT, Device: DEVICE)`. Bridges stand here also when
    `-listallhardwareports` leaves them out."""
    found: list[Service] = []
    ordered: re.Match[str] | None = None
    for line in text.split("\n"):
        port = _PORT.fullmatch(line.strip())
        if port is None:
            ordered = _ORDERED.fullmatch(line)
        elif ordered is not None:
            enabled = ordered[1] != "*"
            found.append(Service(ordered[2], enabled, port[1], device(port[2])))
            ordered = None
    return tuple(found)


def hardware_ports(text: str) -> tuple[HardwarePort, ...]:
    """`-listallhardwareports`: blocks of `Hardware Port:`, `Device:`, `Ethernet Address:`; ends
    with a section on VLANs, whose entries are ports no more. `Ethernet Adapter (en4)` is the other
    end of a USB cable and neither Thunderbolt nor an adapter."""
    found: list[HardwarePort] = []
    fields: dict[str, str] = {}
    for line in [*text.partition("VLAN Configurations")[0].split("\n"), ""]:
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip()] = value.strip()
            continue
        if (interface := device(fields.get("Device", ""))) and "Hardware Port" in fields:
            address = mac(fields.get("Ethernet Address", ""))
            found.append(HardwarePort(fields["Hardware Port"], interface, address))
        fields = {}
    return tuple(found)


_METHODS = {
    "Manual Configuration": Method.MANUAL,
    "DHCP Configuration": Method.DHCP,
    "BOOTP Configuration": Method.BOOTP,
    # From memory, not seen in any recording.
    "Manually Using DHCP Router Configuration": Method.DHCP_MANUAL_ADDRESS,
    "IPv4: Off": Method.OFF,
}


def info(text: str) -> Info | None:
    """`-getinfo SERVICE`; None for an error or an empty answer.

    The first line is the method. Without a router the tool prints `Router: (null)`; the lines of
    the address are missing for DHCP without a lease. Wi-Fi has `Wi-Fi ID:` for its address.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines or error(text) is not None:
        return None
    fields = {n.strip(): v.strip() for n, colon, v in (x.partition(":") for x in lines) if colon}
    mask = ipv4(fields.get("Subnet mask", ""))
    return Info(
        method=_METHODS.get(lines[0]),
        address=ipv4(fields.get("IP address", "")),
        prefix_length=prefix_length(int(mask)) if mask is not None else None,
        router=ipv4(fields.get("Router", "")),
        mac=mac(fields.get("Ethernet Address", fields.get("Wi-Fi ID", ""))),
        ipv6=fields.get("IPv6") or None,
        client_id=fields.get("Client ID") or None,
    )


def additional_routes(text: str) -> tuple[AdditionalRoute, ...] | None:
    """`-getadditionalroutes SERVICE`: lines `destination mask gateway`, or one line of prose.

    None for an error, and if any line cannot be read: whoever writes the list replaces the whole
    of it, and must not lose a route that was not understood.
    """
    if error(text) is not None:
        return None
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines or (len(lines) == 1 and lines[0].startswith("There are no additional IPv4 rout")):
        return ()
    routes = [_additional_route(line.split()) for line in lines]
    read = [route for route in routes if route is not None]
    return tuple(read) if len(read) == len(routes) else None


def _additional_route(words: list[str]) -> AdditionalRoute | None:
    if len(words) != 3:
        return None
    address, mask, gateway = map(ipv4, words)
    if address is None or mask is None or gateway is None:
        return None
    length = prefix_length(int(mask))
    if length is None:
        return None
    try:
        return AdditionalRoute(IPv4Network((address, length)), gateway)
    except ValueError:
        return None

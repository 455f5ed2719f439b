"""`/usr/sbin/networksetup`, after networksetup(8) and recorded output.

Its traps are kept: errors are printed on standard output, and the exit status says little (4 for
some errors, 0 for the missing rights). Settings are stored although the link is down.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from smolmon.lab.mac import kernel, services, state
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import say

PROSE = "An asterisk (*) denotes that a network service is disabled."
INVALID = "** Error: The parameters were not valid."
RIGHTS = "** Error: Command requires admin privileges."
FAILED = 4

Arguments = Sequence[str]


class Refused(Exception):  # noqa: N818 - what the tool says, and not an error of it
    """A line for standard output and an exit status."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


def main(argv: Arguments) -> int:
    """Run `networksetup argv`."""
    command = argv[0].lower().lstrip("-") if argv else ""
    reads, writes = READS.get(command), WRITES.get(command)
    try:
        if reads is not None:
            reads(argv[1:])
        elif writes is not None:
            if not state.is_root():
                raise Refused(RIGHTS, 0)
            with state.locked():
                writes(argv[1:])
        else:
            raise Refused("networksetup: that is no option; see networksetup -help")
    except Refused as refused:
        say(refused.text)
        return refused.status
    return 0


# -- looking -----------------------------------------------------------------------------------


def _services(arguments: Arguments) -> None:
    say(PROSE)
    for service in services.stored()["services"]:
        say(f"{'' if service['enabled'] else '*'}{service['name']}")


def _order(arguments: Arguments) -> None:
    say(PROSE)
    number = 0
    for service in services.stored()["services"]:
        number += service["enabled"]
        say(f"({number if service['enabled'] else '*'}) {service['name']}")
        say(f"(Hardware Port: {service['port']}, Device: {service['device']})")
        say()


def _ports(arguments: Arguments) -> None:
    seen = kernel.links()
    for port in kernel.ports():
        link = seen.get(port["device"])
        say(f"\nHardware Port: {port['port']}\nDevice: {port['device']}")
        say(f"Ethernet Address: {link.mac if link else 'N/A'}")
        for member in port.get("members", ()):
            carrier = seen.get(member["carrier"] or port["device"])
            say(f"\nHardware Port: {member['port']}\nDevice: {member['device']}")
            say(f"Ethernet Address: {carrier.mac if carrier else 'N/A'}")
    say("\nVLAN Configurations\n===================")


def _info(arguments: Arguments) -> None:
    service = _service(services.stored(), _one(arguments))
    seen = kernel.links()
    link = seen.get(service["device"])
    port = services.port_of(service)
    manual = service["method"] == "manual"
    say("Manual Configuration" if manual else "DHCP Configuration")
    if manual:  # what is stored, also while the link is down
        say(f"IP address: {service['address']}\nSubnet mask: {service['mask']}")
        say(f"Router: {service['router'] or '(null)'}")
    elif link and port and service["enabled"] and kernel.active(port, seen):
        for address in [a for a in link.addresses if a.family == 4][:1]:
            mask = IPv4Network((0, address.length)).netmask
            say(f"IP address: {address.address}\nSubnet mask: {mask}")
            say(f"Router: {port.get('router') or '(null)'}")
    if not manual:
        say("Client ID: ")
    say(f"IPv6: {service['v6']}\nIPv6 IP address: none\nIPv6 Router: none")
    name = "Wi-Fi ID" if service["port"] == "Wi-Fi" else "Ethernet Address"
    say(f"{name}: {link.mac if link else '(null)'}")


def _routes(arguments: Arguments) -> None:
    service = _service(services.stored(), _one(arguments))
    for destination, mask, gateway in service["routes"]:
        say(f"{destination} {mask} {gateway}")
    if not service["routes"]:
        say(f"There are no additional IPv4 routes on {service['name']}.")


def _enabled(arguments: Arguments) -> None:
    service = _service(services.stored(), _one(arguments))
    say("Enabled" if service["enabled"] else "Disabled")


def _mtu(arguments: Arguments) -> None:
    link = kernel.links().get(_device(_one(arguments)))
    size = link.mtu if link else 1500
    say(f"Active MTU: {size} (Current Setting: {size})")


def _location(arguments: Arguments) -> None:
    say(services.stored()["location"])


# -- changing ----------------------------------------------------------------------------------


def _set_manual(arguments: Arguments) -> None:
    if len(arguments) not in (3, 4):
        raise Refused(INVALID)
    name, address, mask = arguments[:3]
    router = arguments[3] if len(arguments) == 4 else ""
    _parse(lambda: (IPv4Address(address), IPv4Network((0, mask))))
    if router:
        _parse(lambda: IPv4Address(router))
    _change(name, method="manual", address=address, mask=mask, router=router or None)


def _set_dhcp(arguments: Arguments) -> None:
    if len(arguments) not in (1, 2):
        raise Refused(INVALID)
    _change(arguments[0], method="dhcp", address=None, mask=None, router=None)


def _set_routes(arguments: Arguments) -> None:
    """Replaces the whole list; without routes it is empty."""
    if len(arguments) % 3 != 1:
        raise Refused(INVALID)
    words = list(arguments[1:])
    routes = [words[i : i + 3] for i in range(0, len(words), 3)]
    for destination, mask, gateway in routes:
        _parse(partial(IPv4Network, (destination, mask)))
        _parse(partial(IPv4Address, gateway))
    _change(arguments[0], routes=routes)


def _set_enabled(arguments: Arguments) -> None:
    if len(arguments) != 2 or arguments[1].lower() not in ("on", "off"):
        raise Refused(INVALID)
    _change(arguments[0], enabled=arguments[1].lower() == "on")


def _set_v6(mode: str) -> Callable[[Arguments], None]:
    def set_v6(arguments: Arguments) -> None:
        _change(_one(arguments), v6=mode)

    return set_v6


def _create(arguments: Arguments) -> None:
    if len(arguments) != 2:
        raise Refused(INVALID)
    name, place = arguments
    preferences = services.stored()
    if any(s["name"] == name for s in preferences["services"]):
        raise Refused(INVALID)
    port = next((p for p in kernel.ports() if place in (p["port"], p["device"])), None)
    if port is None:
        raise Refused(f"{place} is not a recognized hardware port.")
    preferences["services"].append(services.new(name, port))
    state.write(services.FILE, preferences)
    services.apply(preferences["services"][-1])


def _remove(arguments: Arguments) -> None:
    preferences = services.stored()
    service = _service(preferences, _one(arguments))
    preferences["services"].remove(service)
    state.write(services.FILE, preferences)
    services.apply({**service, "enabled": False, "routes": []}, service)


def _rename(arguments: Arguments) -> None:
    if len(arguments) != 2 or not arguments[1]:
        raise Refused(INVALID)
    preferences = services.stored()
    _service(preferences, arguments[0])["name"] = arguments[1]
    state.write(services.FILE, preferences)


def _set_mtu(arguments: Arguments) -> None:
    if len(arguments) != 2 or not arguments[1].isdigit():
        raise Refused(INVALID)
    try:
        kernel.ip("link", "set", _device(arguments[0]), "mtu", arguments[1])
    except kernel.KernelError:
        raise Refused(INVALID) from None


# -- what they share ---------------------------------------------------------------------------


def _one(arguments: Arguments) -> str:
    if len(arguments) != 1:
        raise Refused(INVALID)
    return arguments[0]


def _parse(read: Callable[[], object]) -> None:
    try:
        read()
    except ValueError:
        raise Refused(INVALID) from None


def _service(preferences: Table, name: str) -> Table:
    for service in preferences["services"]:
        if service["name"] == name:
            found: Table = service
            return found
    raise Refused(f"{name} is not a recognized network service.")


def _change(name: str, **settings: object) -> None:
    preferences = services.stored()
    service = _service(preferences, name)
    before = dict(service)
    service.update(settings)
    state.write(services.FILE, preferences)
    services.apply(service, before)


def _device(place: str) -> str:
    """The device of a hardware port, a service or a device. Raises Refused."""
    for port in kernel.ports():
        if place in (port["port"], port["device"], port.get("service")):
            return str(port["device"])
    raise Refused(f"{place} is not a recognized hardware port.")


READS: dict[str, Callable[[Arguments], None]] = {
    "listallnetworkservices": _services,
    "listnetworkserviceorder": _order,
    "listallhardwareports": _ports,
    "getinfo": _info,
    "getadditionalroutes": _routes,
    "getnetworkserviceenabled": _enabled,
    "getmtu": _mtu,
    "getcurrentlocation": _location,
    "listlocations": _location,
}
WRITES: dict[str, Callable[[Arguments], None]] = {
    "setmanual": _set_manual,
    "setdhcp": _set_dhcp,
    "setadditionalroutes": _set_routes,
    "setnetworkserviceenabled": _set_enabled,
    "setv6off": _set_v6("Off"),
    "setv6automatic": _set_v6("Automatic"),
    "setv6linklocal": _set_v6("Link-local only"),
    "createnetworkservice": _create,
    "removenetworkservice": _remove,
    "renamenetworkservice": _rename,
    "setmtu": _set_mtu,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Reasons not to touch a Mac at all, each with its remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface, ip_address

from smolmon.cluster.model import Kind
from smolmon.macos.ifconfig import Interface
from smolmon.macos.netstat_routes import NetstatRoute
from smolmon.macos.networksetup import Method
from smolmon.setup.macos import networksetup
from smolmon.setup.macos.facts import ANYWHERE, OLDEST_PYTHON, Facts, StoredService
from smolmon.setup.macos.sudoers import command_to_install
from smolmon.setup.macos.tools import PREFIX
from smolmon.setup.macos.wanted import (
    Link,
    Wanted,
    bridge_of,
    holds,
    is_bridge,
    port_of,
)
from smolmon.setup.shell import command


def refusals(wanted: Wanted, facts: Facts) -> list[str]:
    """One line for each reason; empty when the plan may be carried out."""
    return [
        *_sudo(wanted, facts),
        *_python(facts),
        *_others(facts),
        *(line for link in wanted.links for line in _port(link, wanted, facts)),
        *_stray(wanted, facts),
        *_overlaps(wanted, facts),
        *_management(wanted, facts),
    ]


def removal_refusals(wanted: Wanted, facts: Facts) -> list[str]:
    """One line for each reason not to remove smolmon; empty when it may be."""
    return [*_sudo(wanted, facts), *_stray(wanted, facts)]


def _sudo(wanted: Wanted, facts: Facts) -> Iterator[str]:
    if not facts.sudo and facts.uid != 0:
        yield (
            f"sudo asks {facts.user} for a password; `smolmon setup --sudoers {wanted.node}` "
            f"prints the commands that it needs without one; on the node, {command_to_install()}"
        )


def _python(facts: Facts) -> Iterator[str]:
    oldest = ".".join(map(str, OLDEST_PYTHON))
    get = "install one: `brew install python@3.13`, or the installer of python.org"
    if facts.python is None:
        yield f"there is no Python {oldest} or newer; {get}"
    elif facts.python.version < OLDEST_PYTHON:
        seen = ".".join(map(str, facts.python.version))
        yield f"{facts.python.path} is Python {seen}; smolmon needs {oldest} or newer: {get}"


def _others(facts: Facts) -> Iterator[str]:
    """Software that rewrites the network, and would undo what we do."""
    for name in facts.daemons:
        if name.startswith("io.exo.") and name.endswith(".plist"):
            label = name.removesuffix(".plist")
            yield (
                f"exo's daemon {label} rewrites the network every half hour and takes the "
                "Thunderbolt Bridge apart; remove it first: "
                f"sudo launchctl bootout system/{label}; "
                f"{command('sudo', 'rm', f'/Library/LaunchDaemons/{name}')}"
            )
    if facts.location == "exo":
        yield (
            "its network location is `exo`, which exo made for itself; go back to yours: "
            "sudo networksetup -switchtolocation Automatic"
        )


def _port(link: Link, wanted: Wanted, facts: Facts) -> Iterator[str]:
    port = port_of(link, facts)
    if port is None:
        yield f"{link.segment}: there is no interface {link.called}; {_wired(facts)}"
        return
    named = facts.hardware_port(port.name)
    if link.interface and port.name != link.interface:
        yield (
            f"{link.segment}: {link.mac} is {port.name}, not {link.interface}; correct the one or "
            "the other in the cluster file"
        )
    if port.name == facts.session:
        yield (
            f"{link.segment}: {port.name} carries this SSH session; smolmon never changes it. "
            "Reach the node another way (Wi-Fi), or declare another interface"
        )
        return
    service = facts.service_on(port.name)
    if port.name in facts.default_interfaces and not _given_a_router(service, link, facts):
        yield _default_route(link, port, service)
    if bridge := bridge_of(port.name, facts):
        yield (
            f"{link.segment}: {port.name} is a port of {bridge}; declare {bridge} instead, or take "
            f"{port.name} out of it by hand. {_wired(facts)}"
        )
    elif link.kind is Kind.ETHERNET and is_bridge(port):
        yield (
            f"{link.segment}: {port.name} is a bridge, and the segment is ethernet; {_wired(facts)}"
        )
    if named and named.name == "Wi-Fi":
        yield f"{link.segment}: {port.name} is Wi-Fi, which smolmon never sets up; {_wired(facts)}"
    elif named and named.name.startswith("Ethernet Adapter (en"):
        yield (
            f"{link.segment}: {port.name} is the far end of a USB cable, not an Ethernet adapter; "
            f"{_wired(facts)}"
        )
    if service is not None:
        yield from _service(link, service, wanted, facts)


def _given_a_router(service: StoredService | None, link: Link, facts: Facts) -> bool:
    """Our own service that was given a router is a deviation to repair, not the way out.

    Only where another interface is left to take the default route over.
    """
    if service is None or not holds(service, link):
        return False
    router = service.info.router if service.info else None
    others = [r for r in facts.routes if r.destination == ANYWHERE and r.device != service.device]
    return router is not None and bool(others)


def _default_route(link: Link, port: Interface, service: StoredService | None) -> str:
    leased = service is not None and service.info is not None
    if leased and service and service.info and service.info.method is Method.DHCP:
        how = f" (a DHCP server on the link gave the router {service.info.router})"
    else:
        how = ""
    return (
        f"{link.segment}: {port.name} carries the default route{how}; smolmon never changes it. "
        "Declare another interface, or put Wi-Fi first in System Settings > Network > Set Service "
        "Order"
    )


def _service(link: Link, service: StoredService, wanted: Wanted, facts: Facts) -> Iterator[str]:
    """What could not be undone is not done."""
    if networksetup.as_before(service) is None:
        yield (
            f"{link.segment}: the settings of {service.name} cannot be read, so they could not be "
            f"brought back; set it to DHCP: {command('sudo', *networksetup.dhcp(service.name))}"
        )
    if service.routes is None:
        yield (
            f"{link.segment}: the additional routes of {service.name} cannot be read, and none "
            "must get lost; look at them: "
            f"{command('networksetup', '-getadditionalroutes', service.name)}"
        )
    for other in facts.services:
        if other.device != service.device or other.name == service.name or not other.enabled:
            continue
        if not other.name.startswith(PREFIX) and _manual(other, wanted):
            yield (
                f"{link.segment}: a second service {other.name} on {other.device} has the address "
                f"{_manual(other, wanted)}; remove it: "
                f"{command('sudo', *networksetup.remove(other.name))}"
            )


def _manual(service: StoredService, wanted: Wanted) -> IPv4Interface | None:
    """The manual address of a service, where it lies in one of the cluster's subnets."""
    info = service.info
    if info is None or info.method is not Method.MANUAL or info.address is None:
        return None
    if not wanted.contains(info.address):
        return None
    return IPv4Interface((info.address, info.prefix_length or 32))


def _wired(facts: Facts) -> str:
    here = []
    for interface in facts.interfaces:
        port, service = facts.hardware_port(interface.name), facts.service_on(interface.name)
        name = port.name if port else service.name if service else None
        if name not in (None, "Wi-Fi") and not bridge_of(interface.name, facts):
            here.append(f"{interface.name} ({name})")
    return f"wired ones here: {', '.join(here) or 'none'}"


def _stray(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """A service that looks like ours, and would be removed, where nothing may change."""
    for service in facts.services:
        if service.name.startswith(PREFIX) and service.device == facts.session:
            name = command("sudo", "networksetup", "-renamenetworkservice", service.name)
            yield (
                f"the service {service.name} is on {facts.session}, which carries this SSH "
                f"session; give it another name: {name} NAME"
            )


def _overlaps(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Two networks of the same addresses: one of them would silently stop working."""
    targets = {p.name for link in wanted.links if (p := port_of(link, facts))}
    targets |= {s.device for s in facts.services if s.name.startswith(PREFIX)}
    for name, subnet in wanted.declared:
        told = set()
        for interface in facts.interfaces:
            for address in interface.addresses:
                if interface.name not in targets and address.network.overlaps(subnet):
                    told.add(interface.name)
                    yield (
                        f"{subnet} of {name} overlaps {address} on {interface.name}; choose "
                        "another subnet in the cluster file, or remove that address"
                    )
        for service in facts.services:
            stored = _manual(service, wanted)
            here = service.enabled and facts.interface(service.device) is not None
            if stored and stored.ip in subnet and here and service.device not in targets | told:
                yield (
                    f"{subnet} of {name} overlaps {stored} of the service {service.name} "
                    f"({service.device}); set it to DHCP: "
                    f"{command('sudo', *networksetup.dhcp(service.name))}"
                )
        for route in facts.routes:
            if (
                route.device not in targets
                and route.destination != ANYWHERE
                and not route.cloned
                and route.destination.overlaps(subnet)
                and not _by_address(route, facts)
            ):
                via = f" via {route.gateway}" if route.gateway else ""
                yield (
                    f"{subnet} of {name} overlaps the route {route.destination}{via} on "
                    f"{route.device}; remove it (sudo route -n delete {route.destination}), or "
                    "choose another subnet"
                )


def _by_address(route: NetstatRoute, facts: Facts) -> bool:
    """Whether the route came with an interface's own address, which is told already."""
    own = facts.interface(route.device)
    return own is not None and any(
        route.destination == a.network or route.destination.network_address == a.ip
        for a in own.addresses
    )


def _management(wanted: Wanted, facts: Facts) -> Iterator[str]:
    try:
        ip_address(wanted.management)
    except ValueError:
        return  # a name: the exporter listens where this session arrived
    here = [str(a.ip) for i in facts.interfaces for a in i.addresses]
    here += [str(six) for i in facts.interfaces for six in i.ipv6]
    if wanted.management not in here:
        yield (
            f"its management address {wanted.management} is on none of its interfaces, so its "
            "exporter could not listen there; correct `management` in the cluster file"
        )

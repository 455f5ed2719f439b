"""What to do on a Mac so that it becomes what is wanted: ordered steps. Pure.

An empty plan means that all is as wanted, so a second run does nothing. Every network step has its
inverse from the facts: the dead-man switch knows nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from smolmon.macos.ifconfig import Interface
from smolmon.macos.netstat_routes import NetstatRoute
from smolmon.macos.networksetup import AdditionalRoute
from smolmon.setup.macos import networksetup
from smolmon.setup.macos.facts import ANYWHERE, Facts, Neighbour, StoredService
from smolmon.setup.macos.files import WantedFile
from smolmon.setup.macos.neighbours import kept_steps, over_steps
from smolmon.setup.macos.notes import notes
from smolmon.setup.macos.system_steps import system_steps
from smolmon.setup.macos.tools import IFCONFIG, PREFIX, ROUTE
from smolmon.setup.macos.wanted import Link, Wanted, holds, merged, port_of
from smolmon.setup.steps import Plan, Step


def plan(
    wanted: Wanted,
    facts: Facts,
    files: tuple[WantedFile, ...],
    neighbours: tuple[Neighbour, ...] = (),
) -> Plan:
    """The steps that lead from `facts` to `wanted`, for a node that passed preflight."""
    return Plan(
        network=tuple(network_steps(wanted, facts, neighbours)),
        system=tuple(system_steps(wanted, facts, files)),
        notes=tuple(notes(wanted, facts)),
    )


def network_steps(
    wanted: Wanted, facts: Facts, neighbours: tuple[Neighbour, ...] = ()
) -> Iterator[Step]:
    """The steps that run under the dead-man switch."""
    used = set()
    for link in wanted.links:
        port = port_of(link, facts)
        if port is None:
            continue  # refused by preflight
        service = facts.service_on(port.name)
        used.add(service.name if service else link.own_service)
        if service is None and (moved := facts.service(link.own_service)):
            why = f"the service {moved.name} is for {moved.device}, no longer for {port.name}"
            yield removed(moved, facts, why)
        if service is not None:
            yield from _over(link, port, service, wanted, facts)
        stored = list(_stored(link, port, service, wanted, facts))
        steps = list(stored)
        if service is not None and port.active is not False:  # without a link, all is gone
            steps += _missing(link, port, service, wanted, facts, stored=stored)
        yield from steps
        yield from kept_steps(link, neighbours, facts, changing=bool(steps))
    yield from over_steps(neighbours, facts)
    for service in facts.services:
        if service.name.startswith(PREFIX) and service.name not in used:
            yield removed(service, facts, f"this cluster does not use the service {service.name}")


# -- what is stored ---------------------------------------------------------------------------


def _stored(
    link: Link, port: Interface, service: StoredService | None, wanted: Wanted, facts: Facts
) -> Iterator[Step]:
    if service is None:
        name = link.own_service
        yield Step(
            facts.as_root(*networksetup.create(name, port.name)),
            f"{port.name} has no network service",
            facts.as_root(*networksetup.remove(name)),
        )
    else:
        name = service.name
        if not service.enabled:
            yield Step(
                facts.as_root(*networksetup.enable(name)),
                f"the service {name} is switched off",
                facts.as_root(*networksetup.enable(name, on=False)),
            )
    differs = _ipv4(link, service)
    if differs:
        undo = before(service, facts) if service else None
        yield Step(facts.as_root(*networksetup.manual(name, link.address)), differs, undo)
    entries = merged(link, service, wanted)
    there = service.routes if service and service.routes else ()
    if set(entries) != set(there) or (differs and entries):
        undo = facts.as_root(*networksetup.routes(name, there)) if service else None
        # Nobody knows whether setting the address clears them, so they are always set after it.
        why = _routes_differ(name, entries, there) or f"{name} is to keep its routes"
        yield Step(facts.as_root(*networksetup.routes(name, entries)), why, undo)
    # How the tool calls a link-local one is not known: only what it is not can be told.
    ipv6 = service.info.ipv6 if service and service.info else None
    if ipv6 == "Automatic" or service is None:
        undo = facts.as_root(*networksetup.ipv6_automatic(name)) if service else None
        why = f"{name} would take IPv6 addresses and a default route from anybody on the link"
        yield Step(facts.as_root(*networksetup.ipv6_link_local(name)), why, undo)


def _ipv4(link: Link, service: StoredService | None) -> str:
    """What differs; empty for nothing."""
    if service is None:
        return f"{link.own_service} is new and would ask for an address (DHCP)"
    info = service.info
    if info is None or info.method is None or not holds(service, link):
        method = info.method.value if info and info.method else "unknown"
        # Only a manual address is stored; another one may be different tomorrow.
        stored = info.address if info and method == "manual" else None
        seen = f"{method} {stored}" if stored else method
        return f"the address of {service.name} is {seen} instead of manual {link.address.ip}"
    if info.prefix_length != link.address.network.prefixlen:
        return (
            f"the netmask of {service.name} is /{info.prefix_length} instead of "
            f"/{link.address.network.prefixlen}"
        )
    if info.router is not None:
        return f"{service.name} has the router {info.router}, and could take the default route"
    return ""


def _routes_differ(
    name: str, entries: Iterable[AdditionalRoute], there: Iterable[AdditionalRoute]
) -> str:
    missing = [f"{r.destination} via {r.gateway}" for r in entries if r not in there]
    over = [f"{r.destination} via {r.gateway}" for r in there if r not in entries]
    said = [f"{name} lacks {' and '.join(missing)}"] if missing else []
    said += [f"{name} also has {' and '.join(over)}"] if over else []
    return "; ".join(said)


def before(service: StoredService, facts: Facts) -> str:
    """The command that brings back the IPv4 settings of `service`, all of them."""
    words = networksetup.as_before(service)
    commands = [words] if words else []
    if service.routes:
        commands.append(networksetup.routes(service.name, service.routes))
    return " && ".join(facts.as_root(*words) for words in commands)


def removed(service: StoredService, facts: Facts, why: str) -> Step:
    """The step that removes a service of ours, which can be made again as it was."""
    again = [facts.as_root(*networksetup.create(service.name, service.device))]
    again += filter(None, [before(service, facts)])
    if service.info and service.info.ipv6 not in (None, "Automatic"):
        again.append(facts.as_root(*networksetup.ipv6_link_local(service.name)))
    if not service.enabled:
        again.append(facts.as_root(*networksetup.enable(service.name, on=False)))
    return Step(facts.as_root(*networksetup.remove(service.name)), why, " && ".join(again))


# -- what the kernel has ----------------------------------------------------------------------


def _over(
    link: Link, port: Interface, service: StoredService, wanted: Wanted, facts: Facts
) -> Iterator[Step]:
    """What somebody gave an interface of ours by hand: no service knows it, or takes it away."""
    known = service.info.address if service.info else None
    for address in port.addresses:
        if address.ip not in (link.address.ip, known) and wanted.contains(address.ip):
            words = [IFCONFIG, port.name, "inet", str(address.ip)]
            yield Step(
                facts.as_root(*words, "-alias"),
                f"{port.name} also has the address {address}",
                facts.as_root(*words, "netmask", str(address.netmask), "alias"),
            )
    there = {(r.destination, r.gateway) for r in service.routes or ()}
    for route in _here(port, wanted, facts):
        if (route.destination, route.gateway) in there and not route.refuses:
            continue
        if _own(route, port):
            continue
        by = f" via {route.gateway}" if route.gateway else ""
        words = [*_target(route.destination), *([str(route.gateway)] if route.gateway else [])]
        undo = facts.as_root(ROUTE, "-n", "add", *words) if route.gateway else None
        why = f"{port.name} also has the route {route.destination}{by}"
        yield Step(facts.as_root(ROUTE, "-n", "delete", *words), why, undo)


def _missing(
    link: Link,
    port: Interface,
    service: StoredService,
    wanted: Wanted,
    facts: Facts,
    *,
    stored: list[Step],
) -> Iterator[Step]:
    """What is stored, and was taken away by hand. macOS puts back only what it changes itself."""
    if not service.enabled or not holds(service, link):
        return  # it comes with what is stored now
    ours = [r for r in link.routes if r in (service.routes or ())]
    seen = {(r.destination, r.gateway) for r in _here(port, wanted, facts) if not r.refuses}
    gone = [r for r in ours if (r.destination, r.gateway) not in seen]
    lost = link.address.ip not in [a.ip for a in port.addresses]
    if lost or (gone and stored):
        what = f"its address {link.address}" if lost else f"its route {gone[0].destination}"
        off, on = (facts.as_root(*networksetup.enable(service.name, on=on)) for on in (False, True))
        yield Step(off, f"{port.name} lost {what}", on)
        yield Step(on, f"{service.name} sets up {port.name} anew")
        return
    for route in gone:
        words = [*_target(route.destination), str(route.gateway)]
        yield Step(
            facts.as_root(ROUTE, "-n", "add", *words),
            f"the route {route.destination} via {route.gateway} is missing",
            facts.as_root(ROUTE, "-n", "delete", *words),
        )


def _here(port: Interface, wanted: Wanted, facts: Facts) -> list[NetstatRoute]:
    """The routes of an interface that catch cluster traffic, but a default route."""
    return [
        r
        for r in facts.routes
        if r.device == port.name
        and not (r.cloned or r.scoped)
        and r.destination != ANYWHERE
        and wanted.catches(r.destination)
    ]


def _own(route: NetstatRoute, port: Interface) -> bool:
    """Whether the route came with an address of the interface."""
    return route.gateway is None and any(
        route.destination in (a.network, IPv4Network(a.ip)) for a in port.addresses
    )


def _target(destination: IPv4Network) -> list[str]:
    if destination.prefixlen == 32:
        return ["-host", str(destination.network_address)]
    return ["-net", str(destination)]

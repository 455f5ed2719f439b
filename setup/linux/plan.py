"""What to do on a Linux node so that it becomes what is wanted: ordered steps. Pure.

An empty plan means that all is as wanted, so a second run does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from ipaddress import IPv4Interface, IPv6Address

from attrs import asdict, evolve

from smolmon.setup.linux import nmcli
from smolmon.setup.linux.facts import Facts, Interface, KernelRoute, Profile
from smolmon.setup.linux.neighbour_steps import Macs, unknown
from smolmon.setup.linux.service import WantedFile
from smolmon.setup.linux.system_steps import kernel_steps, system_steps
from smolmon.setup.linux.wanted import Link, Wanted, called_ours
from smolmon.setup.steps import Plan, Step


def plan(
    wanted: Wanted,
    facts: Facts,
    files: tuple[WantedFile, ...],
    window: tuple[int, int] | None = None,
    macs: Macs | None = None,
    *,
    exporter: bool = True,
) -> Plan:
    """The steps that lead from `facts` to `wanted`, for a node that passed preflight.

    `window`: from when to when the monitor's certificate is good (bundle.Identity). `macs`: those
    of the members of segments (bundle.Bundle). Without the `exporter` its files and its service
    stay as they are, and so do static neighbours.
    """
    known = macs or {}
    return Plan(
        network=network_steps(wanted, facts),
        system=tuple(
            system_steps(wanted, facts, files, known)
            if exporter
            else kernel_steps(wanted, facts, files)
        ),
        notes=(
            *_notes(wanted, facts),
            *_clock(facts, window),
            *(unknown(wanted, facts, known) if exporter else ()),
            *(_libiperf(wanted, facts) if exporter else ()),
        ),
    )


def network_steps(wanted: Wanted, facts: Facts) -> tuple[Step, ...]:
    """The steps that a checkpoint covers."""
    return (
        *(step for link in wanted.links for step in _link(link, wanted, facts)),
        *_duplicates(wanted, facts),
    )


def _link(link: Link, wanted: Wanted, facts: Facts) -> Iterator[Step]:
    profile = link.profile
    port = facts.interface(profile.interface, profile.mac)
    if port is None:
        return  # refused by preflight
    applied = facts.applied.get(port.name)
    idle = applied is None and not _addressed(port)
    stored = facts.stored.get(profile.uuid)
    if stored is not None and stored.kind != profile.kind:
        yield Step(
            facts.as_root(*nmcli.delete(profile.uuid)),
            f"{profile.name} is a profile for {stored.kind}, not for {profile.kind}",
        )
        stored = None
    if stored is None:
        why = f"there is no profile {profile.name} on {port.name}"
        yield Step(facts.as_root(*nmcli.add(profile)), why, idle=True)  # only stored as yet
        if not port.carrier and port.up:
            yield _autoconnect(profile, facts, idle=idle)
    elif stored != profile:
        why = f"the stored profile {profile.name} differs: {differences(profile, stored)}"
        yield Step(facts.as_root(*nmcli.modify(profile)), why)
    if not port.carrier and port.up:
        return  # NetworkManager activates it when the cable is in; nothing can be seen until then
    if applied is None or applied.uuid != profile.uuid or stored is None:
        instead = f"; now {applied.name}" if applied and applied.uuid != profile.uuid else ""
        why = f"{profile.name} is not active on {port.name}{instead}"
        yield _up(profile, port, facts, why, idle=idle)
    elif not port.up:
        yield _up(profile, port, facts, f"{port.name} was taken down by hand")
    else:
        found = list(_kernel(link, port, wanted, facts))
        if _ip(applied) != _ip(profile):
            differs = differences(_ip(profile), _ip(applied))
            found.insert(0, f"the profile applied on {port.name} differs: {differs}")
        if found:
            # What cannot be reapplied needs a new activation.
            again = facts.as_root(*nmcli.up(profile.uuid, port.name))
            yield Step(f"{facts.as_root(*nmcli.reapply(port.name))} || {again}", "; ".join(found))
    if stored is None:
        yield _autoconnect(profile, facts, idle=idle)


def _addressed(port: Interface) -> bool:
    """Whether it has an address beyond the one that every interface gives itself."""
    return bool(port.addresses) or any(not IPv6Address(a).is_link_local for a in port.ipv6)


def _autoconnect(profile: Profile, facts: Facts, *, idle: bool) -> Step:
    why = f"{profile.name} is to be active after a reboot, and when its cable comes back"
    return Step(facts.as_root(*nmcli.autoconnect(profile.uuid)), why, idle=idle)


def _ip(profile: Profile) -> Profile:
    """What an *applied* profile is held to: the rest matters only before an activation."""
    return evolve(profile, name="", interface=None, mac=None, autoconnect=True, priority=0)


def _up(profile: Profile, port: Interface, facts: Facts, why: str, *, idle: bool = False) -> Step:
    return Step(facts.as_root(*nmcli.up(profile.uuid, port.name)), why, idle=idle)


def differences(expected: Profile, seen: Profile) -> str:
    """The properties in which two profiles differ, with both values."""
    one, other = asdict(expected, recurse=False), asdict(seen, recurse=False)
    return ", ".join(
        f"{key} is {_said(other[key])} instead of {_said(one[key])}"
        for key in one
        if one[key] != other[key]
    )


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(_said(v) for v in value) or "empty"
    if hasattr(value, "destination"):
        metric = f" metric {value.metric}" if value.metric is not None else ""  # type: ignore[attr-defined]
        return f"{value.destination} via {value.via}{metric}"  # type: ignore[attr-defined]
    return {True: "yes", False: "no", None: "unset", "": "empty"}.get(value, str(value))  # type: ignore[call-overload,no-any-return]


def _kernel(link: Link, port: Interface, wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Where the kernel has something else than the profile says, on one of our interfaces."""
    profile = link.profile
    for address in profile.addresses:
        if address not in port.addresses:
            yield f"{port.name} lost its address {address}"
    for address in port.addresses:
        if address not in profile.addresses and _declared(address, wanted):
            yield f"{port.name} also has the address {address}"
    here = [r for r in facts.routes if r.device == port.name]
    expected = {(r.destination, r.via) for r in profile.routes}
    expected |= {(a.network, None) for a in profile.addresses}
    seen = {(r.destination, r.gateway) for r in here}
    for destination, via in sorted(expected - seen, key=str):
        yield f"the route {destination}{f' via {via}' if via else ''} is missing"
    for route in here:
        if (route.destination, route.gateway) not in expected and _meddles(route, wanted):
            by = f" via {route.gateway}" if route.gateway else ""
            name = "a default route" if route.destination.prefixlen == 0 else route.destination
            yield f"{port.name} also has {name}{by}"


def _declared(address: IPv4Interface, wanted: Wanted) -> bool:
    return any(address.ip in subnet for _, subnet in wanted.declared)


def _meddles(route: KernelRoute, wanted: Wanted) -> bool:
    """Whether a route catches cluster traffic; a default route on a cluster link always does."""
    return any(route.destination.overlaps(subnet) for _, subnet in wanted.declared)


def _duplicates(wanted: Wanted, facts: Facts) -> Iterator[Step]:
    """Profiles that carry our name and are none of ours would fight ours for the interface."""
    for connection in facts.connections:
        if called_ours(connection) and connection.uuid not in wanted.uuids:
            yield Step(
                facts.as_root(*nmcli.delete(connection.uuid)),
                f"a second profile called {connection.name}, which this cluster does not use",
            )


def _notes(wanted: Wanted, facts: Facts) -> Iterator[str]:
    yield from _beside_the_session(facts)
    for link in wanted.links:
        port = facts.interface(link.profile.interface, link.profile.mac)
        if port and port.up and not port.carrier:
            yield (
                f"{link.segment}: {port.name} has no carrier, so its profile is only stored; "
                "plug the cable in, and NetworkManager activates it"
            )


def _libiperf(wanted: Wanted, facts: Facts) -> Iterator[str]:
    if wanted.bandwidth and facts.libiperf is False:
        yield (
            "there is no libiperf, so no bandwidth is measured to or from it; on the node: "
            "sudo apt install libiperf0"
        )


def _beside_the_session(facts: Facts) -> Iterator[str]:
    """Docker takes 172.18.0.0/16 where a campus has its Wi-Fi: then nobody reaches the node."""
    session = facts.interface(facts.ssh_interface)
    if session is None:
        return
    for own in session.addresses:
        for other in facts.interfaces:
            for address in other.addresses:
                if other is not session and address.network.overlaps(own.network):
                    yield (
                        f"{other.name} has {address}, which overlaps {own} of {session.name}, by "
                        "which the node is reached: move it (Docker: `default-address-pools`)"
                    )


def _clock(facts: Facts, window: tuple[int, int] | None) -> Iterator[str]:
    """The node judges the monitor's certificate by its own clock."""
    if window is None or facts.clock is None:
        return
    now, (begins, due) = f"its clock says {_date(facts.clock)}", window
    if facts.clock < begins:
        yield (
            f"{now}, but certificates are valid from {_date(begins)} on: it cannot be scraped "
            "until its clock is right; on the node: sudo timedatectl set-ntp true"
        )
    elif facts.clock >= due:
        yield (
            f"{now}, and Prometheus' certificate was due to be renewed on {_date(due)}: "
            "`smolmon render DIR` does that; if the clock is wrong: sudo timedatectl set-ntp true"
        )


def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"

"""What a Linux node keeps for its next boot, beside what is live now. Pure.

Neither side is held to the cluster file here (the plan does that): a node that is as wanted now,
and would come back otherwise, is what this finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from smolmon.setup.linux import fence
from smolmon.setup.linux.facts import Facts, Interface, Profile
from smolmon.setup.linux.facts_system import UNIT
from smolmon.setup.linux.service import SYSCTL_FILE, ping_allowed
from smolmon.setup.linux.wanted import Link, Wanted
from smolmon.setup.looks import Kept

_AGAIN = "`smolmon setup` puts it right"


def kept(wanted: Wanted, facts: Facts) -> list[Kept]:
    """One line for each profile, kernel setting and unit."""
    return [
        *(_profile(link, facts) for link in wanted.links),
        *_sysctls(wanted, facts),
        *_fence(wanted, facts),
        *_neighbours(wanted, facts),
        _unit(facts),
    ]


def _profile(link: Link, facts: Facts) -> Kept:
    port = facts.interface(link.profile.interface, link.profile.mac)
    stored = facts.stored.get(link.profile.uuid)
    what = f"profile {link.profile.name}"
    live = _live(port, facts) if port else "no such interface"
    if stored is None:
        return Kept(what, "none", live, f"after a reboot nothing sets it up; {_AGAIN}")
    said = _stored(stored)
    if not stored.autoconnect:
        return Kept(what, f"{said}, not at boot", live, f"it does not start at boot; {_AGAIN}")
    if port is not None and port.up and not port.carrier:
        return Kept(what, said, f"{port.name} has no carrier")
    return Kept(what, said, live, "" if said == live else f"the two differ; {_AGAIN}")


def _stored(profile: Profile) -> str:
    routes = sorted(f"{route.destination} via {route.via}" for route in profile.routes)
    if profile.gateway and not profile.never_default:
        routes.insert(0, f"default via {profile.gateway}")
    return ", ".join([*sorted(map(str, profile.addresses)), *routes]) or profile.method


def _live(port: Interface, facts: Facts) -> str:
    routes = sorted(
        f"{route.destination} via {route.gateway}"
        for route in facts.routes
        if route.device == port.name and route.gateway and route.destination.prefixlen
    )
    default = [
        f"default via {route.gateway}"
        for route in facts.routes
        if route.device == port.name and not route.destination.prefixlen
    ]
    return ", ".join([*sorted(map(str, port.addresses)), *default, *routes]) or "no address"


def _sysctls(wanted: Wanted, facts: Facts) -> Iterator[Kept]:
    key = "net.ipv4.ip_forward"
    setters = facts.setters.get(key, ())
    if wanted.forwarding or setters:
        stored = "1" if setters else "0"
        live = facts.sysctl.get(key, "")
        by = f" by {', '.join(setters)}" if setters else f": {SYSCTL_FILE} does not ask for it"
        yield Kept(key, stored + by, live, "" if stored == live else f"they differ; {_AGAIN}")
    key = "net.ipv4.ping_group_range"
    stored, live = facts.kept.get(key, "unset"), facts.sysctl.get(key, "")
    same = ping_allowed(stored) == ping_allowed(live)
    yield Kept(key, stored, live, "" if same else f"they differ; {_AGAIN}")


def _fence(wanted: Wanted, facts: Facts) -> Iterator[Kept]:
    seen = facts.fence
    if wanted.fence is None and not seen.enabled and not seen.active:
        return
    stored = "enabled" if seen.enabled else "not enabled"
    stored += "" if seen.made else ", no rules"
    differs = fence.difference(seen.made, seen.live)
    live = differs or "its rules are in force"
    good = seen.enabled and seen.made and not differs and not seen.reload_needed
    yield Kept(fence.UNIT, stored, live, "" if good else f"they differ; {_AGAIN}")


def _neighbours(wanted: Wanted, facts: Facts) -> Iterator[Kept]:
    """Those of each interface that are put there at every activation."""
    for link in wanted.links:
        port = facts.interface(link.profile.interface, link.profile.mac)
        name = port.name if port else ""
        stored = {(str(n.address), n.mac) for n in facts.static if n.interface == name}
        known = {(str(n.address), n.mac) for n in facts.permanent if n.interface == name}
        if link.peers or stored:
            lost = ", ".join(f"{address} at {mac}" for address, mac in sorted(stored - known))
            yield Kept(
                f"static neighbours on {name or link.segment}",
                ", ".join(address for address, _ in sorted(stored)) or "none",
                f"without {lost}" if lost else "all of them" if stored else "none",
                f"they differ; {_AGAIN}" if lost else "",
            )


def _unit(facts: Facts) -> Kept:
    service = facts.service
    stored = "enabled" if service.enabled else "not enabled"
    live = "running" if service.active else "not running"
    if service.reload_needed:
        return Kept(UNIT, f"{stored}, changed since it was read", live, f"it differs; {_AGAIN}")
    return Kept(UNIT, stored, live, "" if service.enabled == service.active else _AGAIN)

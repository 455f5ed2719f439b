"""What to do on a Linux node so that it becomes what is wanted: ordered steps. Pure.

An empty plan means that all is as wanted, so a second run does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timezone
from ipaddress import IPv4Interface

from attrs import asdict, evolve

from smolmon.setup.linux import nmcli
from smolmon.setup.linux.facts import UNIT, Facts, Interface, KernelRoute, Profile
from smolmon.setup.linux.service import WantedFile, ping_allowed
from smolmon.setup.linux.wanted import Link, Wanted, called_ours
from smolmon.setup.shell import quote
from smolmon.setup.steps import Plan, Step


def plan(
    wanted: Wanted,
    facts: Facts,
    files: tuple[WantedFile, ...],
    window: tuple[int, int] | None = None,
    *,
    exporter: bool = True,
) -> Plan:
    """The steps that lead from `facts` to `wanted`, for a node that passed preflight.

    `window`: from when to when the monitor's certificate is good (bundle.Identity). Without the
    `exporter` its files and its service stay as they are.
    """
    system = _system if exporter else _kernel_settings
    return Plan(
        network=network_steps(wanted, facts),
        system=tuple(system(wanted, facts, files)),
        notes=(*_notes(wanted, facts), *_clock(facts, window)),
    )


# -- the network ------------------------------------------------------------------------------


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
    stored = facts.stored.get(profile.uuid)
    if stored is not None and stored.kind != profile.kind:
        yield Step(
            facts.as_root(*nmcli.delete(profile.uuid)),
            f"{profile.name} is a profile for {stored.kind}, not for {profile.kind}",
        )
        stored = None
    if stored is None:
        why = f"there is no profile {profile.name} on {port.name}"
        yield Step(facts.as_root(*nmcli.add(profile)), why)
        if not port.carrier and port.up:
            yield _autoconnect(profile, facts)
    elif stored != profile:
        why = f"the stored profile {profile.name} differs: {differences(profile, stored)}"
        yield Step(facts.as_root(*nmcli.modify(profile)), why)
    if not port.carrier and port.up:
        return  # NetworkManager activates it when the cable is in; nothing can be seen until then
    applied = facts.applied.get(port.name)
    if applied is None or applied.uuid != profile.uuid or stored is None:
        instead = f"; now {applied.name}" if applied and applied.uuid != profile.uuid else ""
        yield _up(profile, port, facts, f"{profile.name} is not active on {port.name}{instead}")
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
        yield _autoconnect(profile, facts)


def _autoconnect(profile: Profile, facts: Facts) -> Step:
    why = f"{profile.name} is to be active after a reboot, and when its cable comes back"
    return Step(facts.as_root(*nmcli.autoconnect(profile.uuid)), why)


def _ip(profile: Profile) -> Profile:
    """What an *applied* profile is held to: the rest matters only before an activation."""
    return evolve(profile, name="", interface=None, mac=None, autoconnect=True, priority=0)


def _up(profile: Profile, port: Interface, facts: Facts, why: str) -> Step:
    return Step(facts.as_root(*nmcli.up(profile.uuid, port.name)), why)


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


# -- the system -------------------------------------------------------------------------------


def _system(wanted: Wanted, facts: Facts, files: tuple[WantedFile, ...]) -> Iterator[Step]:
    wrong = [(file, why) for file in files if (why := _wrong(file, facts))]
    changed = [file for file, _ in wrong]
    for file, why in wrong:
        step = _install(file, facts, why)
        if file.exporter and file is next(f for f in changed if f.exporter):
            # Undone in reverse order, so this comes last: the former exporter runs again.
            step = evolve(step, undo=" && ".join([step.undo or "true", *_resume(facts)]))
        yield step
    yield from _sysctls(wanted, facts)
    yield from _service(facts, files, changed)


def _kernel_settings(wanted: Wanted, facts: Facts, files: tuple[WantedFile, ...]) -> Iterator[Step]:
    """What of the system the network needs: without forwarding nothing gets through a gateway."""
    for file in files:
        if not file.exporter and (why := _wrong(file, facts)):
            yield _install(file, facts, why)
    yield from _sysctls(wanted, facts)


def _resume(facts: Facts) -> Iterator[str]:
    yield facts.as_root("systemctl", "daemon-reload")
    if facts.service.active:
        yield facts.as_root("systemctl", "restart", UNIT)


def _wrong(file: WantedFile, facts: Facts) -> str | None:
    """Why a file must be installed; None where all is as wanted."""
    seen = facts.files.get(file.path)
    if seen is None:
        return f"{file.what} is not installed"
    if seen.sha256 != hashlib.sha256(file.content).hexdigest():
        return f"{file.what} is another one"
    if seen.owner != 0:
        return f"{file.what} belongs to user {seen.owner} instead of root"
    if seen.mode != file.mode:
        return f"{file.what} has the mode {seen.mode:04o} instead of {file.mode:04o}"
    return None


def _install(file: WantedFile, facts: Facts, why: str) -> Step:
    """Put a file in place by a rename, so that nobody ever reads half of it.

    A former one is kept beside it before anything else happens, so that the undo never finds one
    of an earlier run; service.LEFTOVERS are removed when all is ready. install(1) makes a file for
    its owner alone before it writes to it, so a key is never readable by others.
    """
    new, previous = f"{file.path}.new", f"{file.path}.previous"
    # From nowhere: what comes by standard input is for `install`, and sudo may read ahead.
    kept = [("rm", "-f", previous), ("ln", file.path, previous)]
    exists = file.path in facts.files
    commands = [f"{facts.as_root(*words)} </dev/null" for words in kept] if exists else []
    commands.append(facts.as_root("install", "-D", "-m", f"{file.mode:04o}", "/dev/stdin", new))
    commands.append(facts.as_root("mv", "-f", new, file.path))
    undo = facts.as_root("rm", "-f", new, previous if exists else file.path)
    if exists:
        back = facts.as_root("mv", "-f", previous, file.path)
        # Two names of one file, where nothing was replaced, are what mv refuses.
        same = f"[ {quote(previous)} -ef {quote(file.path)} ]"
        undo = f"{{ [ ! -e {quote(previous)} ] || {same} || {back}; }} && {undo}"
    return Step(" && ".join(commands), why, undo, file.content)


def _sysctls(wanted: Wanted, facts: Facts) -> Iterator[Step]:
    seen = facts.sysctl.get("net.ipv4.ip_forward", "")
    if wanted.forwarding and seen != "1":
        yield _sysctl(facts, "net.ipv4.ip_forward", "1", "it is a gateway and does not forward")
    if not ping_allowed(facts.sysctl.get("net.ipv4.ping_group_range", "")):
        why = "the exporter pings without privileges"
        yield _sysctl(facts, "net.ipv4.ping_group_range", "0 2147483647", why)


def _sysctl(facts: Facts, key: str, value: str, why: str) -> Step:
    before = facts.sysctl.get(key, "")
    return Step(
        facts.as_root("sysctl", "-q", "-w", f"{key}={value}"),
        why,
        facts.as_root("sysctl", "-q", "-w", f"{key}={before}"),
    )


def _service(
    facts: Facts, files: tuple[WantedFile, ...], changed: list[WantedFile]
) -> Iterator[Step]:
    service = facts.service
    parts = [f for f in files if f.exporter]
    new = [f for f in changed if f.exporter]
    reload = facts.as_root("systemctl", "daemon-reload")
    if not service.enabled:
        # Enabling makes systemd read its units again too.
        yield Step(
            facts.as_root("systemctl", "enable", "-q", UNIT),
            f"{UNIT} does not start at boot",
            facts.as_root("systemctl", "disable", "-q", UNIT),
        )
    elif service.reload_needed or any(f.path.endswith(".service") for f in new):
        yield Step(reload, f"{UNIT} changed", reload)
    stale = [
        f
        for f in parts
        if (seen := facts.files.get(f.path))
        and service.started is not None
        and seen.changed > service.started + 1  # both are whole seconds
    ]
    restart = facts.as_root("systemctl", "restart", UNIT)
    stop = facts.as_root("systemctl", "stop", UNIT)
    if not service.active:
        yield Step(restart, f"{UNIT} does not run", stop)
    elif new or stale:
        names = " and ".join(f.what for f in new or stale)
        yield Step(restart, f"the running exporter predates {names}", stop if new else restart)

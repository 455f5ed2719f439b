"""How everything that smolmon installed leaves a Mac again, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from smolmon.setup.macos import launchd, networksetup
from smolmon.setup.macos.facts import Facts, StoredService
from smolmon.setup.macos.fence import without_rules
from smolmon.setup.macos.neighbours import forgotten
from smolmon.setup.macos.plan import before, removed
from smolmon.setup.macos.system_steps import forward
from smolmon.setup.macos.tools import (
    DIRECTORY,
    EXPORTER,
    FENCE,
    FORWARDING,
    LOGS,
    NEIGHBOURS,
    PATHS,
    PREFIX,
    RM,
    SOCKETFILTERFW,
    STATE,
    daemon_file,
)
from smolmon.setup.macos.wanted import Link, Wanted, holds, port_of
from smolmon.setup.steps import Plan, Step

_DAEMONS = (EXPORTER, FORWARDING, FENCE, NEIGHBOURS)


def removal(wanted: Wanted, facts: Facts) -> Plan:
    """The steps that lead back; empty where smolmon has left nothing."""
    links = [(link, service) for link in wanted.links if (service := _held(link, facts))]
    network = [step for link, service in links for step in _given_back(link, service, facts)]
    network += [
        removed(service, facts, f"smolmon made the service {service.name}")
        for service in facts.services
        if service.name.startswith(PREFIX) and service.device != facts.session
    ]
    return Plan(
        network=tuple(network),
        system=tuple(_system(facts)),
        notes=tuple(
            f"{link.segment}: {service.name} goes back to DHCP, which is what macOS begins with; "
            "what it was set to before smolmon is not known"
            for link, service in links
        ),
    )


def _held(link: Link, facts: Facts) -> StoredService | None:
    """The service that we set up for `link`, unless we made it or must not touch it."""
    port = port_of(link, facts)
    service = facts.service_on(port.name) if port and port.name != facts.session else None
    if service is None or service.name.startswith(PREFIX) or not holds(service, link):
        return None
    return service


def _given_back(link: Link, service: StoredService, facts: Facts) -> Iterator[Step]:
    name, there = service.name, service.routes or ()
    foreign = [r for r in there if r not in link.routes]
    if len(foreign) != len(there):
        yield Step(
            facts.as_root(*networksetup.routes(name, foreign)),
            f"{name} has routes for this cluster",
            facts.as_root(*networksetup.routes(name, there)),
        )
    why = f"{name} has the address {link.address.ip} of this cluster"
    yield Step(facts.as_root(*networksetup.dhcp(name)), why, before(service, facts))
    if foreign:
        # Nobody knows whether setting the method clears them.
        yield Step(
            facts.as_root(*networksetup.routes(name, foreign)),
            f"{name} is to keep the routes that are not smolmon's",
            facts.as_root(*networksetup.routes(name, there)),
        )
    if service.info and service.info.ipv6 not in (None, "Automatic", "Off", "Manual"):
        yield Step(
            facts.as_root(*networksetup.ipv6_automatic(name)),
            f"{name} takes IPv6 addresses of its own link only",
            facts.as_root(*networksetup.ipv6_link_local(name)),
        )


def _system(facts: Facts) -> Iterator[Step]:
    for label in _DAEMONS:
        if label in facts.jobs:
            undo = launchd.load(facts, label) if daemon_file(label) in facts.files else None
            yield Step(launchd.unload(facts, label), f"smolmon installed {label}", undo)
    ours = FORWARDING in facts.jobs or daemon_file(FORWARDING) in facts.files
    if ours and facts.forwarding:
        yield forward(facts, on=False, why="the forwarding daemon turned it on")
    yield from without_rules(facts, "smolmon put these rules into pf")
    # Only now: their daemon would have set them again.
    yield from forgotten(facts, "smolmon made these static neighbours")
    program = facts.firewall_rule
    if program and any(app.path == program for app in facts.firewall.apps):
        add, allow, gone = (
            facts.as_root(SOCKETFILTERFW, option, program)
            for option in ("--add", "--unblockapp", "--remove")
        )
        yield Step(gone, f"smolmon let {program} through the firewall", f"{add} && {allow}")
    daemons = [path for path in PATHS if path in facts.files and _is_daemon(path)]
    folders = [d for d in (DIRECTORY, STATE, LOGS) if d in facts.directories]
    # Last, and at once: until here everything can be undone.
    commands = [facts.as_root(RM, "-f", path) for path in daemons]
    commands += [facts.as_root(RM, "-rf", folder) for folder in folders]
    if commands:
        yield Step(" && ".join(commands), "smolmon installed these files")


def _is_daemon(path: str) -> bool:
    return path in map(daemon_file, _DAEMONS)

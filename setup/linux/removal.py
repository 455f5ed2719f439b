"""How smolmon is taken off a Linux node again: ordered steps. Pure.

An empty plan means that nothing of it is left. What it found and did not make stays: other
profiles, forwarding that something else asks for, foreign files in its folder.
"""

from __future__ import annotations

from collections.abc import Iterator

from smolmon.setup.linux import fence, nmcli
from smolmon.setup.linux.facts import Facts
from smolmon.setup.linux.facts_system import UNIT
from smolmon.setup.linux.fence_steps import without_fence
from smolmon.setup.linux.neighbour_steps import without_neighbours
from smolmon.setup.linux.service import DIRECTORY, LEFTOVERS, PATHS, SYSCTL_FILE, UNIT_FILE
from smolmon.setup.linux.wanted import Wanted, called_ours
from smolmon.setup.steps import Plan, Step

FORWARDING = "net.ipv4.ip_forward"
# Interfaces of programs that turn forwarding on by themselves and need it.
_ROUTERS = ("docker", "br-", "virbr", "lxdbr", "incusbr", "podman", "cni", "flannel", "tailscale")


def removal(wanted: Wanted, facts: Facts) -> Plan:
    """The steps after which nothing of smolmon is left on a node of these facts."""
    return Plan(
        network=tuple(_profiles(wanted, facts)),
        # While its file is there it can be told who asked for a kernel setting.
        system=(
            *_unit(facts),
            *_sysctls(facts),
            # No sooner: until here it may still pass packets on.
            *without_fence(facts, f"{fence.UNIT} keeps segments apart"),
            *without_neighbours(wanted, facts),
            *_files(facts),
            *_folders(facts),
        ),
        notes=tuple(_notes(facts)),
    )


def refusals(wanted: Wanted, facts: Facts) -> Iterator[str]:
    """Why its profiles must not go: one carries the session that would take them away."""
    session = facts.ssh_interface or next(iter(facts.default_interfaces), None)
    for connection in facts.connections:
        ours = connection.uuid in wanted.uuids or called_ours(connection)
        if ours and connection.device and connection.device == session:
            yield (
                f"its profile {connection.name} carries this SSH session on {session}; reach the "
                "node another way (Wi-Fi), and run `smolmon setup --remove` again"
            )


def _profiles(wanted: Wanted, facts: Facts) -> Iterator[Step]:
    for connection in facts.connections:
        if connection.uuid in wanted.uuids or called_ours(connection):
            yield Step(
                facts.as_root(*nmcli.delete(connection.uuid)),
                f"the profile {connection.name} is smolmon's; NetworkManager goes back to another "
                "profile of the interface, if there is one",
            )


def _unit(facts: Facts) -> Iterator[Step]:
    if facts.service.active:
        yield Step(facts.as_root("systemctl", "stop", UNIT), f"{UNIT} runs")
    if facts.service.enabled:
        yield Step(facts.as_root("systemctl", "disable", "-q", UNIT), f"{UNIT} starts at boot")


def _files(facts: Facts) -> Iterator[Step]:
    there = [p for p in (*PATHS, *LEFTOVERS) if p in facts.files or p in facts.folder]
    for path in there:
        yield Step(facts.as_root("rm", "-f", path), f"{path} is smolmon's")
    for unit, path in ((UNIT, UNIT_FILE), (fence.UNIT, fence.UNIT_FILE)):
        if path in there:
            yield Step(facts.as_root("systemctl", "daemon-reload"), f"{unit} is gone")


def _folders(facts: Facts) -> Iterator[Step]:
    """Its own folder and those in it, the inner ones first, where nothing foreign keeps them."""
    if not _foreign(facts):
        mine = {*PATHS, *LEFTOVERS}
        for path in sorted(set(facts.folder) - mine, key=lambda path: -path.count("/")):
            yield Step(facts.as_root("rmdir", path), f"{path} is smolmon's")


def _foreign(facts: Facts) -> list[str]:
    """What somebody else put into our folder."""
    mine = {*PATHS, *LEFTOVERS}
    folders = {DIRECTORY, *(path.rpartition("/")[0] for path in mine)}
    return [path for path in facts.folder if path not in mine | folders]


def _sysctls(facts: Facts) -> Iterator[Step]:
    """Forwarding; who may ping stays as it is until the next boot, since that was nobody's harm."""
    ours, others = _forwarders(facts)
    if ours and not others and facts.sysctl.get(FORWARDING) == "1":
        yield Step(
            facts.as_root("sysctl", "-q", "-w", f"{FORWARDING}=0"),
            f"only smolmon's {SYSCTL_FILE} asks for forwarding",
        )


def _forwarders(facts: Facts) -> tuple[bool, list[str]]:
    """Whether our file asks for forwarding, and who else does or may need it."""
    setters = facts.setters.get(FORWARDING, ())
    others = [path for path in setters if path != SYSCTL_FILE]
    return SYSCTL_FILE in setters, others or _routers(facts)


def _routers(facts: Facts) -> list[str]:
    return [i.name for i in facts.interfaces if i.name.startswith(_ROUTERS)]


def _notes(facts: Facts) -> Iterator[str]:
    ours, others = _forwarders(facts)
    if ours and others and facts.sysctl.get(FORWARDING) == "1":
        yield f"it goes on forwarding: {', '.join(others)} may need it"
    if foreign := _foreign(facts):
        yield f"{DIRECTORY} stays: {', '.join(foreign)} in it is not smolmon's"

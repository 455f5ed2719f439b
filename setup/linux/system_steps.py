"""The steps on a Linux node that no checkpoint covers: files, rules, services. Pure.

Each has an inverse, but for what is not wanted any more; they are undone last first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from attrs import evolve

from smolmon.setup.linux import fence, neighbours
from smolmon.setup.linux.facts import Facts
from smolmon.setup.linux.facts_system import UNIT
from smolmon.setup.linux.fence_steps import FILES, fence_steps, resumed, without_fence
from smolmon.setup.linux.neighbour_steps import Macs, neighbour_steps, without_neighbours
from smolmon.setup.linux.service import WantedFile, ping_allowed
from smolmon.setup.linux.wanted import Wanted
from smolmon.setup.shell import quote
from smolmon.setup.steps import Step


def system_steps(
    wanted: Wanted, facts: Facts, files: tuple[WantedFile, ...], macs: Macs
) -> Iterator[Step]:
    """All of them, in order."""
    changed = [file for file in files if _wrong(file, facts)]
    yield from _installed(changed, facts)
    yield from _kernel(wanted, facts, changed)
    yield from neighbour_steps(wanted, facts, macs)
    if not any(link.peers for link in wanted.links):
        yield from without_neighbours(wanted, facts)
        yield from _dropped(facts, [neighbours.FILE], "static neighbours are not asked for")
    yield from _service(facts, files, changed)


def kernel_steps(wanted: Wanted, facts: Facts, files: tuple[WantedFile, ...]) -> Iterator[Step]:
    """What of the system the network needs: without forwarding nothing gets through a gateway.

    Static neighbours are not among them: without other nodes' addresses they stay as they are.
    """
    changed = [
        file
        for file in files
        if not file.exporter and file.path != neighbours.FILE and _wrong(file, facts)
    ]
    yield from _installed(changed, facts)
    yield from _kernel(wanted, facts, changed)


def _kernel(wanted: Wanted, facts: Facts, changed: Iterable[WantedFile]) -> Iterator[Step]:
    # Rules before forwarding: nothing passes in between.
    if wanted.fence is not None:
        yield from fence_steps(facts, {file.path for file in changed})
    else:
        why = "isolation is not enforced here"
        yield from without_fence(facts, why)
        yield from _dropped(facts, FILES, why)
    yield from _sysctls(wanted, facts)


def _installed(changed: list[WantedFile], facts: Facts) -> Iterator[Step]:
    """Undone in reverse order, so the first file of a service comes last: it runs as before."""
    exporter = next((f for f in changed if f.exporter), None)
    rules = next((f for f in changed if f.path in FILES), None)
    for file in changed:
        step = _install(file, facts, _wrong(file, facts) or "")
        again: list[str] = []
        if file is exporter:
            again = list(_resume(facts))
        elif file is rules:
            again = resumed(facts)
        yield evolve(step, undo=" && ".join([step.undo or "true", *again]))


def _dropped(facts: Facts, paths: Iterable[str], why: str) -> Iterator[Step]:
    there = [path for path in paths if path in facts.files]
    for path in there:
        yield Step(facts.as_root("rm", "-f", path), why)
    if fence.UNIT_FILE in there:
        yield Step(facts.as_root("systemctl", "daemon-reload"), f"{fence.UNIT} is gone")


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

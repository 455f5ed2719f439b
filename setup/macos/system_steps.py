"""The steps that no rollback covers: files, daemons, forwarding, the firewall. Pure.

Each has an inverse; they are undone last first. The daemon of the first file that was changed for
it starts again, as it was, when everything else is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from smolmon.macos.socketfilterfw import FirewallState
from smolmon.setup.macos import launchd
from smolmon.setup.macos.facts import Facts
from smolmon.setup.macos.fence import fence_steps, installed, without_fence
from smolmon.setup.macos.files import WantedFile, install, same
from smolmon.setup.macos.neighbours import without_neighbours
from smolmon.setup.macos.tools import (
    CHGRP,
    CHMOD,
    DIRECTORY,
    EXPORTER,
    FENCE,
    FIREWALL_RULE,
    FORWARDING,
    LAUNCHCTL,
    LOGS,
    MKDIR,
    NEIGHBOURS,
    PF_RULES,
    RM,
    RMDIR,
    SOCKETFILTERFW,
    STATE,
    SYSCTL,
    TLS,
    daemon_file,
)
from smolmon.setup.macos.wanted import Wanted
from smolmon.setup.steps import Step

FORWARD = "net.inet.ip.forwarding"


def system_steps(wanted: Wanted, facts: Facts, files: tuple[WantedFile, ...]) -> Iterator[Step]:
    """All of them, in order. Without a file of the exporter's, that stays as it is."""
    exporter = any(f.daemon == EXPORTER for f in files)
    yield from _directories(facts, files, logs=exporter)
    changed = [f for f in files if not same(f, facts)]
    seen: set[str] = set()
    for file in changed:
        step = installed(file, facts) if file.path == PF_RULES else install(file, facts)
        if file.daemon and file.daemon not in seen:
            seen.add(file.daemon)
            again = _as_before(file.daemon, changed, facts)
            step = evolve(step, undo=" && ".join(filter(None, [step.undo, again])))
        yield step
    if wanted.forwarding:
        yield from _daemon(FORWARDING, files, changed, facts)
        if facts.forwarding is not True:
            yield forward(facts, on=True, why="it is a gateway and does not forward")
    else:
        yield from without_forwarding(facts, "it is no gateway any more")
    if wanted.apart:
        yield from fence_steps(wanted, facts, changed)
        yield from _daemon(FENCE, files, changed, facts)
    else:
        yield from without_fence(facts, "it is not to keep segments apart any more")
    if any(f.daemon == NEIGHBOURS for f in files):
        yield from _daemon(NEIGHBOURS, files, changed, facts)
    else:
        yield from without_neighbours(facts, "it is to keep no static neighbours any more")
    if exporter:
        yield from _firewall(facts)
        yield from _daemon(EXPORTER, files, changed, facts)


def _directories(facts: Facts, files: tuple[WantedFile, ...], *, logs: bool) -> Iterator[Step]:
    for path in (DIRECTORY, TLS):
        needed = any(f.path.startswith(f"{path}/") for f in files)
        if needed and path not in facts.directories:
            make = facts.as_root(MKDIR, "-p", path)
            yield Step(make, f"there is no {path}", facts.as_root(RMDIR, path))
    if logs and LOGS not in facts.directories:
        # launchd opens a log as the user that the daemon runs as.
        words = [(MKDIR, "-p", LOGS), (CHGRP, facts.group, LOGS), (CHMOD, "0775", LOGS)]
        make = " && ".join(facts.as_root(*one) for one in words)
        remove = facts.as_root(RM, "-rf", LOGS)
        yield Step(make, f"there is no {LOGS}, for the exporter's log", remove)


# -- daemons ----------------------------------------------------------------------------------


def _daemon(
    label: str, files: Sequence[WantedFile], changed: Sequence[WantedFile], facts: Facts
) -> Iterator[Step]:
    """Make launchd run the daemon as its files say."""
    job = facts.jobs.get(label)
    new = [f for f in changed if f.daemon == label]
    stale = [f for f in files if f.daemon == label and _predated(f, label, facts)]
    names = " and ".join(f.what for f in new or stale)
    unload, load = launchd.unload(facts, label), launchd.load(facts, label)
    if job is None:
        yield Step(load, f"launchd does not know {label}", unload)
        return
    if label in facts.disabled:
        enable, disable = (
            facts.as_root(LAUNCHCTL, word, launchd.target(label)) for word in ("enable", "disable")
        )
        yield Step(enable, f"{label} does not start at boot", disable)
    if any(f.path == daemon_file(label) for f in new or stale):
        # It read its property list when it was loaded.
        yield Step(unload, f"{label} was loaded before {names}")
        yield Step(load, f"{label} is loaded anew", unload)
    elif new or stale:
        yield Step(launchd.restart(facts, label), f"the running exporter predates {names}")
    elif label == EXPORTER and not job.running:
        yield Step(launchd.restart(facts, label), f"{label} does not run")


def _predated(file: WantedFile, label: str, facts: Facts) -> bool:
    seen = facts.files.get(file.path)
    if label != EXPORTER or seen is None or facts.started is None:
        return False
    return seen.changed > facts.started + 1  # both are whole seconds


def _as_before(label: str, changed: Sequence[WantedFile], facts: Facts) -> str | None:
    """The command that makes the former daemon run again."""
    if label not in facts.jobs:
        return None
    if any(f.path == daemon_file(label) for f in changed):
        return f"{launchd.unload(facts, label)} && {launchd.load(facts, label)}"
    return launchd.restart(facts, label)


# -- forwarding -------------------------------------------------------------------------------


def without_forwarding(facts: Facts, why: str) -> Iterator[Step]:
    """Take the forwarding daemon away, and what it did. Where it is not, nothing is turned off."""
    there = daemon_file(FORWARDING) in facts.files
    if FORWARDING in facts.jobs:
        undo = launchd.load(facts, FORWARDING) if there else None
        yield Step(launchd.unload(facts, FORWARDING), why, undo)
    if there:
        yield Step(facts.as_root(RM, "-f", daemon_file(FORWARDING)), why)
    if (there or FORWARDING in facts.jobs) and facts.forwarding:
        yield forward(facts, on=False, why="the forwarding daemon turned it on")


def forward(facts: Facts, *, on: bool, why: str) -> Step:
    """The step that turns forwarding on or off now."""
    do, undo = (facts.as_root(SYSCTL, "-w", f"{FORWARD}={int(value)}") for value in (on, not on))
    return Step(do, why, undo)


# -- the firewall -----------------------------------------------------------------------------


def _firewall(facts: Facts) -> Iterator[Step]:
    """Let the exporter's interpreter through. The firewall itself stays as it is."""
    python = facts.python
    if facts.firewall.state is not FirewallState.ON or python is None:
        return
    program = python.program
    if facts.firewall.allows(program):
        return
    known = any(app.path == program for app in facts.firewall.apps)

    def tell(option: str) -> str:
        return facts.as_root(SOCKETFILTERFW, option, program)

    why = f"the firewall is on and does not let {program} through, which runs the exporter"
    yield Step(tell("--add"), why, tell("--blockapp") if known else tell("--remove"))
    yield Step(tell("--unblockapp"), "and the rule is to allow it")
    if not known:
        rule = WantedFile(FIREWALL_RULE, "the note of that rule", f"{program}\n".encode())
        if STATE not in facts.directories:
            make = facts.as_root(MKDIR, "-p", STATE)
            yield Step(make, f"there is no {STATE}", facts.as_root(RM, "-rf", STATE))
        step = install(rule, facts)
        yield evolve(step, why="so that it can be taken away again")

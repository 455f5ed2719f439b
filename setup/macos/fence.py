"""`isolation: enforce` on macOS: a gateway drops what segments must not send each other. Pure.

The rules are those of `smolmon.setup.linux.fence`, in an anchor that a Mac's own /etc/pf.conf
evaluates (`anchor "com.apple/*"`), so that no file of Apple's is touched. pf is enabled by a
reference of our own (`pfctl -E`), never disabled, and no other anchor is ever changed. A daemon
loads the rules at boot, and again from time to time: whoever runs `pfctl -d` takes everybody's
reference away (xnu, pf_ioctl.c).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from attrs import evolve

from smolmon.macos import pf
from smolmon.setup.macos import launchd
from smolmon.setup.macos.facts import Facts
from smolmon.setup.macos.files import WantedFile, install
from smolmon.setup.macos.tools import (
    ANCHOR,
    FENCE,
    PF_RULES,
    PF_SCRIPT,
    PF_TOKEN,
    PFCTL,
    RM,
    SH,
    daemon_file,
)
from smolmon.setup.macos.wanted import Wanted
from smolmon.setup.shell import command
from smolmon.setup.steps import Step

EVERY = 300  # seconds

# -onone: pf's optimizer may put several rules into one of another form (pf.conf(5)).
SCRIPT = f"""\
#!/bin/sh
# Written by `smolmon setup`: loads the rules that keep segments apart, and holds pf enabled.
{command(PFCTL, "-q", "-onone", "-a", ANCHOR, "-f", PF_RULES)} || exit 1
token=$(cat {PF_TOKEN} 2>/dev/null)
case $token in
  "" | *[!0-9]*) ;;
  *) {PFCTL} -s References 2>/dev/null | grep -qw "$token" && exit 0 ;;
esac
{PFCTL} -E 2>&1 | sed -n 's/^Token : *\\([0-9][0-9]*\\).*/\\1/p' >{PF_TOKEN}
[ -s {PF_TOKEN} ]
"""


def ruleset(apart: Sequence[IPv4Network], free: Sequence[IPv4Address]) -> bytes:
    """A file for `pfctl -f`, each rule as pf prints it; pf.conf(5).

    Packets are dropped where they come in, so one within a subnet is left alone. `pass` is for
    both directions: what a free address opens leaves a state at either interface, which answers
    need.
    """
    pairs = [(one, other) for one in apart for other in apart if one != other]
    rules = [
        f"pass quick inet from {address} to {subnet} flags S/SA keep state"
        for address in free
        for subnet in apart
        if address not in subnet
    ]
    rules += [f"block drop in quick inet from {one} to {other}" for one, other in pairs]
    return "".join(f"{line}\n" for line in ["# Written by `smolmon setup`.", *rules]).encode()


def fence_files(wanted: Wanted) -> tuple[WantedFile, ...]:
    """What a gateway needs to keep segments apart; empty where it is not to."""
    if not wanted.apart:
        return ()
    return (
        WantedFile(PF_RULES, "the file of pf's rules", ruleset(wanted.apart, wanted.free)),
        WantedFile(PF_SCRIPT, "the script that loads pf's rules", SCRIPT.encode()),
        WantedFile(
            daemon_file(FENCE),
            "the isolation daemon",
            launchd.periodic(FENCE, [SH, PF_SCRIPT], EVERY),
            FENCE,
        ),
    )


def differs(wanted: Wanted, facts: Facts) -> str:
    """What the kernel's rules lack; empty for nothing."""
    asked = pf.rules(ruleset(wanted.apart, wanted.free).decode())
    if facts.pf is None or facts.pf.rules != asked:
        there = len(facts.pf.rules) if facts.pf else 0
        what = "are others" if there else "are missing"
        return f"in pf's anchor {ANCHOR} the rules that keep segments apart {what}"
    if not facts.pf.enabled:
        return "pf is not enabled, so nothing keeps segments apart"
    if facts.pf.token is None:
        return "nobody holds pf enabled for the rules that keep segments apart"
    return ""


def fence_steps(wanted: Wanted, facts: Facts, changed: Sequence[WantedFile]) -> Iterator[Step]:
    """Carry the rules out now, where they or their files are others."""
    ours = [f for f in changed if f.path in (PF_RULES, PF_SCRIPT)]
    why = differs(wanted, facts) or (f"{ours[0].what} is new" if ours else "")
    before = facts.pf is not None and bool(facts.pf.rules or facts.pf.token)
    if why:
        run = facts.as_root(SH, PF_SCRIPT)
        yield Step(run, why, None if before else _taken_away(facts))


def installed(file: WantedFile, facts: Facts) -> Step:
    """The step for one of :func:`fence_files`; undone, the former rules are carried out again."""
    step = install(file, facts)
    again = facts.as_root(SH, PF_SCRIPT)
    if file.path == PF_RULES and PF_RULES in facts.files and PF_SCRIPT in facts.files:
        return evolve(step, undo=f"{step.undo} && {again}")
    return step


def _taken_away(facts: Facts) -> str:
    """The inverse of the script where nothing was there: our rules, and our reference."""
    flush = facts.as_root(PFCTL, "-q", "-a", ANCHOR, "-F", "rules")
    release = f'{facts.as_root(PFCTL, "-X")} "$(cat {PF_TOKEN})"'
    forget = facts.as_root(RM, "-f", PF_TOKEN)
    return f"{flush} && {{ [ ! -s {PF_TOKEN} ] || {release}; }} && {forget}"


def without_rules(facts: Facts, why: str) -> Iterator[Step]:
    """Take our rules out of pf, and our reference; pf stays on where others hold it."""
    if facts.pf is None:
        return
    if facts.pf.rules:
        yield Step(facts.as_root(PFCTL, "-q", "-a", ANCHOR, "-F", "rules"), why)
    if facts.pf.token:
        yield Step(facts.as_root(PFCTL, "-X", facts.pf.token), f"{why}, and held pf enabled")


def without_fence(facts: Facts, why: str) -> Iterator[Step]:
    """Take everything of the fence away, where the cluster file asks for none any more."""
    if FENCE in facts.jobs:
        undo = launchd.load(facts, FENCE) if daemon_file(FENCE) in facts.files else None
        yield Step(launchd.unload(facts, FENCE), why, undo)
    yield from without_rules(facts, why)
    there = [p for p in (daemon_file(FENCE), PF_SCRIPT, PF_RULES) if p in facts.files]
    for path in [*there, *([PF_TOKEN] if there else [])]:
        yield Step(facts.as_root(RM, "-f", path), why)

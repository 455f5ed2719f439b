"""The dead-man switch: a LaunchDaemon that undoes network changes unless they are committed. Pure.

It lives in a folder of its own, which is also the lock: who can make it may arm. A file named
after a token tells how far it is, and only a rename, which one of two rivals wins, leads on:

    armed-TOKEN -> committed-TOKEN      by the controller
    armed-TOKEN -> rolling-TOKEN        by the daemon, when the time is up, or `now` is there
    rolling-TOKEN -> done-TOKEN         by the daemon, when everything is undone

Only the daemon ever undoes anything, so that it is done once. It counts pauses and reads no clock,
so that a step of the clock does not matter; started a second time, after a reboot or because it
was killed, it does not wait. Whatever it finds neither armed nor rolling, it removes, itself too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve

from smolmon.setup.macos import launchd
from smolmon.setup.macos.facts import Facts
from smolmon.setup.macos.networksetup import CHECKED, TROUBLE
from smolmon.setup.macos.tools import (
    LAUNCHCTL,
    MKDIR,
    MV,
    RM,
    RMDIR,
    ROLLBACK,
    STATE,
    TEE,
    TOUCH,
    daemon_file,
)
from smolmon.setup.script import DECODED, encoded, steps_script
from smolmon.setup.shell import command, lines, quote
from smolmon.setup.steps import Step

FOLDER = f"{STATE}/rollback"
SCRIPT = f"{FOLDER}/script"
FAILURES = f"{STATE}/rollback.log"
HELD = "another setup changes its network at this moment"
UNFINISHED = "an unfinished change was left behind, and nobody is there to undo it"
_PAUSE = 0.5  # seconds between two looks of the daemon
_LAST_STEP = 10  # pauses that a step which is under way gets to end
_TRIES = 10  # for each inverse, a second apart: after a boot, networksetup may come too early


def settled() -> str:
    """A script that succeeds once nothing is armed or being undone."""
    return f'set -- {FOLDER}/armed-* {FOLDER}/rolling-*; [ ! -e "$1" ] && [ ! -e "$2" ]'


def script(steps: Sequence[Step], seconds: int, token: str, folder: str = FOLDER) -> str:
    """What the daemon runs."""
    undos = [f"undo_{number}() {{\n{step.undo or ':'}\n}}" for number, step in enumerate(steps)]
    backwards = [
        f'  [ "$begun" -le {number} ] || tried undo_{number}'
        for number in reversed(range(len(steps)))
    ]
    armed, rolling, done = (f"{name}-{token}" for name in ("armed", "rolling", "done"))
    begun, ended = (f"cat {name}-{token} 2>/dev/null" for name in ("begun", "ended"))
    return lines(
        [
            "#!/bin/sh",
            "# Written by `smolmon setup`: undoes its changes of the network, unless committed.",
            "PATH=/usr/bin:/bin:/usr/sbin:/sbin; LC_ALL=C; export PATH LC_ALL",
            # The commands are those of the plan; here they are run by root.
            'sudo() { shift; "$@"; }',
            *undos,
            _TRIED,
            "main() {",
            f"cd {quote(folder)} || exit 0",
            f"if [ -e {armed} ] && [ ! -e started ]; then",
            "  : > started",
            f"  left={int(seconds / _PAUSE)}",
            f"  while [ $left -gt 0 ] && [ -e {armed} ] && [ ! -e now ]; do",
            f"    sleep {_PAUSE}; left=$((left - 1))",
            "  done",
            "  begun=",
            "else",
            # How far it was may not have got to the disk before the power went.
            f"  begun={len(steps)}",
            "fi",
            f"mv {armed} {rolling} 2>/dev/null",
            f"if [ -e {rolling} ]; then",
            # From here on no step begins; but one may be under way.
            f'  n=0; while [ "$({begun})" != "$({ended})" ] && [ $n -lt {_LAST_STEP} ]; do',
            f"    sleep {_PAUSE}; n=$((n + 1))",
            "  done",
            f'  [ -n "$begun" ] || begun=$({begun})',
            f'  [ -n "$begun" ] || {{ [ -e begun-{token} ] && begun={len(steps)} || begun=0; }}',
            *backwards,
            f"  mv {rolling} {done}",
            "fi",
            f"rm -f {quote(daemon_file(ROLLBACK))}; cd /; rm -rf {quote(folder)}",
            f"rmdir {STATE} 2>/dev/null",
            f"{command(LAUNCHCTL, 'bootout', launchd.target(ROLLBACK))}; exit 0",
            "}",
            "main",
            "",
        ]
    )


_TRIED = f"""\
tried() {{
  n=0
  while :; do
    said=$("$1" 2>&1); status=$?
    case $said in {TROUBLE}) status=1 ;; esac
    [ $status != 0 ] || return 0
    n=$((n + 1))
    [ $n -lt {_TRIES} ] || break
    sleep 1
  done
  printf '%s: %s\\n' "$1" "$said" >> {FAILURES}
}}"""


def armed(facts: Facts, steps: Sequence[Step], seconds: int, token: str) -> str:
    """A script that arms, and then carries out `steps`; see State.armed."""
    return lines(
        [
            "echo @@arm",
            DECODED,
            _arm(facts, steps, seconds, token),
            f"echo {quote(f'@@armed {token}')}",
            CHECKED,
            _begin(facts, token),
            steps_script(
                [
                    evolve(step, command=f"begin {number + 1} {step.command}")
                    for number, step in enumerate(steps)
                ],
                failed=f"({now(facts, token)}) && echo @@rolled-back",
            ),
        ]
    )


def _begin(facts: Facts, token: str) -> str:
    """A shell function that runs a step if the rollback is armed, and lets the daemon know.

    It first says that it begins and then looks; the daemon first disarms and then waits for what
    has begun. So no step goes on after its inverse.
    """
    begun, ended = (facts.as_root(TEE, _path(name, token)) for name in ("begun", "ended"))
    return lines(
        [
            "begin() {",
            "  number=$1; shift",
            f"  echo $number | {begun} >/dev/null || return 1",
            f"  if [ -e {_file('armed', token)} ]; then",
            '    checked "$@"; result=$?',
            "  else",
            "    echo 'not begun: the rollback was no longer armed'; result=1",
            "  fi",
            f"  echo $number | {ended} >/dev/null",
            "  return $result",
            "}",
        ]
    )


def _arm(facts: Facts, steps: Sequence[Step], seconds: int, token: str) -> str:
    """Leaves the script with one line on standard error, and everything as it was, on failure."""
    root = facts.as_root
    plist = daemon_file(ROLLBACK)
    return lines(
        [
            f"clean() {{ {launchd.unload(facts, ROLLBACK)}; {root(RM, '-f', plist)};"
            f" {root(RM, '-rf', FOLDER)}; {root(RMDIR, STATE)} 2>/dev/null; }}",
            # Only what is ours: somebody may have taken us for dead.
            f'abort() {{ [ ! -e {_file("by", token)} ] || clean; echo "$1" >&2; exit 1; }}',
            "tries=0",
            # Somebody who ends removes the folder above, if nothing else is in it.
            f"until {{ {root(MKDIR, '-p', STATE)} && {root(MKDIR, FOLDER)}; }} 2>/dev/null; do",
            f"  [ -d {FOLDER} ] || {{ echo 'cannot make {FOLDER}' >&2; exit 1; }}",
            f"  if ({settled()}); then under_way=; else under_way=yes; fi",
            f"  if {launchd.loaded(ROLLBACK)}; then",
            f"    [ -z $under_way ] || {{ echo {quote(HELD)} >&2; exit 1; }}",
            "  fi",
            # Somebody is arming or tidying up at this moment, or was killed while he did.
            "  tries=$((tries + 1)); [ $tries -gt 30 ] || { sleep 0.2; continue; }",
            f"  [ $tries -lt 35 ] || {{ echo {quote(HELD)} >&2; exit 1; }}",
            f'  if [ -n "$under_way" ] && (set -- {FOLDER}/begun-*; [ -e "$1" ]); then',
            f"    echo {quote(UNFINISHED)} >&2; exit 1",
            "  fi",
            "  clean",
            "done",
            f"{root(TOUCH, _file('by', token))} || abort 'it cannot be armed'",
            # One that was about to end, but still knows the folder by its name.
            f"if {launchd.loaded(ROLLBACK)}; then",
            f"  {launchd.unload(facts, ROLLBACK)} || abort 'the former rollback does not end'",
            "fi",
            _write(facts, script(steps, seconds, token).encode(), SCRIPT),
            _write(facts, launchd.rollback(SCRIPT), plist),
            f"{root(TOUCH, _file('armed', token))} || abort 'it cannot be armed'",
            "sync",
            f"{launchd.load(facts, ROLLBACK)} 2>/dev/null || abort 'launchd does not load it'",
            f"tries=0; until [ -e {FOLDER}/started ]; do",
            "  tries=$((tries + 1)); [ $tries -le 100 ] || abort 'launchd does not start it'",
            "  sleep 0.1",
            "done",
        ]
    )


def _write(facts: Facts, content: bytes, path: str) -> str:
    return (
        f"decoded <<'@@end' | {facts.as_root(TEE, path)} >/dev/null || "
        f"abort {quote(f'{path} cannot be written')}\n{encoded(content)}@@end"
    )


def commit(facts: Facts, token: str) -> str:
    """A script that disarms `token`, if its time is not up, and then removes what armed it."""
    root = facts.as_root
    return lines(
        [
            f"{root(MV, _path('armed', token), _path('committed', token))} || exit 1",
            # From here on it undoes nothing. What stays, should the connection break, it removes.
            launchd.unload(facts, ROLLBACK),
            f"{root(RM, '-f', daemon_file(ROLLBACK))}",
            f"{root(RM, '-rf', FOLDER)} || exit 1",
            f"{root(RMDIR, STATE)} 2>/dev/null || :",
        ]
    )


def now(facts: Facts, token: str) -> str:
    """A script that has the daemon roll back `token` at once, and waits until it has."""
    going = f"[ -e {_file('armed', token)} ] || [ -e {_file('rolling', token)} ]"
    start = facts.as_root(LAUNCHCTL, "kickstart", launchd.target(ROLLBACK))
    return lines(
        [
            f"{going} || {{ echo 'that rollback is not armed any more' >&2; exit 1; }}",
            f"{facts.as_root(TOUCH, f'{FOLDER}/now')} || exit 1",
            f"{start} >/dev/null 2>&1",  # does nothing where it runs, as it should
            f"tries=0; while {going}; do",
            "  tries=$((tries + 1)); [ $tries -le 300 ] || exit 1",
            "  sleep 0.1",
            "done",
        ]
    )


def _path(name: str, token: str) -> str:
    # It comes back from the node: never a path of its own making.
    return f"{FOLDER}/{name}-{re.sub('[^A-Za-z0-9]', '_', token)}"


def _file(name: str, token: str) -> str:
    return quote(_path(name, token))

"""The facts script: what a Linux node is asked for. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from smolmon.setup.linux.facts import NM
from smolmon.setup.linux.facts_system import Places, system_script
from smolmon.setup.shell import command, lines, quote


def script(uuids: Iterable[str], places: Places) -> str:
    """The facts script: profiles with these UUIDs, and everything else at `places`."""
    return lines([network_script(uuids), system_script(places)])


def network_script(uuids: Iterable[str]) -> str:
    """The part of the facts script that tells of the network alone."""
    wanted = tuple(uuids)
    ask = command("python3", "-I", "-S", "-c", _ask_bus(), *wanted)
    return lines(
        [
            "echo @@user; id -un; id -u",
            'echo @@ssh; echo "$SSH_CONNECTION"',
            "echo @@addresses; ip -j addr",
            "echo @@routes; ip -j -4 route show table main",
            # Each process counts: six nodes are often six small machines. So there is one that
            # asks for all of it, where Python is.
            f"if told=$({ask} 2>/dev/null); then",
            "printf '%s\\n' \"$told\"",
            "else",
            _profiles_script(wanted),
            "fi",
        ]
    )


@cache
def _ask_bus() -> str:
    """The program that nodes run. It is not imported: what it needs is there, not here."""
    return Path(__file__).with_name("ask_bus.py").read_text(encoding="ascii")


def _profiles_script(uuids: Iterable[str]) -> str:
    """What ask_bus tells, by NetworkManager's and systemd's own tools."""
    call = f"busctl --json=short call {NM}"
    return lines(
        [
            # The D-Bus paths, which no colon is in, save asking for them one by one.
            "devices=$(nmcli -t -f DBUS-PATH,DEVICE,TYPE,STATE device 2>/dev/null) && "
            "echo @@nm-running",
            "connections=$(nmcli -t -f DBUS-PATH,UUID,TYPE,DEVICE,NAME connection)",
            "behind() { while IFS= read -r one; do printf '%s\\n' \"${one#*:}\"; done; }",
            "each() { printf '%s\\n' \"$1\"; }",
            'echo @@devices; each "$devices" | behind',
            'echo @@connections; each "$connections" | behind',
            f"wanted={quote(' '.join(['', *uuids, '']))}",
            'each "$connections" | while IFS=: read -r path uuid _; do',
            '  case "$wanted" in *" ${uuid:-none} "*) ;; *) continue ;; esac',
            f'  echo "@@stored $uuid"; {call} "$path" {NM}.Settings.Connection GetSettings',
            "done",
            'each "$devices" | while IFS=: read -r path device kind state; do',
            '  case "$kind:$state" in ethernet:connected*) ;; *) continue ;; esac',
            f'  echo "@@applied $device"; {call} "$path" {NM}.Device GetAppliedConnection u 0',
            "done",
        ]
    )

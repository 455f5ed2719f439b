"""LaunchDaemons: their property lists, and the commands that load and unload them. Pure.

launchd ends a job some time after it was told to, and refuses to load it meanwhile: so every
command waits, and is judged by what `launchctl print` says and not by its exit status.
"""

from __future__ import annotations

import plistlib

from smolmon.setup.macos.facts import Facts
from smolmon.setup.macos.tools import (
    AGENT,
    CLUSTER,
    EXPORTER,
    FORWARDING,
    LAUNCHCTL,
    LOG,
    ROLLBACK,
    SYSCTL,
    WEB,
    daemon_file,
)
from smolmon.setup.shell import command

FORWARD_EVERY = 300  # seconds: others turn it off too, such as Internet Sharing when it ends


def target(label: str) -> str:
    """What launchctl calls a daemon."""
    return f"system/{label}"


def loaded(label: str) -> str:
    """A command that succeeds while launchd knows the daemon."""
    return f"{command(LAUNCHCTL, 'print', target(label))} >/dev/null 2>&1"


def unload(facts: Facts, label: str) -> str:
    """A command that ends the daemon, and waits until it has ended."""
    out = facts.as_root(LAUNCHCTL, "bootout", target(label))
    return (
        f"( {out} 2>/dev/null; n=0; while {loaded(label)}; do "
        "n=$((n + 1)); [ $n -le 100 ] || exit 1; sleep 0.1; done )"
    )


def load(facts: Facts, label: str) -> str:
    """A command that loads the daemon from its file, now and at every boot."""
    enable = facts.as_root(LAUNCHCTL, "enable", target(label))
    bootstrap = facts.as_root(LAUNCHCTL, "bootstrap", "system", daemon_file(label))
    return (
        f"( {enable}; n=0; until {loaded(label)}; do n=$((n + 1)); [ $n -le 10 ] || exit 1; "
        f"{bootstrap} || sleep 0.5; done )"
    )


def restart(facts: Facts, label: str) -> str:
    """A command that ends the daemon's process, if it has one, and starts another."""
    return facts.as_root(LAUNCHCTL, "kickstart", "-k", target(label))


def exporter(python: str, node: str, listen: str, group: str, *, tls: bool) -> bytes:
    """The exporter's property list (launchd.plist(5))."""
    words = [python, AGENT, "exporter", "--node", node, "--cluster", CLUSTER, "--listen", listen]
    return _plist(
        {
            "Label": EXPORTER,
            "ProgramArguments": [*words, *(["--web.config.file", WEB] if tls else [])],
            "UserName": "nobody",
            "GroupName": group,
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 5,
            # Not Background, which slows down its input and output: it measures round trips.
            "ProcessType": "Interactive",
            "StandardErrorPath": LOG,
        }
    )


def forwarding() -> bytes:
    """The property list that keeps IPv4 forwarding on: macOS 11 and newer read no sysctl.conf."""
    return _plist(
        {
            "Label": FORWARDING,
            "ProgramArguments": [SYSCTL, "-w", "net.inet.ip.forwarding=1"],
            "RunAtLoad": True,
            "StartInterval": FORWARD_EVERY,
        }
    )


def periodic(label: str, words: list[str], every: int) -> bytes:
    """The property list of something that is done at boot, and again every `every` seconds."""
    return _plist(
        {"Label": label, "ProgramArguments": words, "RunAtLoad": True, "StartInterval": every}
    )


def rollback(script: str) -> bytes:
    """The property list of the dead-man switch: it starts again where it was killed, and at boot,
    and finds out by itself what that means."""
    return _plist(
        {
            "Label": ROLLBACK,
            "ProgramArguments": ["/bin/sh", script],
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 1,
            "ProcessType": "Interactive",
        }
    )


def _plist(value: dict[str, object]) -> bytes:
    return plistlib.dumps(value, sort_keys=False)

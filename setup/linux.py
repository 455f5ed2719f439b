"""Linux with NetworkManager and systemd: an implementation of `system.System`."""

from __future__ import annotations

from smolmon.setup import facts as _facts
from smolmon.setup import nmcli
from smolmon.setup.facts import NM, NM_PATH, UNIT, Facts
from smolmon.setup.facts import parse as facts
from smolmon.setup.plan import Step, plan
from smolmon.setup.preflight import refusals
from smolmon.setup.script import steps_script
from smolmon.setup.service import PATHS, files
from smolmon.setup.shell import command, lines
from smolmon.setup.wanted import Wanted

__all__ = [
    "armed",
    "commit",
    "facts",
    "facts_script",
    "files",
    "journal",
    "plan",
    "ready",
    "refusals",
    "rollback",
    "settled",
]


def facts_script(wanted: Wanted) -> str:
    """See System."""
    return _facts.script(wanted.uuids, PATHS, wanted.port)


def armed(facts: Facts, steps: tuple[Step, ...], seconds: int) -> str:
    """See System. The token is the D-Bus path of a NetworkManager checkpoint."""
    create = _as_root(facts, nmcli.checkpoint_create(seconds))
    undo = _as_root(facts, nmcli.checkpoint_rollback("CHECKPOINT")).replace(
        "CHECKPOINT", '"$checkpoint"'
    )
    return lines(
        [
            "echo @@arm",
            f"checkpoint=$({create}) || exit 1",
            'checkpoint=${checkpoint#*\\"}; checkpoint=${checkpoint%\\"}',
            'echo "@@armed $checkpoint"',
            steps_script(steps, failed=f"{undo} >/dev/null && echo @@rolled-back"),
        ]
    )


def commit(facts: Facts, token: str) -> str:
    """See System."""
    return _as_root(facts, nmcli.checkpoint_destroy(token))


def rollback(facts: Facts, token: str) -> str:
    """See System."""
    return _as_root(facts, nmcli.checkpoint_rollback(token))


def settled() -> str:
    """See System."""
    get = command("busctl", "get-property", NM, NM_PATH, NM, "Checkpoints")
    return f'[ "$({get})" = "ao 0" ]'


def ready(wanted: Wanted, seconds: float) -> str:
    """See System."""
    listening = command("ss", "-Hltn", f"( sport = :{wanted.port} )")
    return lines(
        [
            f"tries={int(seconds * 10)}",
            f'while [ $tries -gt 0 ] && [ -z "$({listening})" ]; do',
            "  sleep 0.1; tries=$((tries - 1))",
            "done",
        ]
    )


def journal(facts: Facts) -> str:
    """See System."""
    # Its own words only, not what systemd says of it.
    only = [f"_SYSTEMD_UNIT={UNIT}", "_TRANSPORT=stdout"]
    return _as_root(facts, ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "5", *only])


def _as_root(facts: Facts, words: list[str]) -> str:
    return command(*([] if facts.uid == 0 else ["sudo", "-n"]), *words)

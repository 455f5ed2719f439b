"""Linux with NetworkManager and systemd: an implementation of `system.System`."""

from __future__ import annotations

from smolmon.setup import facts as _facts
from smolmon.setup import nmcli
from smolmon.setup.facts import NM, NM_PATH, UNIT, Facts
from smolmon.setup.facts import parse as facts
from smolmon.setup.plan import Step, plan
from smolmon.setup.preflight import refusals
from smolmon.setup.script import steps_script
from smolmon.setup.service import LEFTOVERS, PATHS, files
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
    "tidy",
    "unarmed",
]


def facts_script(wanted: Wanted) -> str:
    """See System."""
    return _facts.script(wanted.uuids, PATHS, wanted.port)


def armed(facts: Facts, steps: tuple[Step, ...], seconds: int) -> str:
    """See System. The token is the D-Bus path of a NetworkManager checkpoint."""
    create = facts.as_root(*nmcli.checkpoint_create(seconds))
    undo = facts.as_root(*nmcli.checkpoint_rollback("CHECKPOINT")).replace(
        "CHECKPOINT", '"$checkpoint"'
    )
    there = command("busctl", "get-property", NM, "CHECKPOINT", f"{NM}.Checkpoint", "Created")
    there = there.replace("CHECKPOINT", '"$checkpoint"')
    return lines(
        [
            "echo @@arm",
            f"checkpoint=$({create}) || exit 1",
            'checkpoint=${checkpoint#*\\"}; checkpoint=${checkpoint%\\"}',
            'echo "@@armed $checkpoint"',
            steps_script(
                steps,
                failed=f"{undo} >/dev/null && echo @@rolled-back",
                # It has ended if the time ran out: nothing may change without it.
                unless=f"{there} >/dev/null 2>&1 || "
                "{ echo 'not begun: the rollback was no longer armed'; failed; }",
            ),
        ]
    )


def unarmed(said: str) -> str:
    """See System."""
    if "already included in checkpoint" in said:
        return (
            "another setup (or another tool) holds a NetworkManager checkpoint on it; wait up to "
            "its timeout and run again; nothing was changed"
        )
    return f"the rollback could not be armed, so nothing was changed: {said}"


def commit(facts: Facts, token: str) -> str:
    """See System."""
    return facts.as_root(*nmcli.checkpoint_destroy(token))


def rollback(facts: Facts, token: str) -> str:
    """See System."""
    return facts.as_root(*nmcli.checkpoint_rollback(token))


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


def tidy(facts: Facts) -> str:
    """See System."""
    return facts.as_root("rm", "-f", *LEFTOVERS)


def journal(facts: Facts) -> str:
    """See System."""
    # Its own words only, not what systemd says of it.
    only = [f"_SYSTEMD_UNIT={UNIT}", "_TRANSPORT=stdout"]
    return facts.as_root("journalctl", "--no-pager", "-q", "-o", "cat", "-n", "5", *only)

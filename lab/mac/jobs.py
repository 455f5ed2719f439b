"""The jobs of launchd that are loaded: a note of each, and the unit of systemd that carries it."""

from __future__ import annotations

import signal
from pathlib import Path

from smolmon.lab.mac import state, units
from smolmon.lab.mac.kernel import KernelError, run
from smolmon.lab.mac.state import Table

UNITS = Path("/run/systemd/system")
JOBS = state.VOLATILE / "launchd"
FILE = "launchd.json"


def note(label: str) -> Table | None:
    """What was noted when the job was loaded; None if there is none, or it has gone by now."""
    found = state.read(f"{units.unit_name(label)}.json", JOBS)
    if found and found["leaving"] and unit(label).get("ActiveState") in ("inactive", "failed"):
        return None
    return found or None


def unit(label: str) -> dict[str, str]:
    """What systemd says of the job; nothing if it does not know it."""
    names = "ActiveState,MainPID"  # what else systemd knows it forgets when the job has ended
    try:
        text = run(
            ["systemctl", "show", f"--property={names}", f"{units.unit_name(label)}.service"]
        )
    except KernelError:
        return {}
    return dict(line.partition("=")[::2] for line in text.splitlines())


def overrides() -> dict[str, bool]:
    """Which labels were disabled (True) or enabled by hand; outlasts a reboot."""
    found: dict[str, bool] = state.read(FILE).get("disabled", {})
    return found


def label_of(target: str) -> str | None:
    """The label of `system/LABEL`."""
    domain, slash, label = target.partition("/")
    return label if slash and domain == "system" and label else None


def loaded() -> list[Table]:
    """Every job that is loaded."""
    jobs = [state.read(file.name, JOBS) for file in sorted(JOBS.glob("*.json"))]
    return [job for job in jobs if note(job["label"])]


def runs(label: str) -> int:
    """How often the job was started since it was loaded."""
    try:
        return len((JOBS / f"{units.unit_name(label)}.runs").read_bytes())
    except FileNotFoundError:
        return 0


def ended(label: str) -> tuple[int | None, int | None]:
    """With which status, or by which signal, the job ended last; neither if it never did."""
    try:
        text = (JOBS / f"{units.unit_name(label)}.exited").read_text(encoding="ascii")
        how, what = text.split()
    except (FileNotFoundError, ValueError):  # being written just now
        return None, None
    if how == "exited":
        return int(what), None
    return None, signal.Signals[f"SIG{what}"].value

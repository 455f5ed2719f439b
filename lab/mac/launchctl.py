"""`/bin/launchctl` for the system domain, after launchctl(1) and recorded output.

The jobs are carried by the node's systemd. As on a Mac, `bootout` does not wait for the end of the
job, the plist must belong to root and be writable for nobody else, and what is enabled or disabled
outlasts a reboot while what is loaded does not: at boot all of /Library/LaunchDaemons is.
"""

from __future__ import annotations

import os
import plistlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from smolmon.lab.mac import jobs, socketfilterfw, state, units
from smolmon.lab.mac.kernel import KernelError, run
from smolmon.lab.mac.launchctl_print import LOOK, NOT_FOUND
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain

DAEMONS = Path("/Library/LaunchDaemons")
LOG = state.VOLATILE / "launchd.log"
THROTTLE = "/usr/lib/smolmon-mac/throttle"

EIO, ESRCH, USAGE = 5, 3, 64
EIO_TEXT = "Bootstrap failed: 5: Input/output error"


def main(argv: Sequence[str]) -> int:
    """Run `launchctl argv`."""
    command, *words = argv or ("help",)
    if command in LOOK:
        return LOOK[command](words)
    if command not in CHANGE:
        complain(f"Unrecognized subcommand: {command}")
        return USAGE
    if not state.is_root():
        if command == "bootstrap":
            complain(f"{EIO_TEXT}\nTry re-running the command as root for richer errors.")
            return EIO
        complain(f"Could not {command} service: 1: Operation not permitted")
        return 1
    with state.locked():
        return CHANGE[command](words)


def _bootstrap(words: Sequence[str]) -> int:
    if len(words) < 2 or words[0] != "system":
        complain("Usage: launchctl bootstrap <domain-target> [service-path, service-path2, ...]")
        return USAGE
    worst = 0
    for path in words[1:]:
        why = load(Path(path))
        if why is not None:
            # launchd says no more than this; what it minds is for the stand-in's own log.
            jobs.JOBS.mkdir(parents=True, exist_ok=True)
            with LOG.open("a", encoding="utf-8") as log:
                log.write(f"{path}: {why}\n")
            complain(EIO_TEXT)
            worst = EIO
    return worst


def load(path: Path) -> str | None:
    """Load the job of a plist; why not, if it cannot be."""
    try:
        status = path.lstat()
        job = plistlib.loads(path.read_bytes())
        units.check(job)
    except Exception as error:  # plistlib raises whatever the XML parser does
        return str(error)
    if status.st_uid != 0 or status.st_gid != 0 or status.st_mode & 0o022 or path.is_symlink():
        return "not root's, or writable for others"
    label = job["Label"]
    if jobs.overrides().get(label, bool(job.get("Disabled"))):
        return "disabled"
    if jobs.note(label) is not None:
        return "loaded already"
    _clean(label)
    jobs.JOBS.mkdir(parents=True, exist_ok=True)
    note = {"label": label, "path": str(path), "plist": _plain(job), "leaving": False}
    state.write(f"{units.unit_name(label)}.json", note, jobs.JOBS)
    jobs.UNITS.mkdir(parents=True, exist_ok=True)
    names = []
    for name, text in units.units(job, THROTTLE):
        (jobs.UNITS / name).write_text(text, encoding="utf-8")
        names.append(name)
    run(["systemctl", "daemon-reload"])
    start = [n for n in names if not n.endswith(".service") or units.starts_at_load(job)]
    if start:
        run(["systemctl", "start", "--no-block", *start])
    return None


def _plain(job: units.Plist) -> Table:
    """What `print` shows of a plist, as JSON can hold it."""
    shown = ("Program", "ProgramArguments", "EnvironmentVariables", "UserName", "ThrottleInterval")
    return {key: job[key] for key in (*shown, "StandardOutPath", "StandardErrorPath") if key in job}


def _clean(label: str) -> None:
    """Remove what an earlier load of the label left."""
    name = units.unit_name(label)
    found = [jobs.UNITS / f"{name}.{kind}" for kind in ("service", "timer", "path")]
    if any(file.exists() for file in found):
        for file in found:
            file.unlink(missing_ok=True)
        _systemctl("reset-failed", f"{name}.service")
    for kind in ("started", "runs", "exited"):
        (jobs.JOBS / f"{name}.{kind}").unlink(missing_ok=True)


def _bootout(words: Sequence[str]) -> int:
    labels = _labels_of(words)
    if labels is None:
        complain("Usage: launchctl bootout <domain-target> [service-path, ...] | <service-target>")
        return USAGE
    worst = 0
    for label in labels:
        job = jobs.note(label)
        if job is None:
            complain("Boot-out failed: 3: No such process")
            worst = ESRCH
        elif job["leaving"]:
            complain("Boot-out failed: 36: Operation now in progress")
            worst = 36
        else:
            name = units.unit_name(label)
            state.write(f"{name}.json", {**job, "leaving": True}, jobs.JOBS)
            for kind in ("timer", "path"):
                if (jobs.UNITS / f"{name}.{kind}").exists():
                    _systemctl("stop", f"{name}.{kind}")
            _systemctl("stop", "--no-block", f"{name}.service")
    return worst


def _labels_of(words: Sequence[str]) -> list[str] | None:
    if len(words) == 1 and (label := jobs.label_of(words[0])):
        return [label]
    if len(words) < 2 or words[0] != "system":
        return None
    paths = {str(Path(w)) for w in words[1:]}
    found = [
        j["label"]
        for f in jobs.JOBS.glob("*.json")
        if (j := state.read(f.name, jobs.JOBS))["path"] in paths
    ]
    return found or [""]


def _enable(words: Sequence[str], *, disabled: bool = False) -> int:
    label = jobs.label_of(words[0]) if words else None
    if label is None:
        complain("Usage: launchctl enable|disable <service-target>")
        return USAGE
    state.write(jobs.FILE, {"disabled": {**jobs.overrides(), label: disabled}})
    return 0


def _kickstart(words: Sequence[str]) -> int:
    target = next((w for w in words if not w.startswith("-")), "")
    label = jobs.label_of(target)
    if label is None or jobs.note(label) is None:
        complain(f'Could not find service "{label or target}" in domain for system')
        return NOT_FOUND
    kill = any("k" in w for w in words if w.startswith("-"))
    # It starts at once, whenever it was started last.
    (jobs.JOBS / f"{units.unit_name(label)}.started").unlink(missing_ok=True)
    _systemctl("restart" if kill else "start", "--no-block", f"{units.unit_name(label)}.service")
    return 0


def _kill(words: Sequence[str]) -> int:
    label = jobs.label_of(words[1]) if len(words) == 2 else None
    if label is None or jobs.note(label) is None:
        complain(f'Could not find service "{words[-1] if words else ""}" in domain for system')
        return NOT_FOUND
    pid = int(jobs.unit(label).get("MainPID", "0"))
    name = words[0] if words[0].startswith("SIG") else f"SIG{words[0]}"
    number = int(words[0]) if words[0].isdigit() else signal.Signals[name]
    if pid:
        os.kill(pid, number)
    return 0


def _load(words: Sequence[str]) -> int:
    """The old `load [-w] PATH`: its status is always 0."""
    for path in (w for w in words if not w.startswith("-")):
        if "-w" in words:
            job = plistlib.loads(Path(path).read_bytes())
            _enable([f"system/{job['Label']}"])
        if load(Path(path)) is not None:
            complain("Load failed: 5: Input/output error")
            complain("Try running `launchctl bootstrap` as root for richer errors.")
    return 0


def _unload(words: Sequence[str]) -> int:
    """The old `unload [-w] PATH`."""
    for path in (w for w in words if not w.startswith("-")):
        labels = _labels_of(["system", path]) or []
        if _bootout(["system", path]) == 0 and "-w" in words:
            for label in labels:
                _enable([f"system/{label}"], disabled=True)
    return 0


def _systemctl(*words: str) -> None:
    try:
        run(["systemctl", *words])
    except KernelError:
        return


def boot(argv: Sequence[str] = ()) -> int:
    """What launchd does at boot: load every daemon. And what else macOS restores."""
    socketfilterfw.restore()
    with state.locked():
        for path in sorted(DAEMONS.glob("*.plist")):
            load(path)
    return 0


CHANGE = {
    "bootstrap": _bootstrap,
    "bootout": _bootout,
    "enable": _enable,
    "disable": lambda words: _enable(words, disabled=True),
    "kickstart": _kickstart,
    "kill": _kill,
    "load": _load,
    "unload": _unload,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

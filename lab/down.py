"""Take the lab away, whatever state it is in, and leave the machine as it was."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from smolmon.lab import cgroups, machines, place, rootfs
from smolmon.lab.errors import LabError
from smolmon.lab.plan import namespace
from smolmon.lab.wires import NETNS

NSPAWN = Path("/run/systemd/nspawn")
# Folders that ip(8) and systemd-nspawn make on a host that has none yet.
FOREIGN = (
    NETNS,
    NSPAWN.parent,
    NSPAWN,
    NSPAWN / "locks",
    NSPAWN / "propagate",
    NSPAWN / "unix-export",
)
PATIENCE = 5.0  # seconds for the kernel to let go of what was killed


def missing_folders() -> tuple[str, ...]:
    """Those of the host's folders that are not there yet and will be made on the way."""
    return tuple(str(folder) for folder in FOREIGN if not folder.exists())


def down() -> bool:
    """Remove everything the lab made; whether there was anything. Raises LabError."""
    lab = place.find()
    state = None
    if lab is not None:
        with contextlib.suppress(LabError):
            state = lab.state()
    if state is not None and _is_still(state.pid, state.started) and state.pid != os.getpid():
        machines.kill(state.pid)  # `lab up`, still at it
    found = lab is not None or bool(machines.networks()) or bool(cgroups.processes())
    locks = _nspawn_locks(lab) if lab else []
    killed: set[int] = set()
    _wait("processes to end", lambda: _kill_all(killed))
    if lab is not None:
        _unmount(lab.root)
    for name in machines.networks().values():
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    for stale in NETNS.glob(namespace("*")):
        stale.unlink()  # the name of a namespace that is gone
    _wait("control groups to empty", cgroups.clear)
    for lock in locks:
        lock.unlink(missing_ok=True)
    for folder in NSPAWN.glob(f"*/{namespace('*')}"):
        _unmount(folder)  # systemd 257 mounts a tmpfs below unix-export
        shutil.rmtree(folder, ignore_errors=True)
    for made in reversed(state.made if state else ()):
        _remove_empty(Path(made))
    _clear_cache(lab, killed)
    with contextlib.suppress(LabError):  # init may take its time to notice
        _wait("processes to be reaped", lambda: not any(map(_is_there, killed)), patience=2.0)
    return found


def _is_still(pid: int, started: int) -> bool:
    return start_time(pid) == started


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks after boot (proc(5), stat, field 22)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None


def _kill_all(killed: set[int]) -> bool:
    """Kill every process of the lab, and note it in `killed`; whether none was left."""
    known = machines.networks()
    # A machine's first process takes all others of the machine with it.
    doomed = set(machines.leaders().values()) or {
        *cgroups.processes(),
        *(pid for pid in machines.pids() if machines.network_of(pid) in known),
    }
    for pid in doomed - {os.getpid()}:
        machines.kill(pid)
        killed.add(pid)
    return not doomed


def _is_there(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return Path(f"/proc/{pid}").exists()


def _nspawn_locks(lab: place.Lab) -> list[Path]:
    """The files by which systemd-nspawn marks a root folder as in use: `inode-DEVICE:INODE`."""
    found = []
    for root in lab.root.glob("machines/*/root"):
        with contextlib.suppress(OSError):
            status = root.stat()
            found.append(NSPAWN / "locks" / f"inode-{status.st_dev}:{status.st_ino}")
    return found


def _unmount(root: Path) -> None:
    """Unmount what is mounted at `root` and below it."""

    def gone() -> bool:
        below = [where for where, _, _ in place.mounts() if where.is_relative_to(root)]
        for where in reversed(below):
            subprocess.run(["umount", str(where)], capture_output=True, check=False)
        return not below

    try:
        _wait("file systems to be let go", gone, patience=1.0)
    except LabError:
        # Somebody sits in there, in a shell perhaps: it goes when they leave.
        subprocess.run(["umount", "-R", "-l", str(root)], check=False, capture_output=True)


def _remove_empty(folder: Path) -> None:
    """Remove a folder that the lab's tools made, and its mount, if nobody else uses it by now."""
    with contextlib.suppress(OSError):
        if any(folder.iterdir()):
            return
        # ip(8) binds /run/netns to itself, which `Path.is_mount` does not see.
        if any(where == folder for where, _, _ in place.mounts()):
            subprocess.run(["umount", str(folder)], capture_output=True, check=False)
        folder.rmdir()


def _clear_cache(lab: place.Lab | None, killed: set[int]) -> None:
    """Leave nothing in the cache folder but finished root file systems."""
    folders = {place.cache(), lab.root.parent if lab else place.cache()}
    for cache in folders:
        with contextlib.suppress(OSError):
            (cache / "lab").rmdir()
        with contextlib.suppress(LabError, OSError), place.lock(cache):  # else one is being made
            _wait("mmdebstrap to end", partial(rootfs.clear_unfinished, cache, killed))


def _wait(what: str, done: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Try until `done`, every few milliseconds. Raises LabError after `patience` seconds."""
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            raise LabError(f"waited {patience:.0f} s in vain for {what}; try again")
        time.sleep(0.01)

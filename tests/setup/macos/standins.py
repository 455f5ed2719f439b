"""The modelled tools as programs: `python standins.py ROOT TOOL ARGUMENT...`.

ROOT is a folder that stands for the root of a Mac's file system, and keeps its state. launchd's
jobs are real processes.
"""

# ruff: noqa: T201 - printing is what tools do

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

from tests.setup.macos import model

LATE = 0.2  # seconds for which launchd goes on knowing a job that it was told to end


def main(root: Path, tool: str, args: list[str]) -> int:
    """Run one tool; its exit status."""
    if tool == "shasum":
        return shasum(root, args)
    if tool == "sudo":
        return sudo(root, args)
    if tool == "xcode-select":
        return 1
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads((root / "state.json").read_text())
        if tool == "launchctl":
            status, ends = launchctl(root, state, args)
        elif tool == "system_profiler":
            status, ends = 0, None
            print(state["thunderbolt"])
        else:
            status, ends = 0, None
            if tool == "pfctl" and "-f" in args:
                args[-1] = Path(args[-1]).read_text()
            print(model.TOOLS[tool](state, args), end="")
        state["ran"] = [*state.get("ran", []), [tool, *args]]
        (root / "state.new").write_text(json.dumps(state))
        (root / "state.new").rename(root / "state.json")
    sys.stdout.flush()
    if ends:  # which may be the job that asked for it
        os.killpg(ends, signal.SIGKILL)
    return status


def launchctl(root: Path, state: model.State, args: list[str]) -> tuple[int, int | None]:
    """An exit status, and the process group that is to end."""
    word, *rest = args
    if word == "print-disabled":
        print(model.print_disabled(state), end="")
        return 0, None
    label = (rest[-1]).rpartition("/")[2].removesuffix(".plist")
    job = state["jobs"].get(label)
    if job and job.get("ends", sys.maxsize) < time.monotonic():
        job = state["jobs"].pop(label) and None
    if word == "bootstrap":
        if job:
            print("Bootstrap failed: 5: Input/output error", file=sys.stderr)
            return 5, None
        state["jobs"][label] = start(root, Path(rest[1]))
        return 0, None
    if word in ("enable", "disable"):
        state["disabled"] = [x for x in state["disabled"] if x != label]
        state["disabled"] += [label] if word == "disable" else []
        return 0, None
    if job is None:
        print(f'Could not find service "{label}" in domain for system', file=sys.stderr)
        return 113, None
    ends = None
    if word == "print":
        print(model.print_job(state, label), end="")
    elif word == "bootout" and "ends" not in job:
        job["ends"] = time.monotonic() + LATE
        ends = job["pid"]
    elif word == "kickstart" and (rest[0] == "-k" or not alive(job["pid"])):
        ends = job["pid"] if alive(job["pid"]) else None
        state["jobs"][label] = start(root, root / "Library/LaunchDaemons" / f"{label}.plist")
    return 0, ends


def alive(pid: int) -> bool:
    """Whether that process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(root: Path, file: Path) -> model.State:
    """Start the job of a property list, in a session of its own."""
    import plistlib  # noqa: PLC0415 - most tools start without these
    import subprocess  # noqa: PLC0415

    assert not file.stat().st_mode & 0o022, "launchd refuses what others may write"
    words = plistlib.loads(file.read_bytes())["ProgramArguments"]
    process = subprocess.Popen(
        words,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},
        cwd=root,
    )
    return {"pid": process.pid}


def shasum(root: Path, args: list[str]) -> int:
    """`shasum -a 256 FILE...`, of what the files would hold if ROOT were `/`."""
    from hashlib import sha256  # noqa: PLC0415

    assert args[:2] == ["-a", "256"]
    for name in args[2:]:
        try:
            content = Path(name).read_bytes().replace(os.fsencode(root), b"")
        except OSError:
            continue
        print(f"{sha256(content).hexdigest()}  {name}")
    return 0


def sudo(root: Path, args: list[str]) -> int:
    """`sudo -n COMMAND...`, for what the file `sudoers` lists: one pattern a line."""
    assert args[0] == "-n"
    words = [word.replace(str(root), "") for word in args[1:]]
    allowed = (root / "sudoers").read_text().splitlines()
    if not any(fnmatch(" ".join(words), one) for one in allowed):
        print(f"sudo: a password is required: {' '.join(words)}", file=sys.stderr)
        return 1
    os.execvp(args[1], args[1:])  # noqa: S606
    return 127


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))

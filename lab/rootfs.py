"""The file system that all machines of a suite share, made once by mmdebstrap and kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from smolmon.lab import machines, place
from smolmon.lab.errors import LabError

SUITES = ("bookworm", "trixie")
PACKAGES = (
    # the machine itself
    "systemd",
    "systemd-sysv",
    "dbus",
    "network-manager",
    "openssh-server",
    "openssh-client",
    "sudo",
    "python3",
    "procps",
    # the network, and what is needed to look at it and to break it
    "iproute2",
    "iputils-ping",
    "iputils-arping",
    "nftables",
    "tcpdump",
    "iperf3",
    # the controller
    "prometheus",
    "prometheus-alertmanager",
    "curl",
    # smolmon's own packages come from the host, but this one is compiled for one Python
    "python3-cffi-backend",
)
# Nobody reads these here.
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
DEFAULT_MIRROR = "http://deb.debian.org/debian"


def ensure(suite: str, cache: Path, say: Callable[[str], None]) -> Path:
    """The root file system of `suite` in `cache`, made if it is not there. Raises LabError."""
    key = hashlib.sha256("\n".join((suite, *PACKAGES, *EXCLUDED)).encode()).hexdigest()[:12]
    target = cache / "rootfs" / f"{suite}-{key}"
    if target.is_dir():
        return target
    say(f"making the {suite} root file system: once, about half a minute and 600 MB")
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob(f"{suite}-*"):  # other package lists, and what a crash left
        _remove(old)
    making = target.with_name(f"{target.name}.making")
    started = time.monotonic()
    try:
        _mmdebstrap(suite, making)
        making.rename(target)
    except BaseException:
        _remove(making)
        raise
    say(f"{suite} root file system: {time.monotonic() - started:.0f} s, kept in {target}")
    return target


def clear_unfinished(cache: Path, killed: set[int]) -> bool:
    """Remove what an mmdebstrap left whose caller was killed; False as long as it is at work.

    Notes in `killed` whom it had to kill.
    """
    for unfinished in (cache / "rootfs").glob("*.making"):
        left = [pid for pid in machines.pids() if _works_on(pid, unfinished)]
        for pid in left:
            machines.kill(pid)
            killed.add(pid)
        if left:
            return False
        _remove(unfinished)
    return True


def _works_on(pid: int, tree: Path) -> bool:
    """Whether a process is in `tree`, or was told of it on its command line."""
    try:
        told = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        root = str(Path(f"/proc/{pid}/root").readlink())
    except OSError:
        return False
    return str(tree) in told or Path(root).is_relative_to(tree)


def _remove(tree: Path) -> None:
    """Remove a root file system, unless something is still mounted in it."""
    if any(where.is_relative_to(tree) for where, _, _ in place.mounts()):
        raise LabError(f"something is still mounted below {tree}; unmount it first")
    shutil.rmtree(tree, ignore_errors=True)


def _mmdebstrap(suite: str, target: Path) -> None:
    command = [
        # Ends when this process does, whatever ends it.
        "setpriv",
        "--pdeathsig=SIGTERM",
        "mmdebstrap",
        "--variant=apt",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
        suite,
        str(target),
        mirror(_apt_sources()),
    ]
    # Its own session: it must not die half way of a Ctrl-C, since it has file systems mounted;
    # SIGTERM makes it clean up after itself.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said = _follow(process)
        code = process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if code:
        errors = [line for line in said if line.startswith("E:")] or said[-1:] or ["no message"]
        raise LabError(f"mmdebstrap could not make {suite}: {'; '.join(errors[:2])}")


def _follow(process: subprocess.Popen[str]) -> list[str]:
    """Read what mmdebstrap says; on a terminal show where it is, in one line."""
    assert process.stderr is not None  # noqa: S101
    said: list[str] = []
    started = time.monotonic()
    live = sys.stderr.isatty()
    for line in process.stderr:
        said = [*said[-200:], line.strip()]
        if live:
            text = line.strip().removeprefix("I: ")[:68]
            sys.stderr.write(f"\r\033[K{time.monotonic() - started:4.0f} s  {text}")
            sys.stderr.flush()
    if live:
        sys.stderr.write("\r\033[K")
    return said


def mirror(sources: str) -> str:
    """The Debian mirror named in `sources`, the text of apt's source files; else the usual one."""
    lines = [line for line in sources.splitlines() if not line.lstrip().startswith("#")]
    found = re.search(r"(?:^|\s)(https?://\S+/debian)/?(?=\s|$)", "\n".join(lines))
    return found.group(1) if found else DEFAULT_MIRROR


def _apt_sources() -> str:
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    return "\n".join(
        file.read_text(errors="replace")
        for file in files
        if file.suffix in (".list", ".sources") and file.is_file()
    )

"""Boot the machines, find them, run things in them."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from smolmon.cluster.model import Platform
from smolmon.lab import cgroups, mac_nodes, volatile
from smolmon.lab.errors import LabError
from smolmon.lab.files import DISPATCHER, Accounts, File, KeyPair, Keys, for_machine, install
from smolmon.lab.place import Lab
from smolmon.lab.plan import CONTROLLER, Machine, Plan, namespace
from smolmon.lab.wires import NETNS

BOOT_DEADLINE = 60.0  # seconds; the machines need about three
# What systemd, dbus and NetworkManager of one machine use; the host counts them all as root's.
INOTIFY_INSTANCES = 6
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
REBOOT = 133  # systemd-nspawn's exit code with --keep-unit when the machine wants to start again
# The last are Linux tools that a Mac's own users do not find: mac_nodes.py.
PATH = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{mac_nodes.LINUX}"
VOLATILE = "volatile.sh"  # beside the machine's root: lab/volatile.py
NOT_BOOTED = "is not running; `smolmon lab status` shows what is"


def prepare(lab: Lab, plan: Plan, rootfs: Path, extra: Mapping[str, Sequence[File]]) -> None:
    """Mount each machine's own file system over `rootfs`, and write its files into it."""
    for folder in (lab.root / "log", lab.faults()):
        folder.mkdir()
    for machine in plan.machines:
        _overlay(lab, machine.name, rootfs)
    keys = _keys(lab, [m.name for m in plan.machines])
    # What keeps static neighbours is one of its scripts.
    dispatches = any(s.static_neighbors for s in lab.cluster().segments)
    accounts = Accounts(*((rootfs / "etc" / f).read_text() for f in ("passwd", "shadow", "group")))
    for machine in plan.machines:
        root = lab.machine_root(machine.name)
        for old in (root / "etc/ssh").glob("ssh_host_*"):
            old.unlink()
        (root / "etc/NetworkManager/dispatcher.d/01-ifupdown").unlink(missing_ok=True)
        install(root, for_machine(plan, machine, keys, accounts))
        if dispatches:
            (root / "etc/systemd/system" / DISPATCHER).unlink()
        (root.parent / VOLATILE).write_text(volatile.script(plan, machine))
        if machine.platform is Platform.MACOS:
            mac_nodes.furnish(root)
        install(root, extra.get(machine.name, ()))


def _overlay(lab: Lab, name: str, rootfs: Path) -> None:
    base = lab.machine_root(name).parent
    for part in ("root", "upper", "work"):
        (base / part).mkdir(parents=True)
    # Relative to the folder above: the option's text has no way to hold a comma or a colon.
    lower = os.path.relpath(rootfs, base)
    options = f"lowerdir={lower},upperdir=upper,workdir=work"
    command = ["mount", "-t", "overlay", "-o", options, "smolmon-lab-overlay", "root"]
    done = subprocess.run(command, cwd=base, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().partition("\n")[0].rpartition(": ")[2]
        raise LabError(
            f"an overlay over {rootfs} cannot be mounted ({why}); "
            "set SMOLMON_CACHE to a folder on a plain local file system",
            code=2,
        )


def _keys(lab: Lab, names: Sequence[str]) -> Keys:
    """Make every SSH key with the machines' own ssh-keygen: the host may have none."""
    root = lab.machine_root(CONTROLLER)
    folder = root / "root/keys"
    folder.mkdir()
    script = 'cd /root/keys; for n; do ssh-keygen -q -t ed25519 -N "" -C "$n" -f "$n" || exit; done'
    everybody = ["smolmon-lab", *names]
    command = ["chroot", str(root), "/bin/sh", "-c", script, "sh", *everybody]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": PATH})
    if done.returncode:
        raise LabError(f"making SSH keys: {done.stderr.strip()}")
    pairs = {}
    for name in everybody:
        private, public = folder / name, folder / f"{name}.pub"
        pairs[name] = KeyPair(private.read_text(), public.read_text())
        private.unlink()
        public.unlink()
    folder.rmdir()
    return Keys(pairs.pop("smolmon-lab"), pairs)


def boot(lab: Lab, machines: Iterable[Machine], binds: Sequence[str]) -> None:
    """Boot `machines` together; return when each has started everything that it starts at boot.

    `binds` are folders of the host that the controller sees, at their own paths, read-only.
    NetworkManager (Type=dbus) and sshd (Type=notify) count as started when they answer, and
    systemd then tells systemd-nspawn, which tells the lab: nothing is polled.
    """
    waiting: dict[socket.socket, tuple[Machine, subprocess.Popen[bytes]]] = {}
    try:
        for machine in machines:
            listener = listen(machine)
            own = binds if machine.name == CONTROLLER else ()
            waiting[listener] = (machine, _nspawn(lab, machine, own))
        _wait_ready(lab, waiting)
    finally:
        for listener in waiting:
            listener.close()


def listen(machine: Machine) -> socket.socket:
    """A socket to which `machine` says READY=1 (sd_notify(3)) when it has booted."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    listener.bind(_address(machine))
    return listener


def _address(machine: Machine) -> str:
    """Where systemd-nspawn tells the lab: an abstract socket, so that there is no file to leave.

    The same for whoever waits: the one who boots a machine, and later the one who reboots it.
    """
    return f"\0smolmon-lab/{machine.name}"


def _nspawn(lab: Lab, machine: Machine, binds: Sequence[str]) -> subprocess.Popen[bytes]:
    groups = [str(group / "cgroup.procs") for group in cgroups.make(machine.name)]
    join = "".join(f'echo $$ >"{group}"; ' for group in groups)
    command = [
        "systemd-nspawn",
        "--quiet",
        "--directory=root",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--notify-ready=yes",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
        "--capability=CAP_NET_ADMIN,CAP_NET_RAW",
        f"--network-namespace-path={NETNS / machine.namespace}",
        f"--machine={machine.namespace}",
        f"--hostname={machine.name}",
        *(f"--bind-ro={bind}" for bind in binds),
    ]
    with lab.log(machine.name).open("wb") as log:
        return subprocess.Popen(
            # What a kernel forgets at a reboot is forgotten before the machine starts again.
            [
                "sh",
                "-c",
                f'{join}while "$@"; [ $? = {REBOOT} ]; do sh {VOLATILE}; done',
                "sh",
                *command,
            ],
            cwd=lab.machine_root(machine.name).parent,
            env={
                "PATH": os.environ.get("PATH", PATH),
                "NOTIFY_SOCKET": _address(machine).replace("\0", "@"),
                # Otherwise /proc/sys/net is read-only, and with it NetworkManager's work.
                "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_ready(
    lab: Lab, waiting: Mapping[socket.socket, tuple[Machine, subprocess.Popen[bytes]]]
) -> None:
    end = time.monotonic() + BOOT_DEADLINE
    pending = dict(waiting)
    while pending:
        readable, _, _ = select.select(list(pending), [], [], 0.2)
        for listener in readable:
            if b"READY=1" in listener.recv(4096).split(b"\n"):
                del pending[listener]
        for machine, process in pending.values():
            if process.poll() is not None:
                last = _last_line(lab.log(machine.name))
                raise LabError(f"the machine {machine.name} did not boot: {last}")
        if pending and time.monotonic() > end:
            raise _late(lab, [machine.name for machine, _ in pending.values()], len(waiting))


def _late(lab: Lab, names: Sequence[str], count: int) -> LabError:
    limit = int(INOTIFY_LIMIT.read_text())
    message = f"not booted after {BOOT_DEADLINE:.0f} s: {', '.join(names)}"
    if count * INOTIFY_INSTANCES > limit * 0.8:
        return LabError(
            f"{message}; this host allows too few inotify instances ({limit}) for {count} "
            f"machines: sysctl -w fs.inotify.max_user_instances={max(1024, 16 * count)}"
        )
    return LabError(f"{message}; last said: {_last_line(lab.log(names[0]))}")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


# -- finding processes --------------------------------------------------------------------------


def network_of(pid: int) -> tuple[int, int] | None:
    """Which network namespace a process is in; None for one that is gone."""
    try:
        found = Path(f"/proc/{pid}/ns/net").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def networks() -> dict[tuple[int, int], str]:
    """The lab's namespaces: which network namespace has which name."""
    found = {}
    for path in NETNS.glob(namespace("*")):
        try:
            status = path.stat()
        except OSError:
            continue
        found[(status.st_dev, status.st_ino)] = path.name
    return found


def pids() -> list[int]:
    """Every process of this machine."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208


def leaders() -> dict[str, int]:
    """The first process of every machine that runs, by namespace, as the host numbers it."""
    known = networks()
    found: dict[str, tuple[int, int]] = {}
    for pid in pids():
        name = known.get(network_of(pid) or (0, 0))
        depth = _depth_of_first(pid) if name else None
        # A machine may have PID namespaces of its own inside; the outermost is the machine's.
        if name and depth and depth < found.get(name, (depth + 1, 0))[0]:
            found[name] = depth, pid
    return {name: pid for name, (_, pid) in found.items()}


def _depth_of_first(pid: int) -> int | None:
    """How deep a PID namespace is of which this is number 1; None for other processes.

    proc(5): NSpid lists the process's numbers, the innermost namespace last.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    numbers = next((x.split()[1:] for x in status.splitlines() if x.startswith("NSpid:")), [])
    return len(numbers) if len(numbers) > 1 and numbers[-1] == "1" else None


# -- running things in them ---------------------------------------------------------------------


def command_in(name: str, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command line that runs `command` in the machine `name`, as root. Raises LabError."""
    leader = leaders().get(namespace(name))
    if leader is None:
        raise LabError(f"{name} {NOT_BOOTED}")
    settings = {
        "PATH": PATH,
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        **environment,
    }
    assigned = [f"{key}={value}" for key, value in settings.items()]
    clean = ["env", "--ignore-environment", "--chdir=/root", *assigned]
    return ["nsenter", "--all", f"--target={leader}", "--", *clean, *command]


def run_in(
    name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `command` in the machine `name` and keep what it says. Raises LabError if not running."""
    return subprocess.run(
        command_in(name, command, environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def kill(pid: int) -> None:
    """Kill a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

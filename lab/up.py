"""Bring the lab up: file system, wires, machines, `smolmon setup`, monitor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from smolmon.cluster import Cluster
from smolmon.cluster.edit import EditError
from smolmon.lab import controller, forward, mac_nodes, machines, monitor, place, rootfs, wires
from smolmon.lab.down import down, missing_folders, start_time
from smolmon.lab.errors import LabError
from smolmon.lab.own_monitor import with_own_monitor
from smolmon.lab.place import Lab, State
from smolmon.lab.plan import CONTROLLER, Plan, namespace, plan

Say = Callable[[str], None]
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
}


def check_host() -> None:
    """Whether a lab can be made here at all. Raises LabError."""
    check_root()
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        packages = " ".join(TOOLS.values())
        raise LabError(f"{', '.join(absent)} not found; run: apt-get install {packages}", code=2)


def check_free() -> None:
    """Whether no lab is up: its names are fixed, so there is one at a time. Raises LabError."""
    if (other := place.find()) is not None:
        other.state()  # raises where it was left half made
        raise LabError(
            f"the lab is already up ({other.cluster().name}); see `smolmon lab status`, or take "
            "it away with `smolmon lab down`"
        )


def check_root() -> None:
    """Namespaces and machines are for root alone. Raises LabError."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root, for network namespaces and systemd-nspawn", code=2)


def up(
    cluster: Cluster, file: Path, *, suite: str, speed: float, bare: bool, say: Say
) -> dict[str, str]:
    """Bring up the lab for `cluster`, read from `file`; the addresses of its monitor.

    Raises LabError. What cannot be finished is taken down again, except where the machines run
    and only their provisioning failed: then they are left to be looked at.
    """
    check_host()
    wanted = plan(cluster)
    text = _copy(file)
    started = time.monotonic()
    cache = place.cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"the cache folder {cache} cannot be made: {error.strerror}; set SMOLMON_CACHE", code=2
        ) from error
    with place.lock(cache):
        check_free()
        base = rootfs.ensure(suite, cache, say)
        try:
            lab = _mount(cache)
            lab.cluster_file.write_text(text, encoding="utf-8")
            lab.write_state(_state(file, suite, speed, bare))
            addresses = _boot(lab, wanted, base)
        except BaseException:
            down()
            raise
    count = len(cluster.nodes)
    say(f"{count} nodes and the controller booted in {time.monotonic() - started:.1f} s")
    if not bare:
        _provision(lab, cluster, speed, addresses, say)
        say(f"up in {time.monotonic() - started:.1f} s")
    return addresses


def _copy(file: Path) -> str:
    try:
        return with_own_monitor(file.read_text(encoding="utf-8"), str(file))
    except EditError as error:
        raise LabError(str(error), code=2) from error


def _mount(cache: Path) -> Lab:
    root = cache / "lab"
    root.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "mode=0755", place.MOUNT_SOURCE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"a tmpfs cannot be mounted on {root}: {done.stderr.strip()}", code=2)
    return Lab(root)


def _state(file: Path, suite: str, speed: float, bare: bool) -> State:
    return State(
        pid=os.getpid(),
        started=start_time(os.getpid()) or 0,
        file=str(file.absolute()),
        suite=suite,
        speed=speed,
        bare=bare,
        made=missing_folders(),
    )


def _boot(lab: Lab, wanted: Plan, base: Path) -> dict[str, str]:
    """Lay the wires, boot the machines, open the ports of the monitor; its addresses."""
    ports = {"prometheus": controller.PROMETHEUS_PORT, "alertmanager": controller.ALERTMANAGER_PORT}
    listeners = {name: forward.listen(port) for name, port in ports.items()}
    try:
        addresses = {name: forward.url(listener) for name, listener in listeners.items()}
        text = lab.cluster_file.read_text(encoding="utf-8")
        extra = {
            CONTROLLER: controller.extra_files(text, base, addresses),
            **mac_nodes.extra_files(lab.cluster(), wanted),
        }
        machines.prepare(lab, wanted, base, extra)
        wires.lay(wanted)
        folders = controller.binds(controller.source_folders())
        machines.boot(lab, wanted.machines, folders)
        pairs = [(listeners[name], port) for name, port in ports.items()]
        forward.start(lab, wires.NETNS / namespace(CONTROLLER), pairs)
    finally:
        for listener in listeners.values():
            listener.close()
    return addresses


def _provision(
    lab: Lab, cluster: Cluster, speed: float, addresses: dict[str, str], say: Say
) -> None:
    """Start the monitor and set the nodes up; wait until it sees everybody."""
    # In this order, or setup has nobody to tell that nodes without exporters are no fault.
    monitor.start(speed, addresses["alertmanager"])
    code = _setup()
    lab.write_monitor(addresses)
    if code:
        raise LabError(
            f"`smolmon setup` failed (exit {code}); the machines are left running: look with "
            "`smolmon lab exec NODE`, try again with `smolmon lab exec controller -- smolmon "
            "setup`, or `smolmon lab down`"
        )
    say("waiting for the first scrape of every exporter")
    monitor.wait_for_scrapes([n.name for n in cluster.nodes], addresses["prometheus"])


def _setup() -> int:
    """Run the real `smolmon setup` on the controller, over real SSH; its exit code."""
    command = ["smolmon", "setup", "--cluster", controller.CLUSTER_FILE, "--yes"]
    sys.stdout.flush()
    inside = machines.command_in(CONTROLLER, command, {"TERM": os.environ.get("TERM", "dumb")})
    return subprocess.run(inside, check=False).returncode

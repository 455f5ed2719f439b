"""Where the lab lives: the cache folder, and the running lab inside it.

A running lab is a tmpfs, mounted on `lab/` in the cache folder, whose source is called
`smolmon-lab`. It holds everything the machines write and everything the lab must remember, so
that it is found whatever the environment says, and is gone when it is unmounted.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from smolmon.cluster import Cluster, load
from smolmon.lab.errors import LabError
from smolmon.lab.plan import Plan, plan

MOUNT_SOURCE = "smolmon-lab"


def cache() -> Path:
    """`$SMOLMON_CACHE`, else the user's cache folder for smolmon."""
    if own := os.environ.get("SMOLMON_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "smolmon"


@contextmanager
def lock(cache: Path) -> Iterator[None]:
    """Hold the cache folder: whoever makes something in it. Raises LabError if another does."""
    descriptor = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LabError(f"another `smolmon lab up` is at work in {cache}") from error
        yield
    finally:
        os.close(descriptor)


def mounts() -> list[tuple[Path, str, str]]:
    """Every mount that this process sees: where, file system type, source (proc(5), mountinfo)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, source = right.split(" ")[:2]
        where = left.split(" ")[4].encode().decode("unicode_escape")
        found.append((Path(where.encode("latin-1").decode()), kind, source))
    return found


@frozen
class State:
    """What `lab up` wrote down. `made` lists folders outside the cache that were not there."""

    pid: int
    started: int  # the start time of `pid`, in clock ticks after boot: tells a reused pid
    file: str
    suite: str
    speed: float
    bare: bool
    made: tuple[str, ...]


@frozen
class Lab:
    """A running lab, or what is left of one."""

    root: Path

    @property
    def cluster_file(self) -> Path:
        """The lab's own copy of the cluster file."""
        return self.root / "cluster.yaml"

    def cluster(self) -> Cluster:
        """The cluster that is emulated."""
        return load(self.cluster_file)

    def plan(self) -> Plan:
        """The plan that the machines and wires were made from."""
        return plan(self.cluster())

    def machine_root(self, name: str) -> Path:
        """The root file system of the machine `name`, as the host sees it."""
        return self.root / "machines" / name / "root"

    def log(self, name: str) -> Path:
        """What the machine `name` says on its console, or a helper process on its output."""
        return self.root / "log" / f"{name}.log"

    def notifications(self) -> Path:
        """The file in which the sink keeps what it was sent."""
        return self.machine_root("controller") / "var/lib/smolmon/notifications.jsonl"

    def faults(self) -> Path:
        """The folder with one file for each active fault."""
        return self.root / "faults"

    def state(self) -> State:
        """What `lab up` wrote down. Raises LabError where it did not get that far."""
        data = self._read("state.json")
        if data is None:
            raise LabError("the lab was left half made; `smolmon lab down` clears it away")
        return State(**{**data, "made": tuple(data["made"])})

    def write_state(self, state: State) -> None:
        """Write `state` down."""
        (self.root / "state.json").write_text(json.dumps(asdict(state)))

    def monitor(self) -> dict[str, str]:
        """The addresses of the monitor for the host's browser, by name; empty if not started."""
        return self._read("monitor.json") or {}

    def write_monitor(self, addresses: Mapping[str, str]) -> None:
        """Write the addresses of the monitor down."""
        (self.root / "monitor.json").write_text(json.dumps(dict(addresses)))

    # What json gives is what this file wrote.
    def _read(self, name: str) -> Any:  # noqa: ANN401
        try:
            return json.loads((self.root / name).read_text())
        except (OSError, ValueError):
            return None


def find() -> Lab | None:
    """The lab that is mounted on this machine, if there is one."""
    for where, kind, source in mounts():
        if kind == "tmpfs" and source == MOUNT_SOURCE:
            return Lab(where)
    return None


def running() -> Lab:
    """The lab that is up. Raises LabError where there is none."""
    lab = find()
    if lab is None:
        raise LabError("the lab is not up; start it with `smolmon lab up`")
    lab.state()
    return lab

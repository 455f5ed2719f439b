"""A control group for each machine, so that none of its processes can be lost sight of.

systemd-nspawn puts what it runs below the group that it finds itself in; two machines started
from the same one would share it. Both kinds of host are served: control groups of version 2 alone
(every current distribution), and the older mixed form.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

NAME = "smolmon-lab"


def roots() -> list[Path]:
    """The hierarchies in which systemd keeps its groups: version 2, and version 1's own."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(left.split(" ")[4]))
    return found


def make(machine: str) -> list[Path]:
    """Make the groups of `machine`; a process joins one by its number in `cgroup.procs`."""
    groups = [root / NAME / machine for root in roots()]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups


def processes() -> set[int]:
    """Every process in a group of the lab."""
    found: set[int] = set()
    for group in _all():
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    return found


def clear() -> bool:
    """Remove the lab's groups. False as long as one is still in use."""
    for group in _all():
        with contextlib.suppress(OSError):
            group.rmdir()
    return not any((root / NAME).exists() for root in roots())


def _all() -> Iterator[Path]:
    """The lab's groups, those inside others first."""
    for root in roots():
        for folder, _, _ in os.walk(root / NAME, topdown=False):
            yield Path(folder)

"""The command line behind `lab exec`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from smolmon.lab import machines, place
from smolmon.lab.controller import CLUSTER_FILE
from smolmon.lab.errors import unknown
from smolmon.lab.plan import CONTROLLER, INTERNET, namespace
from smolmon.lab.up import check_root
from smolmon.lab.wires import NETNS


def command(node: str, wanted: Sequence[str]) -> list[str]:
    """What to execute to run `wanted`, or a shell, on `node`. Raises LabError."""
    check_root()
    lab = place.running()
    names = [*(n.name for n in lab.cluster().nodes), CONTROLLER, INTERNET]
    if node not in names:
        raise unknown("node", node, names)
    if wanted[:1] == ("--",):
        wanted = wanted[1:]
    run = [*wanted] or ["/bin/bash"]
    if node == INTERNET:  # a router needs no machine: the host's own tools look at it
        return ["nsenter", f"--net={NETNS / namespace(INTERNET)}", "--", *run]
    environment = {"TERM": os.environ.get("TERM", "dumb")}
    if node == CONTROLLER:
        environment["SMOLMON_CLUSTER"] = CLUSTER_FILE
    return machines.command_in(node, run, environment)

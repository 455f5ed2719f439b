"""What a fault is, and how one acts on a node: all that a fault does goes through here.

A node's network belongs to its namespace, which the host's own tools can enter; its programs and
files belong to the machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from smolmon.cluster import Cluster
from smolmon.lab.errors import LabError
from smolmon.lab.machines import run_in
from smolmon.lab.plan import namespace
from smolmon.lab.wires import NETNS

Record = Any  # what a fault needs to heal, as JSON

# What `ip route show` says about a route's present state, and `ip route replace` does not take.
ROUTE_STATE = {"linkdown", "dead", "offload", "trap", "rt_offload", "rt_trap", "notify"}


def itself(cluster: Cluster, node: str) -> str:
    """The node that is hit."""
    return node


def nobody(cluster: Cluster, node: str) -> str:
    """The alert is about the cluster as a whole."""
    return ""


def everybody(cluster: Cluster) -> tuple[str, ...]:
    """All nodes, the last one first."""
    return tuple(n.name for n in reversed(cluster.nodes))


def nobody_else(cluster: Cluster, node: str) -> tuple[str, ...]:
    """No other node sees the same."""
    return ()


@frozen
class Fault:
    """One way to break a node. `cause` is the alert that must name it.

    `named` is the node that this alert is about, "" if it is about the cluster as a whole. `also`
    are others that may see the same, and be named in the same notification.
    """

    name: str
    summary: str
    cause: str
    nodes: Callable[[Cluster], tuple[str, ...]]  # those that it can hit; the first is the default
    look: Callable[[Cluster, str], Record]  # what is there now; raises LabError if not breakable
    harm: Callable[[Cluster, str, Record], None]
    mend: Callable[[Cluster, str, Record], None]
    named: Callable[[Cluster, str], str] = itself
    also: Callable[[Cluster, str], tuple[str, ...]] = nobody_else


def nothing(cluster: Cluster, node: str) -> Record:
    """For faults that heal without knowing what was there before."""
    return None


def in_namespace(node: str, command: Sequence[str], text: str = "") -> str:
    """Run one of the host's tools in the node's network, `text` its input. Raises LabError."""
    entered = ["nsenter", f"--net={NETNS / namespace(node)}", "--", *command]
    done = subprocess.run(entered, input=text, capture_output=True, text=True, check=False)
    return _said(done, command)


def on_machine(node: str, command: Sequence[str]) -> str:
    """Run one of the machine's own tools. Raises LabError."""
    return _said(run_in(node, command), command)


def ip(node: str, *words: str) -> str:
    """Run ip(8) in the node's network. Raises LabError."""
    return in_namespace(node, ["ip", *words])


def routes(node: str, device: str | None = None) -> list[str]:
    """The node's IPv4 routes (by `device`), as `ip route replace` takes them. Raises LabError."""
    lines = ip(node, "-4", "route", "show").splitlines()
    # Asked for the routes of one device, ip(8) would leave its name out.
    return [replayable(x) for x in lines if x.strip() and (not device or f" dev {device} " in x)]


def replayable(line: str) -> str:
    """A line of `ip route show` as `ip route replace` takes it."""
    return " ".join(word for word in line.split() if word not in ROUTE_STATE)


def restore_routes(node: str, lines: Sequence[str]) -> None:
    """Put `lines`, from :func:`routes`, back: those to links first. Raises LabError."""
    for line in sorted(lines, key=lambda line: " via " in line):
        ip(node, "route", "replace", *line.split())


def _said(done: subprocess.CompletedProcess[str], command: Sequence[str]) -> str:
    if done.returncode:
        why = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[0]
        raise LabError(f"{' '.join(command[:6])}: {why}")
    return done.stdout

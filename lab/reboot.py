"""Reboot nodes: their systemd stops and boots again, in the same namespace and on the same disk."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Sequence

from smolmon.lab import machines
from smolmon.lab.errors import LabError, unknown
from smolmon.lab.place import Lab
from smolmon.lab.plan import Machine

DEADLINE = 90.0  # seconds; a node needs about three, or as long as its services take to stop
REBOOT = signal.SIGRTMIN + 5  # systemd(1): starts reboot.target


def reboot(lab: Lab, names: Sequence[str]) -> None:
    """Reboot the nodes `names` together; return when all have booted. Raises LabError.

    As when one types `reboot` there: services are stopped, the disk is kept, `/run` and `/tmp` are
    lost, and so is what the kernel had in memory (addresses, routes, neighbours, sysctls, nft
    rules). The Wi-Fi, which the lab plays, is there again, and every cable stays in its port.
    """
    known = [node.name for node in lab.cluster().nodes]
    for name in names:
        if name not in known:
            raise unknown("node", name, known)
    plan = lab.plan()
    leaders = machines.leaders()
    chosen = [plan.machine(name) for name in dict.fromkeys(names)]
    for machine in chosen:
        if machine.namespace not in leaders:
            raise LabError(f"{machine.name} {machines.NOT_BOOTED}")
    waiting: dict[socket.socket, Machine] = {}
    try:
        for machine in chosen:
            waiting[machines.listen(machine)] = machine
        for machine in chosen:
            os.kill(leaders[machine.namespace], REBOOT)
        _wait(waiting)
    except OSError as error:
        raise LabError(f"another `smolmon lab` command boots these nodes: {error}") from error
    finally:
        for listener in waiting:
            listener.close()


def _wait(waiting: dict[socket.socket, Machine]) -> None:
    """Wait until every machine has said that it is ready."""
    end = time.monotonic() + DEADLINE
    pending = dict(waiting)
    while pending:
        readable, _, _ = select.select(list(pending), [], [], max(0.0, end - time.monotonic()))
        if not readable:
            late = ", ".join(machine.name for machine in pending.values())
            raise LabError(
                f"not booted again after {DEADLINE:.0f} s: {late}; see `smolmon lab status`"
            )
        for listener in readable:
            if b"READY=1" in listener.recv(4096).split(b"\n"):
                del pending[listener]

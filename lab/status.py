"""What the lab is doing now."""

from __future__ import annotations

from typing import Any

from smolmon.lab import faults, machines, monitor
from smolmon.lab.place import Lab
from smolmon.lab.plan import namespace


def status(lab: Lab) -> dict[str, Any]:
    """The lab's state as JSON-able data.

    `nodes`: name, `running` or `down`, namespace, management address, and whether Prometheus
    scrapes the node's exporter (null while the monitor is not started). `monitor`: the addresses
    of its parts by name, empty while it is not started.
    """
    state = lab.state()
    cluster = lab.cluster()
    leaders = machines.leaders()
    addresses = lab.monitor()
    healths = monitor.targets(addresses["prometheus"]) if addresses else None
    return {
        "cluster": cluster.name,
        "file": state.file,
        "suite": state.suite,
        "speed": state.speed,
        "bare": state.bare,
        "nodes": [
            {
                "name": node.name,
                "state": "running" if namespace(node.name) in leaders else "down",
                "namespace": namespace(node.name),
                "management": node.management,
                "scraped": None if healths is None else healths.get(node.name) == "up",
            }
            for node in cluster.nodes
        ],
        "controller": "running" if namespace("controller") in leaders else "down",
        "faults": [{"fault": one.fault, "node": one.node} for one in faults.active(lab)],
        "monitor": addresses,
    }

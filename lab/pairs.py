"""Twenty double faults of the guide: neither hides the other, and there is no third cause."""

from __future__ import annotations

from smolmon.cluster import Cluster
from smolmon.lab import faults

Broken = tuple[tuple[str, str], ...]

# On different nodes, on the same way to the server, or both at once; a fault of the ground (a node,
# a cable, a switch) with one further on.
PAIRS = """
forwarding-off@mini3       default-route-stolen@pi5
forwarding-off@mini3       port-off@pi5
forwarding-off@mini1       address-lost@jetson
forwarding-off@mini3       wifi-out@jetson
return-route-gone@mini1    exporter-dead@mini2
return-route-gone@mini1    mtu-mismatch@pi4
forward-route-gone@pi4     address-lost@jetson
forward-route-gone@pi4     edge-port-off@mini1
forward-route-gone@pi5     node-dead@jetson
forward-route-gone@pi4     exporter-dead@mini3
port-off@pi4               exporter-dead@pi5
node-dead@mini2            port-off@pi5
node-dead@pi4              neighbor-wrong@pi5
cable-pulled@pi5           switch-off@mini3
address-lost@pi5           wifi-out@mini3
neighbor-wrong@pi4         default-route-stolen@pi5
server-elsewhere@mini1     mtu-mismatch@pi5
firewall-drop@mini1        address-taken@jetson
internet-out@mini1         route-overruled@pi4
isolation-broken@pi5       server-exposed@mini1
"""


def doubles(cluster: Cluster) -> list[Broken]:
    """The pairs of :data:`PAIRS` that `cluster` has the nodes for."""
    able = faults.possible(cluster)
    return [pair for pair in map(broken, PAIRS.split("\n")) if pair and able.issuperset(pair)]


def broken(text: str) -> Broken:
    """The faults of a trial, `FAULT@NODE FAULT@NODE`, each as its name and its node."""
    return tuple((name, node) for name, _, node in (one.partition("@") for one in text.split()))

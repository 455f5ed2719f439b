"""What an emulated Mac is made of: `machine.json`, which the stand-ins read. Pure.

Its hardware ports with the services that macOS makes for them, and its Thunderbolt sockets with
the machines at the other ends of their cables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from smolmon.cluster.model import Cabling, Cluster, Kind, Segment
from smolmon.lab.files import File
from smolmon.lab.plan import Machine, Plan

STATE = "/var/lib/smolmon-mac"
MODEL, MODEL_ID = "Mac mini", "Mac16,10"


def description(cluster: Cluster, plan: Plan, machine: Machine) -> dict[str, Any]:
    """`machine.json`: model, hardware ports with their services, Thunderbolt sockets."""
    taken = {machine.wifi} | {
        end.interface for c in plan.cables for end in (c.a, c.b) if end.machine == machine.name
    }
    ports: list[dict[str, Any]] = []
    sockets: list[dict[str, Any]] = []
    usb = 0
    bridges = 0
    for segment in cluster.segments_of(machine.name):
        device = plan.devices[segment.name, machine.name]
        if segment.kind is Kind.THUNDERBOLT:
            bridges += 1
            made = _thunderbolt(plan, segment, machine, taken, len(sockets))
            sockets += made
            members = [
                {k: s[k] for k in ("device", "carrier")}
                | {"port": f"Thunderbolt {s['receptacle']}"}
                for s in made
            ]
            name = _numbered("Thunderbolt Bridge", bridges)
            ports.append(_port(device, name, "thunderbolt") | {"members": members})
        else:
            usb += 1
            name = _numbered("USB 10/100/1000 LAN", usb)
            # A new adapter's service comes first in the order, as macOS puts it.
            ports.insert(usb - 1, _port(device, name, "ethernet"))
    wifi = _port(machine.wifi, "Wi-Fi", "wifi") | {
        "addresses": [str(address) for address in machine.addresses],
        "router": str(machine.gateway),
    }
    ports.insert(usb, wifi)
    return {
        "name": machine.name,
        "model": MODEL,
        "model_id": MODEL_ID,
        "ports": ports,
        "thunderbolt": sockets,
    }


def _port(device: str, name: str, kind: str) -> dict[str, Any]:
    return {"device": device, "port": name, "service": name, "kind": kind}


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} {number}"


def _thunderbolt(
    plan: Plan, segment: Segment, machine: Machine, taken: set[str], used: int
) -> list[dict[str, Any]]:
    """The sockets of `machine` on a fabric: two, or as many as it has cables.

    `carrier` is the device whose link is that of the socket. In the middle of a chain there are
    two, and a bridge that only the lab knows about; at its ends it is the declared one itself.
    """
    device = plan.devices[segment.name, machine.name]
    order = [member.node for member in segment.members]
    place = order.index(machine.name)
    chain = segment.cabling is Cabling.CHAIN or len(order) == 2
    peers: list[str | None] = [None, None]
    carriers: list[str | None] = [device, None]
    if chain and 0 < place < len(order) - 1:
        peers = [order[place - 1], order[place + 1]]
        carriers = list(_cables(plan, machine.name, device))
    elif chain:
        peers = [order[1] if place == 0 else order[place - 1], None]
    found = []
    for number, (peer, carrier) in enumerate(zip(peers, carriers, strict=True), start=used + 1):
        name = next(f"en{i}" for i in range(2, 99) if f"en{i}" not in taken)
        taken.add(name)
        side = "left" if peer and order.index(peer) < place else "right"
        socket: dict[str, Any] = {
            "receptacle": str(number),
            "domain": domain(segment.name, machine.name, side if peer else f"free{number}"),
            "device": name,
            "carrier": carrier,
        }
        if peer:
            other = "right" if side == "left" else "left"
            socket["peer"] = {
                "model": MODEL,
                "model_id": MODEL_ID,
                "domain": domain(segment.name, peer, other),
            }
        found.append(socket)
    return found


def _cables(plan: Plan, node: str, device: str) -> Iterator[str]:
    """The two cables of a node in the middle of a chain, that towards its beginning first."""
    inner = next(
        far.interface
        for cable in plan.cables
        for here, far in ((cable.a, cable.b), (cable.b, cable.a))
        if (here.machine, here.interface) == (node, device)
    )
    switch = next(s for s in plan.switches if s.machine == node and inner in s.ports)
    yield from (port for port in switch.ports if port != inner)


def domain(segment: str, node: str, side: str) -> str:
    """The UUID of one end of a Thunderbolt cable: always the same for the same end."""
    return str(uuid5(NAMESPACE_DNS, f"{side}.{node}.{segment}.lab.invalid")).upper()


def ring(segment: Segment) -> dict[str, list[File]]:
    """One more cable from the last to the first of a chain, on paper only.

    `system_profiler` tells of it on both nodes; the network has none, for it would be a storm.
    Write the files into the nodes to close the ring, remove them to open it.
    """
    first, last = segment.members[0].node, segment.members[-1].node
    ends = {first: domain(segment.name, first, "ring"), last: domain(segment.name, last, "ring")}
    found = {}
    for node, peer in ((first, last), (last, first)):
        socket = {
            "receptacle": "3",
            "domain": ends[node],
            "carrier": None,
            "paper": True,
            "peer": {"model": MODEL, "model_id": MODEL_ID, "domain": ends[peer]},
        }
        found[node] = [File(f"{STATE}/cables.json", json.dumps({"extra": [socket]}))]
    return found

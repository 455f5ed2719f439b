"""Faults of wires that carry packets, but late, slowly, by turns, in circles, or too many."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

from smolmon.cluster import Cluster
from smolmon.lab import machines
from smolmon.lab.errors import LabError
from smolmon.lab.fault import Fault, Record, in_namespace, ip, restore_routes, routes
from smolmon.lab.faults_ports import (
    cable_at,
    device,
    gateways_at_switches,
    home_of,
    join,
    mac_of,
    switch_of,
    workers,
)
from smolmon.lab.plan import INTERNET, namespace, plan
from smolmon.lab.wire import Port, Wire
from smolmon.lab.wires import NETNS

LATE = 0.02  # seconds, each way
SLOW = 100  # Mbit/s
SWAP = "lab-swap"
LOOP = ("loop-a", "loop-b")
# Of a loop, each way: enough to be seen, and no machine suffers.
LOOP_RATE = "512kbit"
# A veth pair calls itself 10 Gbit/s fast; a little is left for the pings.
FLOOD_RATE, FLOOD_SECONDS = "9850mbit", "900"


# -- a wire of another kind ---------------------------------------------------------------------


def _wire(cluster: Cluster, node: str) -> Record:
    """Both ends of the node's wire, and what is configured there."""
    return [
        {
            "machine": end.machine,
            "device": end.interface,
            "mac": mac_of(end),
            "mtu": _word(end.machine, end.interface, "mtu"),
            "master": _word(end.machine, end.interface, "master"),
            "addresses": _addresses(end.machine, end.interface),
            "routes": routes(end.machine, end.interface),
        }
        for end in cable_at(cluster, node, device(cluster, node, home_of(cluster, node)))
    ]


def _word(machine: str, interface: str, key: str) -> str:
    words = ip(machine, "-o", "link", "show", "dev", interface).split()
    return words[words.index(key) + 1] if key in words else ""


def _addresses(machine: str, interface: str) -> list[str]:
    lines = ip(machine, "-o", "-4", "address", "show", "dev", interface).splitlines()
    return [line.split()[3] for line in lines]


def _late(cluster: Cluster, node: str, record: Record) -> None:
    _replace(record, Wire((_port(record[0], 0), _port(record[1], 1)), LATE))


def _slow(cluster: Cluster, node: str, record: Record) -> None:
    _replace(record, Wire((_port(record[0], 0, SLOW), _port(record[1], 1, SLOW))))


def _by_turns(cluster: Cluster, node: str, record: Record) -> None:
    near = Port(record[0]["machine"], f"{SWAP}0", full_duplex=False)
    _replace(record, Wire((near, _port(record[1], 1))))


def _port(end: Record, number: int, speed: int = 10_000) -> Port:
    return Port(end["machine"], f"{SWAP}{number}", speed)


def _replace(record: Record, wire: Wire) -> None:
    """Lay `wire` in place of the cable, and configure its ends as those were."""
    # Not by a shell of the machine: a Mac has no Python of ours at hand, and no tun.
    process = subprocess.Popen(
        [sys.executable, "-m", "smolmon.lab.wire", wire.spec()],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if process.stdout is None or process.stdout.readline() != b"ready\n":
        said = process.communicate()[1].decode(errors="replace").strip().splitlines()
        raise LabError(f"the other wire: {said[-1] if said else 'it ended at once'}")
    near, far = record
    for end, port in ((near, wire.ends[0]), (far, wire.ends[1])):
        ip(end["machine"], "link", "set", "dev", port.name, "address", end["mac"])
        ip(end["machine"], "link", "set", "dev", port.name, "mtu", end["mtu"])
    ip(near["machine"], "link", "delete", "dev", near["device"])  # and the far end with it
    for end, port in ((near, wire.ends[0]), (far, wire.ends[1])):
        lines = [f"link set dev {port.name} name {end['device']}"]
        if end["master"]:
            lines.append(f"link set dev {end['device']} master {end['master']}")
        lines.append(f"link set dev {end['device']} up")
        lines += [f"address add {a} broadcast + dev {end['device']}" for a in end["addresses"]]
        in_namespace(end["machine"], ["ip", "-batch", "-"], "\n".join(lines) + "\n")
    for end in record:
        restore_routes(end["machine"], end["routes"])


def _cable_again(cluster: Cluster, node: str, record: Record) -> None:
    """The cable that was there; NetworkManager configures its ends."""
    for number, end in enumerate(record):
        for name in (end["device"], f"{SWAP}{number}"):
            with suppress(LabError):
                ip(end["machine"], "link", "delete", "dev", name)
    join(*([end["machine"], end["device"], end["mac"]] for end in record))
    for end in record:
        if end["master"]:
            ip(end["machine"], "link", "set", "dev", end["device"], "master", end["master"])
        ip(end["machine"], "link", "set", "dev", end["device"], "up")


# -- no adapter, and a port of the switch that carries nothing ---------------------------------


def _at_switches(cluster: Cluster) -> tuple[str, ...]:
    return tuple(n for n in workers(cluster) if len(home_of(cluster, n).members) > 2)


def _unplug(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "link", "delete", "dev", record[0]["device"])


def _switch_port(cluster: Cluster, node: str) -> Record:
    machine, port = _far_end(cluster, node)
    return {"port": port, "bridge": _word(machine, port, "master")}


def _port_dead(cluster: Cluster, node: str, record: Record) -> None:
    ip(INTERNET, "link", "set", "dev", record["port"], "nomaster")


def _port_alive(cluster: Cluster, node: str, record: Record) -> None:
    ip(INTERNET, "link", "set", "dev", record["port"], "master", record["bridge"])


# -- a wire that is full ------------------------------------------------------------------------


def _far_end(cluster: Cluster, node: str) -> Record:
    _, far = cable_at(cluster, node, device(cluster, node, home_of(cluster, node)))
    return [far.machine, far.interface]


def _flood(cluster: Cluster, node: str, record: Record) -> None:
    machine, interface = record
    limit = ["rate", FLOOD_RATE, "burst", "8mb", "limit", "400kb"]
    in_namespace(machine, ["tc", "qdisc", "replace", "dev", interface, "root", "tbf", *limit])
    command = [sys.executable, "-m", "smolmon.lab.flood", interface, FLOOD_SECONDS]
    subprocess.Popen(
        ["nsenter", f"--net={NETNS / namespace(machine)}", "--", *command],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _dry(cluster: Cluster, node: str, record: Record) -> None:
    machine, interface = record
    for pid in _floods(machine, interface):
        machines.kill(pid)
    with suppress(LabError):
        in_namespace(machine, ["tc", "qdisc", "delete", "dev", interface, "root"])


def _floods(machine: str, interface: str) -> list[int]:
    status = (NETNS / namespace(machine)).stat()
    return [
        pid
        for pid in machines.pids()
        if machines.network_of(pid) == (status.st_dev, status.st_ino)
        and f"smolmon.lab.flood\0{interface}\0" in _command(pid)
    ]


def _command(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:  # noqa: PTH123
        return file.read()
    return ""


# -- a loop -------------------------------------------------------------------------------------


def _switch_bridge(cluster: Cluster, node: str) -> Record:
    switch = switch_of(cluster, node)
    if switch is None:
        raise LabError(f"{node} has no switch")
    _, port = cable_at(cluster, node, device(cluster, node, switch))
    bridge = next(s for s in plan(cluster).switches if port.interface in s.ports)
    member = next(m for m in switch.members if m.node != node)
    return {
        "bridge": bridge.name,
        "node": member.node,
        "device": device(cluster, member.node, switch),
        # Nobody's: what asks for it runs in circles, and is never answered.
        "address": str(switch.subnet[-2]),
    }


def _loop(cluster: Cluster, node: str, record: Record) -> None:
    """Both plugs of one cable in the same switch, and somebody who asks all for an address."""
    a, b = LOOP
    lines = [f"link add name {a} type veth peer name {b}"]
    for name in LOOP:
        lines += [f"link set {name} addrgenmode none", f"link set {name} master {record['bridge']}"]
    in_namespace(INTERNET, ["ip", "-batch", "-"], "\n".join(lines) + "\n")
    for name in LOOP:
        limit = ["rate", LOOP_RATE, "burst", "4kb", "limit", "16kb"]
        in_namespace(INTERNET, ["tc", "qdisc", "replace", "dev", name, "root", "tbf", *limit])
    for name in LOOP:
        ip(INTERNET, "link", "set", "dev", name, "up")
    asked = ["ping", "-q", "-c", "1", "-w", "1", "-I", record["device"], record["address"]]
    with suppress(LabError):  # nobody answers
        in_namespace(record["node"], asked)


def _no_loop(cluster: Cluster, node: str, record: Record) -> None:
    with suppress(LabError):
        ip(INTERNET, "link", "delete", "dev", LOOP[0])


FAULTS = (
    Fault(
        "latency",
        "a worker's wire delays every packet by 20 ms",
        "SmolmonLatencyHigh",
        workers,
        _wire,
        _late,
        _cable_again,
    ),
    Fault(
        "link-slow",
        "a worker's wire has negotiated 100 Mbit/s",
        "SmolmonLinkSpeedLow",
        workers,
        _wire,
        _slow,
        _cable_again,
    ),
    Fault(
        "half-duplex",
        "a worker's port has negotiated half duplex",
        "SmolmonHalfDuplex",
        workers,
        _wire,
        _by_turns,
        _cable_again,
    ),
    Fault(
        "adapter-gone",
        "a worker's network adapter is unplugged from it",
        "SmolmonInterfaceMissing",
        _at_switches,
        _wire,
        _unplug,
        _cable_again,
    ),
    Fault(
        "switch-port-dead",
        "a port of the switch has a carrier, and passes nothing on",
        "SmolmonPeerUnreachable",
        _at_switches,
        _switch_port,
        _port_dead,
        _port_alive,
    ),
    Fault(
        "link-saturated",
        "a worker's wire is full, from the other end towards the worker",
        "SmolmonLinkSaturated",
        workers,
        _far_end,
        _flood,
        _dry,
    ),
    Fault(
        "bridge-loop",
        "a cable joins two ports of the same switch",
        "SmolmonBridgeLoop",
        gateways_at_switches,
        _switch_bridge,
        _loop,
        _no_loop,
    ),
)

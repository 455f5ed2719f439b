"""Faults of cables, ports and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from smolmon.cluster import Cluster, Segment, derive
from smolmon.cluster.model import Cabling
from smolmon.lab.errors import LabError
from smolmon.lab.fault import Fault, Record, ip, on_machine, restore_routes, routes
from smolmon.lab.plan import IFNAME_MAX, INTERNET, End, namespace, plan

CUT = "cut"  # the loose ends of a pulled cable, in the namespace of the router
NO_MAC = "02:00:00:00:de:ad"
SMALL_MTU = 1400


# -- which node, which port ---------------------------------------------------------------------


def _on_cables(cluster: Cluster) -> tuple[str, ...]:
    return tuple(n.name for n in reversed(cluster.nodes) if cluster.segments_of(n.name))


def workers(cluster: Cluster) -> tuple[str, ...]:
    """Those whose own port is that of an edge segment, the last one first."""
    return tuple(
        n.name
        for n in reversed(cluster.nodes)
        if (home := derive.home(cluster, n.name)) and derive.gateway_of(cluster, home.name)
    )


def _edge_of(cluster: Cluster, gateway: str) -> Segment:
    """The first segment that `gateway` is the gateway of."""
    return next(s for s in cluster.routed if derive.gateway_of(cluster, s.name) == gateway)


def home_of(cluster: Cluster, node: str) -> Segment:
    """The segment of `node` that is nearest to the server. Raises LabError for none."""
    home = derive.home(cluster, node)
    if home is None:
        raise LabError(f"{node} has no cable")
    return home


def device(cluster: Cluster, node: str, segment: Segment) -> str:
    """The interface of `node` on `segment`: by name, by MAC address, or by who has the address."""
    member = segment.member(node)
    if member is None:
        raise LabError(f"{node} is not on {segment.name}")
    if member.interface:
        return member.interface
    for cable in plan(cluster).cables:
        for end in (cable.a, cable.b):
            if end.machine == node and end.mac and end.mac == member.mac:
                return end.interface
    for line in ip(node, "-o", "-4", "address").splitlines():
        if f" {member.address}/" in line:
            return line.split()[1]
    raise LabError(f"{node} has no interface on {segment.name} now")


def cable_at(cluster: Cluster, node: str, interface: str) -> tuple[End, End]:
    """The node's end of the cable in that port, and the other."""
    for cable in plan(cluster).cables:
        for near, far in ((cable.a, cable.b), (cable.b, cable.a)):
            if (near.machine, near.interface) == (node, interface):
                return near, far
    raise LabError(f"there is no cable in {interface} of {node}")


# -- a cable is pulled --------------------------------------------------------------------------


def _cable_ends(cluster: Cluster) -> tuple[str, ...]:
    """Those who lose their carrier with one cable: not the middle of a chain."""
    found = []
    for node in (*workers(cluster), *_on_cables(cluster)):
        home = home_of(cluster, node)
        ends = (home.members[0].node, home.members[-1].node)
        if node not in found and (home.cabling is not Cabling.CHAIN or node in ends):
            found.append(node)
    return tuple(found)


def _told_end(cluster: Cluster, node: str) -> str:
    """Of the two nodes on a cable, the one that is farther from the server."""
    home = home_of(cluster, node)
    if len(home.members) == 2 and node == cluster.server.node:
        return next(m.node for m in home.members if m.node != node)
    return node


def _look_at_cable(cluster: Cluster, node: str) -> Record:
    near, far = cable_at(cluster, node, device(cluster, node, home_of(cluster, node)))
    if far.machine == INTERNET or far.interface in plan(cluster).machine(far.machine).lab_devices:
        return {"far": [far.machine, far.interface]}
    return {"ends": [[end.machine, end.interface, mac_of(end)] for end in (near, far)]}


def mac_of(end: End) -> str:
    words = ip(end.machine, "-o", "link", "show", "dev", end.interface).split()
    return words[words.index("link/ether") + 1]


def _pull(cluster: Cluster, node: str, record: Record) -> None:
    if "far" in record:
        machine, interface = record["far"]
        ip(machine, "link", "set", "dev", interface, "down")
        return
    # Of a veth pair neither end loses its carrier while both are switched on. So each gets
    # another pair, whose far end is off.
    near, far = record["ends"]
    ip(near[0], "link", "delete", "dev", near[1])
    for number, end in enumerate((near, far)):
        join(end, [INTERNET, f"{CUT}{number}-{node}"[:IFNAME_MAX], None])
        ip(end[0], "link", "set", "dev", end[1], "up")


def _plug(cluster: Cluster, node: str, record: Record) -> None:
    if "far" in record:
        machine, interface = record["far"]
        ip(machine, "link", "set", "dev", interface, "up")
        return
    for machine, interface, _ in record["ends"]:
        with suppress(LabError):  # where it was not pulled, both go at once
            ip(machine, "link", "delete", "dev", interface)
    join(*record["ends"])
    for machine, interface, _ in record["ends"]:
        ip(machine, "link", "set", "dev", interface, "up")


def join(*ends: Sequence[str | None]) -> None:
    """A cable between two ends: each a machine, an interface and, if it counts, the MAC address."""
    named = [
        [
            *("name", str(interface), *(["address", mac] if mac else [])),
            *("netns", namespace(str(machine))),
        ]
        for machine, interface, mac in ends
    ]
    ip(INTERNET, "link", "add", *named[0], "type", "veth", "peer", *named[1])


# -- a switch without power ---------------------------------------------------------------------


def gateways_at_switches(cluster: Cluster) -> tuple[str, ...]:
    return tuple(node for node in derive.gateways(cluster) if switch_of(cluster, node))


def switch_of(cluster: Cluster, gateway: str) -> Segment | None:
    return next(
        (
            s
            for s in cluster.routed
            if derive.gateway_of(cluster, s.name) == gateway
            and s.cabling is Cabling.STAR
            and len(s.members) > 2
        ),
        None,
    )


def _switch_ports(cluster: Cluster, node: str) -> Record:
    switch = switch_of(cluster, node)
    if switch is None:
        raise LabError(f"{node} has no switch")
    return [
        cable_at(cluster, m.node, device(cluster, m.node, switch))[1].interface
        for m in switch.members
    ]


def _switch_off(cluster: Cluster, node: str, record: Record) -> None:
    for port in record:
        ip(INTERNET, "link", "set", "dev", port, "down")


def _switch_on(cluster: Cluster, node: str, record: Record) -> None:
    for port in record:
        ip(INTERNET, "link", "set", "dev", port, "up")


# -- a port is switched off ---------------------------------------------------------------------


def _port_off(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "link", "set", "dev", record["device"], "down")


def _port_on(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "link", "set", "dev", record["device"], "up")
    # NetworkManager may have taken the address away with the port, and routes are from it.
    _address_back(cluster, node, record)


# -- addresses ----------------------------------------------------------------------------------


def _address(cluster: Cluster, node: str) -> Record:
    return _configured(cluster, node, home_of(cluster, node))


def _edge_address(cluster: Cluster, node: str) -> Record:
    return _configured(cluster, node, _edge_of(cluster, node))


def _configured(cluster: Cluster, node: str, segment: Segment) -> Record:
    """What a node's port on a segment has now, and should have."""
    name = device(cluster, node, segment)
    return {
        "device": name,
        "address": f"{cluster.address(node, segment.name)}/{segment.subnet.prefixlen}",
        "routes": routes(node, name),
    }


def _address_away(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "address", "delete", record["address"], "dev", record["device"])


def _address_back(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "address", "replace", record["address"], "dev", record["device"])
    restore_routes(node, record["routes"])


# -- hardware addresses -------------------------------------------------------------------------


def _neighbour(cluster: Cluster, node: str) -> Record:
    home = home_of(cluster, node)
    gateway = derive.gateway_of(cluster, home.name)
    others = [m.node for m in home.members if m.node != node]
    other = gateway if gateway in others else others[0]
    return {
        "device": device(cluster, node, home),
        "address": str(cluster.address(other, home.name)),
    }


def _neighbour_wrong(cluster: Cluster, node: str, record: Record) -> None:
    where = (record["address"], "lladdr", NO_MAC, "nud", "permanent", "dev", record["device"])
    ip(node, "neighbor", "replace", *where)


def _neighbour_right(cluster: Cluster, node: str, record: Record) -> None:
    with suppress(LabError):  # gone already where it was repaired
        ip(node, "neighbor", "delete", record["address"], "dev", record["device"])


def _thieves(cluster: Cluster) -> tuple[str, ...]:
    """Workers with another worker beside them."""
    return tuple(node for node in workers(cluster) if len(home_of(cluster, node).members) > 2)


def _stolen_address(cluster: Cluster, node: str) -> Record:
    home = home_of(cluster, node)
    gateway = derive.gateway_of(cluster, home.name)
    victim = next(m for m in home.members if m.node not in (node, gateway))
    return {
        "device": device(cluster, node, home),
        "address": f"{victim.address}/{home.subnet.prefixlen}",
        "victim": victim.node,
        "victim_device": device(cluster, victim.node, home),
    }


# As often as its owner speaks, for as long as the address is there, but two minutes at most.
ANNOUNCE = """\
n=0
while [ $n -lt 240 ] && ip -o address show dev "$1" | grep -q " $2/"; do
    arping -q -A -c 1 -w 1 -I "$1" "$2"
    n=$((n + 1))
    sleep 0.3
done
"""


def _steal(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "address", "add", record["address"], "dev", record["device"])
    address = record["address"].partition("/")[0]
    unit = ["systemd-run", "--quiet", "--collect", "sh", "-c", ANNOUNCE, "sh"]
    on_machine(node, [*unit, record["device"], address])


def _give_back(cluster: Cluster, node: str, record: Record) -> None:
    with suppress(LabError):  # gone already where it was repaired
        ip(node, "address", "delete", record["address"], "dev", record["device"])
    address = record["address"].partition("/")[0]
    announce = ["arping", "-q", "-A", "-c", "2", "-w", "2", "-I", record["victim_device"], address]
    on_machine(record["victim"], announce)


# -- packets that are too large -----------------------------------------------------------------


def _mtu(cluster: Cluster, node: str) -> Record:
    home = home_of(cluster, node)
    name = device(cluster, node, home)
    words = ip(node, "-o", "link", "show", "dev", name).split()
    return {
        "device": name,
        "mtu": words[words.index("mtu") + 1],
        "routes": routes(node, name),
    }


def _mtu_small(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "link", "set", "dev", record["device"], "mtu", str(SMALL_MTU))


def _mtu_back(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "link", "set", "dev", record["device"], "mtu", record["mtu"])


FAULTS = (
    Fault(
        "cable-pulled",
        "a cable is out",
        "SmolmonNoCarrier",
        _cable_ends,
        _look_at_cable,
        _pull,
        _plug,
        _told_end,
    ),
    Fault(
        "switch-off",
        "the switch of an edge segment has no power",
        "SmolmonSwitchDown",
        gateways_at_switches,
        _switch_ports,
        _switch_off,
        _switch_on,
    ),
    Fault(
        "port-off",
        "a node has switched off its port towards the server",
        "SmolmonInterfaceDisabled",
        _on_cables,
        _address,
        _port_off,
        _port_on,
    ),
    Fault(
        "edge-port-off",
        "a gateway has switched off its port towards its workers",
        "SmolmonInterfaceDisabled",
        derive.gateways,
        _edge_address,
        _port_off,
        _port_on,
    ),
    Fault(
        "address-lost",
        "a node has lost its address",
        "SmolmonAddressMissing",
        _on_cables,
        _address,
        _address_away,
        _address_back,
    ),
    Fault(
        "neighbor-wrong",
        "a node looks for its gateway, or neighbour, at a wrong MAC address",
        "SmolmonNeighborWrong",
        _on_cables,
        _neighbour,
        _neighbour_wrong,
        _neighbour_right,
    ),
    Fault(
        "address-taken",
        "a worker has taken the address of another",
        "SmolmonDuplicateAddress",
        _thieves,
        _stolen_address,
        _steal,
        _give_back,
    ),
    Fault(
        "mtu-mismatch",
        "a node's largest packet is smaller than that of the others",
        "SmolmonMtuMismatch",
        _on_cables,
        _mtu,
        _mtu_small,
        _mtu_back,
    ),
)

"""From a declared cluster to the machines and wires that emulate it. Pure.

Every node and the controller is a machine in a network namespace of its own, `smolmon-<name>`.
One more namespace, `smolmon-internet`, is the Wi-Fi router, the switches between the nodes and,
beyond them, the address that stands for the internet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from attrs import frozen

from smolmon.cluster.model import Cabling, Cluster, Kind, Member, Node, Platform, Segment
from smolmon.lab.errors import LabError

CONTROLLER = "controller"
INTERNET = "internet"
PREFIX = "smolmon-"
DEFAULT_USER = "smol"
WIFI_BRIDGE = "lan"
# As NetworkManager does for Wi-Fi: a wired default route (metric 100) wins over it.
WIFI_METRIC = 600
IFNAME_MAX = 15


@frozen
class Lan:
    """One subnet on the emulated Wi-Fi, and the router's address in it."""

    subnet: IPv4Network
    router: IPv4Address


@frozen
class Machine:
    """A machine to boot. `lab_devices` are interfaces that its NetworkManager must leave alone."""

    name: str
    platform: Platform
    wifi: str
    addresses: tuple[IPv4Interface, ...]
    gateway: IPv4Address
    user: str
    names: tuple[str, ...]  # the host names by which the controller knows it
    lab_devices: tuple[str, ...]

    @property
    def namespace(self) -> str:
        """The name of its network namespace."""
        return namespace(self.name)


@frozen
class End:
    """One end of a cable: an interface in the namespace of `machine`."""

    machine: str
    interface: str
    mac: str | None = None


@frozen
class Cable:
    """A veth pair."""

    a: End
    b: End


@frozen
class Switch:
    """A bridge in the namespace of `machine`, and its ports."""

    machine: str
    name: str
    ports: tuple[str, ...]


@frozen
class Plan:
    """Everything there is to emulate. `internet` is the address beyond the router, if any."""

    machines: tuple[Machine, ...]  # the nodes in the file's order, then the controller
    lans: tuple[Lan, ...]
    cables: tuple[Cable, ...]
    switches: tuple[Switch, ...]
    internet: IPv4Address | None
    devices: Mapping[tuple[str, str], str]  # of each segment and node, the interface's name

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace, that of the router first."""
        return (namespace(INTERNET), *(m.namespace for m in self.machines))

    def machine(self, name: str) -> Machine:
        """The machine called `name`. Raises KeyError."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise KeyError(name)


def namespace(name: str) -> str:
    """The network namespace of the machine `name`."""
    return PREFIX + name


def plan(cluster: Cluster) -> Plan:
    """What emulates `cluster`. Raises LabError where it cannot be emulated."""
    names = _Names(cluster)
    lans, addresses = _wifi(cluster)
    cables: list[Cable] = []
    switches: list[Switch] = []
    devices: dict[tuple[str, str], str] = {}
    for segment in cluster.routed:
        laid, joined, own = _segment(segment, names)
        devices |= own
        cables += laid
        switches += joined
    everybody = [*(node.name for node in cluster.nodes), CONTROLLER]
    air = [
        Cable(
            End(name, names.wifi(name), names.wifi_mac(name)),
            End(INTERNET, names.port(WIFI_BRIDGE, name)),
        )
        for name in everybody
    ]
    switches.append(Switch(INTERNET, WIFI_BRIDGE, tuple(c.b.interface for c in air)))
    machines = [
        Machine(
            name=name,
            platform=names.platform(name),
            wifi=names.wifi(name),
            addresses=tuple(_within(a, lans) for a in addresses[name]),
            gateway=_lan_of(addresses[name][0], lans).router,
            user=_user(cluster, name),
            names=_host_names(cluster, name),
            lab_devices=names.helpers(name),
        )
        for name in everybody
    ]
    internet = cluster.internet.address if cluster.internet else None
    if internet is not None and internet in {lan.router for lan in lans}:
        internet = None  # the router itself stands for the internet
    return Plan(tuple(machines), lans, (*cables, *air), tuple(switches), internet, devices)


# -- the cluster's own links --------------------------------------------------------------------


def _segment(
    segment: Segment, names: _Names
) -> tuple[list[Cable], list[Switch], dict[tuple[str, str], str]]:
    """The cables and switches of one routed segment, and the name of each member's interface."""
    ends = [End(m.node, names.declared(segment, m), m.mac) for m in segment.members]
    own = {(segment.name, end.machine): end.interface for end in ends}
    if len(ends) == 2:
        return [Cable(ends[0], ends[1])], [], own
    if segment.cabling is Cabling.CHAIN and len(ends) > 2:
        return (*_chain(ends, names), own)
    ports = [End(INTERNET, names.port(segment.name, end.machine)) for end in ends]
    switch = Switch(
        INTERNET, names.port(segment.name, "switch"), tuple(port.interface for port in ports)
    )
    return [Cable(end, port) for end, port in zip(ends, ports, strict=True)], [switch], own


def _chain(ends: list[End], names: _Names) -> tuple[list[Cable], list[Switch]]:
    """A daisy chain: cables between neighbours; the nodes in the middle pass frames on.

    There the declared interface is an ordinary one whose far end is a port of a bridge, beside
    the two cables: so it can be configured like any other, and yet the chain breaks where the
    node breaks.
    """
    cables: list[Cable] = []
    switches: list[Switch] = []
    left = ends[0]
    for end in ends[1:-1]:
        inner, before, after = (
            End(end.machine, names.helper(end.machine, what)) for what in ("in", "a", "b")
        )
        cables += [Cable(left, before), Cable(end, inner)]
        ports = (inner.interface, before.interface, after.interface)
        switches.append(Switch(end.machine, names.helper(end.machine, "br"), ports))
        left = after
    cables.append(Cable(left, ends[-1]))
    return cables, switches


class _Names:
    """Hands out the interface names that the file leaves open, none of them twice."""

    def __init__(self, cluster: Cluster) -> None:
        self._platforms = {n.name: n.platform for n in cluster.nodes}
        self._taken: dict[str, set[str]] = {n.name: {"lo"} for n in cluster.nodes}
        self._taken |= {CONTROLLER: {"lo"}, INTERNET: {"lo", WIFI_BRIDGE}}
        self._helpers: dict[str, list[str]] = {}
        self._wifi: dict[str, tuple[str, str | None]] = {}
        for segment in cluster.segments:
            for member in segment.members:
                if member.interface == "lo":
                    raise LabError(
                        f"segments.{segment.name}.members.{member.node}: lo is the loopback "
                        "interface and can carry no cable",
                        code=2,
                    )
                if member.interface and segment.kind is not Kind.WIFI:
                    self._taken[member.node].add(member.interface)
        for segment in cluster.segments:
            for member in segment.members:
                if segment.kind is Kind.WIFI and (member.interface or member.mac):
                    self._declare_wifi(member)

    def _declare_wifi(self, member: Member) -> None:
        name = member.interface
        if name is None or name in self._taken[member.node]:
            name = self._wifi_name(member.node)
        self._taken[member.node].add(name)
        self._wifi.setdefault(member.node, (name, member.mac))

    def _wifi_name(self, machine: str) -> str:
        # On a Mac mini en0 is the Ethernet port and en1 the Wi-Fi.
        if self.platform(machine) is Platform.MACOS:
            return self._free(machine, "en", start=1)
        return self._free(machine, "wlan")

    def platform(self, machine: str) -> Platform:
        return self._platforms.get(machine, Platform.LINUX)

    def wifi(self, machine: str) -> str:
        if machine not in self._wifi:
            name = self._wifi_name(machine)
            self._taken[machine].add(name)
            self._wifi[machine] = (name, None)
        return self._wifi[machine][0]

    def wifi_mac(self, machine: str) -> str | None:
        return self._wifi[machine][1]

    def declared(self, segment: Segment, member: Member) -> str:
        """The name of a member's port: the file's, else a free ordinary one."""
        if member.interface:
            return member.interface
        if self.platform(member.node) is Platform.MACOS:
            stem, start = "en", 4
        else:
            stem, start = ("thunderbolt" if segment.kind is Kind.THUNDERBOLT else "eth"), 0
        name = self._free(member.node, stem, start)
        self._taken[member.node].add(name)
        return name

    def helper(self, machine: str, what: str) -> str:
        """A device inside a node that only the lab knows about."""
        name = f"lab-{what}"
        if name in self._taken[machine]:
            name = self._free(machine, name, start=2)
        self._taken[machine].add(name)
        self._helpers.setdefault(machine, []).append(name)
        return name

    def helpers(self, machine: str) -> tuple[str, ...]:
        return tuple(self._helpers.get(machine, ()))

    def port(self, link: str, machine: str) -> str:
        """A port of a switch or of the router: `<link>-<machine>`, shortened where it must be."""
        name = f"{link}-{machine}"
        if len(name) > IFNAME_MAX or name in self._taken[INTERNET]:
            name = self._free(INTERNET, f"{link[: IFNAME_MAX - 5]}-", start=1)
        self._taken[INTERNET].add(name)
        return name

    def _free(self, machine: str, stem: str, start: int = 0) -> str:
        number = start
        while f"{stem}{number}" in self._taken[machine]:
            number += 1
        return f"{stem}{number}"


# -- the Wi-Fi ----------------------------------------------------------------------------------


def _wifi(cluster: Cluster) -> tuple[tuple[Lan, ...], dict[str, list[IPv4Address]]]:
    """The subnets of the Wi-Fi, and the addresses of every machine on it."""
    literal = {node.name: list(_literals(cluster, node)) for node in cluster.nodes}
    used = {address for addresses in literal.values() for address in addresses}
    subnets: list[IPv4Network] = []
    for addresses in literal.values():
        for address in addresses:
            if not any(address in subnet for subnet in subnets):
                subnets.append(_lan_around(cluster, address))
    if not subnets:
        subnets.append(_spare_lan(cluster))
    gate = cluster.internet.address if cluster.internet else None
    lans = []
    for subnet in subnets:
        # Who declares the router's address to be the internet has that very router.
        is_gate = gate is not None and gate in subnet and gate not in used
        router = gate if gate and is_gate else _router(subnet, used)
        used.add(router)
        lans.append(Lan(subnet, router))
    everybody = dict(literal)
    for name in (*literal, CONTROLLER):
        if not everybody.get(name):
            free = _free_address(subnets[0], used, first=100)
            used.add(free)
            everybody[name] = [free]
    return tuple(lans), everybody


def _literals(cluster: Cluster, node: Node) -> Iterator[IPv4Address]:
    """The addresses that the file gives `node` outside the routed segments, each once."""
    hosts = [node.management, node.ssh.rpartition("@")[2]]
    hosts += [
        str(member.address)
        for segment in cluster.segments
        if segment.kind is Kind.WIFI and (member := segment.member(node.name))
    ]
    for host in dict.fromkeys(hosts):
        address = _address(host)
        if address is None:
            continue
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            raise LabError(
                f"nodes.{node.name}: {address} cannot be the address of an emulated node; "
                "use one of its own network",
                code=2,
            )
        yield address


def _address(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(host)
    except ValueError:
        return None


def _lan_around(cluster: Cluster, address: IPv4Address) -> IPv4Network:
    """The declared Wi-Fi subnet of `address`, else the widest up to /24 that is free."""
    for segment in cluster.segments:
        if segment.kind is Kind.WIFI and address in segment.subnet:
            return segment.subnet
    for prefix in range(24, 31):
        subnet = IPv4Network((address, prefix), strict=False)
        if not _overlaps(cluster, subnet):
            break
    if address in (subnet.network_address, subnet.broadcast_address) or _overlaps(cluster, subnet):
        raise LabError(f"{address} leaves no room for a Wi-Fi subnet beside the segments", code=2)
    return subnet


def _spare_lan(cluster: Cluster) -> IPv4Network:
    candidates = [f"192.168.{i}.0/24" for i in range(1, 256)]
    candidates += [f"172.31.{i}.0/24" for i in range(256)]
    for text in candidates:
        subnet = IPv4Network(text)
        if not _overlaps(cluster, subnet):
            return subnet
    raise LabError("the segments leave no /24 for the Wi-Fi", code=2)


def _overlaps(cluster: Cluster, subnet: IPv4Network) -> bool:
    return any(segment.subnet.overlaps(subnet) for segment in cluster.segments)


def _router(subnet: IPv4Network, used: Iterable[IPv4Address]) -> IPv4Address:
    """The router's address: the first, else the last, as home routers do; else any that is free."""
    for candidate in (subnet[1], subnet[-2]):
        if candidate not in used:
            return candidate
    return _free_address(subnet, used)


def _free_address(subnet: IPv4Network, used: Iterable[IPv4Address], first: int = 1) -> IPv4Address:
    size = subnet.num_addresses - 2
    for step in range(size):
        candidate = subnet[1 + (first - 1 + step) % size]
        if candidate not in used:
            return candidate
    raise LabError(f"there is no free address left on the Wi-Fi, {subnet}", code=2)


def _lan_of(address: IPv4Address, lans: tuple[Lan, ...]) -> Lan:
    return next(lan for lan in lans if address in lan.subnet)


def _within(address: IPv4Address, lans: tuple[Lan, ...]) -> IPv4Interface:
    return IPv4Interface((address, _lan_of(address, lans).subnet.prefixlen))


# -- who is who ---------------------------------------------------------------------------------


def _user(cluster: Cluster, name: str) -> str:
    if name == CONTROLLER:
        return "root"
    user, _, _ = cluster.node(name).ssh.rpartition("@")
    return user or DEFAULT_USER


def _host_names(cluster: Cluster, name: str) -> tuple[str, ...]:
    """The names under which the cluster file reaches `name`, its own first."""
    if name == CONTROLLER:
        return (CONTROLLER,)
    node = cluster.node(name)
    hosts = (node.management, node.ssh.rpartition("@")[2])
    return tuple(dict.fromkeys([name, *(h for h in hosts if _address(h) is None)]))

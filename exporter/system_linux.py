"""Network state on Linux, from netlink. Of the process's own network namespace, unprivileged."""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

from attrs import evolve

from smolmon.exporter import netlink
from smolmon.exporter.netlink import KernelError, Message, Netlink, attribute, attributes
from smolmon.exporter.system import (
    Connection,
    Counters,
    Firewall,
    Interface,
    KernelRoute,
    Listener,
    Neighbour,
    NeighbourState,
    News,
    NotAvailableError,
    TcpSockets,
    Topic,
    Way,
    Wifi,
)

IP_FREEBIND = 15  # include/uapi/linux/in.h
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
# Of the calling thread's namespace, which /proc/net is not.
PROC_NET = Path("/proc/thread-self/net")

# include/uapi/linux/rtnetlink.h: what the questions and events are about.
NEW_LINK, DEL_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DEL_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DEL_ROUTE, GET_ROUTE = 24, 25, 26
NEW_NEIGHBOUR, DEL_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30
GROUPS = 0x1 | 0x4 | 0x10 | 0x40  # links, neighbours, IPv4 addresses, IPv4 routes

LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
ADDRESS = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags
NEIGHBOUR = struct.Struct("=B3xiHBB")  # family, index, state, flags, type
STATS64 = struct.Struct("=16Q")  # include/uapi/linux/if_link.h: rtnl_link_stats64, its beginning

IFF_UP = 1
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RTNH_F_DEAD, RTNH_F_LINKDOWN = 1, 16
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES)  # none, or forbidden

# include/uapi/linux/neighbour.h; a multicast entry (NUD_NOARP) is no neighbour.
NEIGHBOUR_STATES = {
    0x00: NeighbourState.NONE,
    0x01: NeighbourState.INCOMPLETE,
    0x02: NeighbourState.REACHABLE,
    0x04: NeighbourState.STALE,
    0x08: NeighbourState.STALE,  # delay: about to be asked again
    0x10: NeighbourState.STALE,  # probe: being asked again
    0x20: NeighbourState.FAILED,
    0x80: NeighbourState.PERMANENT,
}

SIOCETHTOOL, ETHTOOL_GSET = 0x8946, 0x1  # include/uapi/linux/ethtool.h
ETHTOOL_CMD = struct.Struct("=III HBBBBBB II HBB III")
SPEED_UNKNOWN, DUPLEX_UNKNOWN = 0xFFFFFFFF, 0xFF

# include/uapi/linux/inet_diag.h
SOCK_DIAG_BY_FAMILY = 20
DIAG_REQUEST = struct.Struct("=BBBxI HH 16s16s I II")
DIAG_ANSWER = struct.Struct("=BBBB 2s2s 16s16s I II")
DIAG_ANSWER_SIZE = 72
DIAG_V6ONLY = 11
ESTABLISHED, LISTEN = 1, 10  # include/net/tcp_states.h


class LinuxSystem:
    """A :class:`~smolmon.exporter.system.System`."""

    def __init__(self) -> None:
        self._route = Netlink(netlink.ROUTE)
        self._diag = Netlink(netlink.SOCK_DIAG)

    def routes(self) -> Sequence[KernelRoute]:
        """The main table. Routes for other types of service than the normal one are left out."""
        question = ROUTE.pack(socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0)
        return list(parse_routes(self._route.dump(GET_ROUTE, question)))

    def way(self, address: IPv4Address) -> Way | None:
        """What `ip route get` says."""
        question = ROUTE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
        try:
            answer = self._route.ask(GET_ROUTE, question + attribute(1, address.packed))
        except KernelError as error:
            if error.errno in NO_WAY:
                return None
            raise
        found = attributes(answer.body, ROUTE.size)
        gateway = found.get(5)
        return Way(_device(found.get(4)), IPv4Address(gateway) if gateway else None)

    def forwarding(self) -> bool:
        """net.ipv4.ip_forward."""
        return IP_FORWARD.read_text(encoding="ascii").strip() == "1"

    def interface(self, mac: str) -> str:
        """The first interface with that address; a bridge may share its port's."""
        links = parse_links(self._route.dump(GET_LINK, bytes(LINK.size)))
        return next((link.name for _, link in links if link.mac == mac), "")

    def interfaces(self) -> Sequence[Interface]:
        """All of them. The speed is that of the driver, which a virtual interface may invent."""
        question = ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
        addresses = parse_addresses(self._route.dump(GET_ADDRESS, question))
        links = parse_links(self._route.dump(GET_LINK, bytes(LINK.size)), addresses)
        return [with_speed(link) for _, link in links]

    def neighbours(self) -> Sequence[Neighbour]:
        """The ARP table."""
        question = NEIGHBOUR.pack(socket.AF_INET, 0, 0, 0, 0)
        return list(parse_neighbours(self._route.dump(GET_NEIGHBOUR, question)))

    def tcp(self, port: int) -> TcpSockets:
        """From the kernel's socket table, which is open to every user."""
        listeners, connections = [], []
        for family in (socket.AF_INET, socket.AF_INET6):
            for local, remote in ((port, 0), (0, port)):
                for message in self._sockets(family, local, remote):
                    found = parse_socket(message)
                    if isinstance(found, Listener):
                        listeners.append(found)
                    else:
                        connections.append(found)
        # Both ends of a connection to oneself on the same port number came twice.
        return TcpSockets(listeners, list(dict.fromkeys(connections)))

    def wifi(self) -> Sequence[Wifi]:
        """From /proc/net/wireless."""
        try:
            text = (PROC_NET / "wireless").read_text(encoding="ascii")
        except FileNotFoundError as error:
            raise NotAvailableError("the kernel has no /proc/net/wireless") from error
        return parse_wireless(text)

    def firewall(self) -> Firewall:
        """The rules are for the administrator's eyes only."""
        raise NotAvailableError("nftables tells unprivileged users nothing")

    def changes(self) -> LinuxChanges:
        """A new subscription."""
        return LinuxChanges()

    def close(self) -> None:
        """Close the netlink sockets."""
        self._route.close()
        self._diag.close()

    def _sockets(self, family: int, local_port: int, remote_port: int) -> list[Message]:
        states = 1 << ESTABLISHED | (1 << LISTEN if local_port else 0)
        question = DIAG_REQUEST.pack(
            *(family, socket.IPPROTO_TCP, 0, states),
            *(socket.htons(local_port), socket.htons(remote_port), b"", b"", 0, 0, 0),
        )
        try:
            return self._diag.dump(SOCK_DIAG_BY_FAMILY, question)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EPROTONOSUPPORT):
                raise NotAvailableError("the kernel was built without sock_diag") from error
            raise


class LinuxChanges:
    """A :class:`~smolmon.exporter.system.Changes`."""

    def __init__(self) -> None:
        self._socket = netlink.subscribe(GROUPS)

    def receive(self) -> News:
        """What has come. After an overflow it is everything."""
        topics: set[Topic] = set()
        lost = False
        for message in netlink.events(self._socket):
            if message is None:
                lost = True
            elif message.kind in TOPICS:
                topics.add(TOPICS[message.kind])
        return News(frozenset(Topic if lost else topics), lost)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


TOPICS = {
    NEW_LINK: Topic.INTERFACES,
    DEL_LINK: Topic.INTERFACES,
    NEW_ADDRESS: Topic.ADDRESSES,
    DEL_ADDRESS: Topic.ADDRESSES,
    NEW_ROUTE: Topic.ROUTES,
    DEL_ROUTE: Topic.ROUTES,
    NEW_NEIGHBOUR: Topic.NEIGHBOURS,
    DEL_NEIGHBOUR: Topic.NEIGHBOURS,
}


def free_bind(listener: socket.socket) -> None:
    """Let `listener` bind to an address that the machine does not have yet."""
    listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def parse_routes(messages: Iterable[Message]) -> Iterator[KernelRoute]:
    """The routes of the main table among RTM_NEWROUTE messages (rtnetlink(7))."""
    for message in messages:
        _, length, _, tos, table, _, _, kind, flags = ROUTE.unpack_from(message.body)
        if table != RT_TABLE_MAIN or tos:
            continue
        found = attributes(message.body, ROUTE.size)
        gateway = found.get(5) if kind == RTN_UNICAST else None
        yield KernelRoute(
            destination=IPv4Network((found.get(1, bytes(4)), length)),
            gateway=IPv4Address(gateway) if gateway else None,
            device=_device(found.get(4)),
            metric=_u32(found.get(6)) or 0,
            dead=bool(flags & RTNH_F_DEAD),
            linkdown=bool(flags & RTNH_F_LINKDOWN),
        )


def parse_addresses(messages: Iterable[Message]) -> dict[int, tuple[IPv4Address, ...]]:
    """The IPv4 addresses of each interface, by its index, from RTM_NEWADDR messages."""
    found: dict[int, tuple[IPv4Address, ...]] = {}
    for message in messages:
        family, _, _, _, index = ADDRESS.unpack_from(message.body)
        values = attributes(message.body, ADDRESS.size)
        local = values.get(2) or values.get(1)  # the other end's, without one's own
        if family == socket.AF_INET and local:
            found[index] = (*found.get(index, ()), IPv4Address(local))
    return found


def parse_links(
    messages: Iterable[Message], addresses: Mapping[int, tuple[IPv4Address, ...]] | None = None
) -> Iterator[tuple[int, Interface]]:
    """The interfaces, with their index, from RTM_NEWLINK messages. `speed` is left out."""
    for message in messages:
        _, _, index, flags, _ = LINK.unpack_from(message.body)
        found = attributes(message.body, LINK.size)
        up = bool(flags & IFF_UP)
        receive, transmit = _counters(found[23]) if 23 in found else (None, None)
        carrier = found.get(33)
        yield (
            index,
            Interface(
                name=found[3].rstrip(b"\0").decode(errors="replace"),
                up=up,
                carrier=carrier != b"\0" if up and carrier else None,
                mac=_mac(found.get(1)),
                addresses=(addresses or {}).get(index, ()),
                mtu=_u32(found.get(4)),
                carrier_changes=_u32(found.get(35)),
                receive=receive,
                transmit=transmit,
            ),
        )


def parse_neighbours(messages: Iterable[Message]) -> Iterator[Neighbour]:
    """The IPv4 neighbours, from RTM_NEWNEIGH messages."""
    for message in messages:
        family, index, state, _, _ = NEIGHBOUR.unpack_from(message.body)
        found = attributes(message.body, NEIGHBOUR.size)
        if family == socket.AF_INET and state in NEIGHBOUR_STATES and 1 in found:
            known = NEIGHBOUR_STATES[state]
            missing = known in (NeighbourState.INCOMPLETE, NeighbourState.FAILED)
            yield Neighbour(
                IPv4Address(found[1]),
                _name(index),
                known,
                "" if missing else _mac(found.get(2)),
            )


def parse_socket(message: Message) -> Listener | Connection:
    """A TCP socket, from an inet_diag_msg."""
    family, state, _, _, sport, dport, source, target, index, _, _ = DIAG_ANSWER.unpack_from(
        message.body
    )
    local = _address(family, source)
    if state == LISTEN:
        # Sent for IPv6 sockets that listen, whoever asks.
        only = attributes(message.body, DIAG_ANSWER_SIZE).get(DIAG_V6ONLY, b"\1")[0]
        ipv4 = local.version == 4 or (int(local) == 0 and not only)
        return Listener(local, _name(index) if index else "", ipv4)
    return Connection(
        local,
        int.from_bytes(sport, "big"),
        _address(family, target),
        int.from_bytes(dport, "big"),
    )


def parse_wireless(text: str) -> list[Wifi]:
    """The interfaces of /proc/net/wireless whose driver gives the signal in dBm.

    Older drivers give a number without a unit, which is positive.
    """
    found = []
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        signal, noise = (float(word.rstrip(".")) for word in rest.split()[2:4])
        if signal < 0:
            # -256: the driver does not know.
            found.append(Wifi(name.strip(), signal, noise if -256 < noise < 0 else None))
    return found


def with_speed(link: Interface) -> Interface:
    """`link`, and what its driver says of speed and duplex; nothing while there is no carrier."""
    if not link.carrier:
        return link
    command = array.array("B", ETHTOOL_CMD.pack(ETHTOOL_GSET, *[0] * 17))
    address, _ = command.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP", link.name.encode(), address))
        except OSError:
            return link  # the loopback interface has no speed, nor has Wi-Fi
    fields = ETHTOOL_CMD.unpack(command)
    low, duplex, high = fields[3], fields[4], fields[12]
    megabits = low | high << 16
    known = megabits not in (0, 0xFFFF, SPEED_UNKNOWN)
    return evolve(
        link,
        speed=megabits * 1e6 / 8 if known else None,
        full_duplex=bool(duplex) if duplex != DUPLEX_UNKNOWN else None,
    )


def _counters(stats: bytes) -> tuple[Counters, Counters]:
    # Received packets for which the interface had no room are drops, as in /proc/net/dev.
    values = STATS64.unpack_from(stats)
    return (
        Counters(values[2], values[0], values[4], values[6] + values[15]),
        Counters(values[3], values[1], values[5], values[7]),
    )


def _address(family: int, packed: bytes) -> IPv4Address | IPv6Address:
    if family == socket.AF_INET:
        return IPv4Address(packed[:4])
    address = IPv6Address(packed)
    return address.ipv4_mapped or address


def _u32(value: bytes | None) -> int | None:
    return int(struct.unpack("=I", value)[0]) if value else None


def _mac(value: bytes | None) -> str:
    return value.hex(":") if value and len(value) == 6 else ""


def _device(value: bytes | None) -> str:
    index = _u32(value)
    return _name(index) if index else ""


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return ""  # gone since the question
        raise

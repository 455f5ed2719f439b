"""Network state on Linux, from netlink. Of the process's own network namespace, unprivileged."""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path

from attrs import evolve
from pyroute2.netlink import rtnl
from pyroute2.netlink.diag import SS_ESTABLISHED, SS_LISTEN

from smolmon.exporter.netlink_linux import Events, KernelError, Message, Questions
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

GROUPS = rtnl.RTMGRP_LINK | rtnl.RTMGRP_NEIGH | rtnl.RTMGRP_IPV4_IFADDR | rtnl.RTMGRP_IPV4_ROUTE
TOPICS = {
    rtnl.RTM_NEWLINK: Topic.INTERFACES,
    rtnl.RTM_DELLINK: Topic.INTERFACES,
    rtnl.RTM_NEWADDR: Topic.ADDRESSES,
    rtnl.RTM_DELADDR: Topic.ADDRESSES,
    rtnl.RTM_NEWROUTE: Topic.ROUTES,
    rtnl.RTM_DELROUTE: Topic.ROUTES,
    rtnl.RTM_NEWNEIGH: Topic.NEIGHBOURS,
    rtnl.RTM_DELNEIGH: Topic.NEIGHBOURS,
}

# include/uapi/linux/rtnetlink.h, if.h
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


class LinuxSystem:
    """A :class:`~smolmon.exporter.system.System`."""

    def __init__(self) -> None:
        self._kernel = Questions()

    def routes(self) -> Sequence[KernelRoute]:
        """The main table. Routes for other types of service than the normal one are left out."""
        table = self._kernel.dump("route", family=socket.AF_INET, table=RT_TABLE_MAIN)
        return list(parse_routes(table))

    def way(self, address: IPv4Address) -> Way | None:
        """What `ip route get` says."""
        try:
            found = self._kernel.way(str(address))
        except KernelError as error:
            if error.errno in NO_WAY:
                return None
            raise
        gateway = found.get_attr("RTA_GATEWAY")
        return Way(_name(found.get_attr("RTA_OIF")), IPv4Address(gateway) if gateway else None)

    def forwarding(self) -> bool:
        """net.ipv4.ip_forward."""
        return IP_FORWARD.read_text(encoding="ascii").strip() == "1"

    def interface(self, mac: str) -> str:
        """The first interface with that address; a bridge may share its port's."""
        links = parse_links(self._kernel.dump("link"))
        return next((link.name for link in links if link.mac == mac), "")

    def interfaces(self) -> Sequence[Interface]:
        """All of them. The speed is that of the driver, which a virtual interface may invent."""
        addresses = parse_addresses(self._kernel.dump("addr", family=socket.AF_INET))
        return [with_speed(link) for link in parse_links(self._kernel.dump("link"), addresses)]

    def neighbours(self) -> Sequence[Neighbour]:
        """The ARP table."""
        return list(parse_neighbours(self._kernel.dump("neigh", family=socket.AF_INET)))

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
        self._kernel.close()

    def _sockets(self, family: int, local_port: int, remote_port: int) -> list[Message]:
        states = 1 << SS_ESTABLISHED | (1 << SS_LISTEN if local_port else 0)
        try:
            return self._kernel.tcp(family, states, local_port, remote_port)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.EPROTONOSUPPORT):
                raise NotAvailableError("the kernel was built without sock_diag") from error
            raise


class LinuxChanges:
    """A :class:`~smolmon.exporter.system.Changes`."""

    def __init__(self) -> None:
        self._events = Events(GROUPS, TOPICS)

    def receive(self) -> News:
        """What has come. After an overflow it is everything."""
        kinds = set(self._events.receive())
        lost = None in kinds
        topics = {TOPICS[kind] for kind in kinds if kind in TOPICS}
        return News(frozenset(Topic if lost else topics), lost)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._events.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._events.close()


def free_bind(listener: socket.socket) -> None:
    """Let `listener` bind to an address that the machine does not have yet."""
    listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def parse_routes(messages: Iterable[Message]) -> Iterator[KernelRoute]:
    """The routes of the main table among RTM_NEWROUTE messages (rtnetlink(7))."""
    for message in messages:
        # A kernel before 4.20 lists every table.
        if message["table"] != RT_TABLE_MAIN or message["tos"]:
            continue
        gateway = message.get_attr("RTA_GATEWAY") if message["type"] == RTN_UNICAST else None
        yield KernelRoute(
            destination=IPv4Network((message.get_attr("RTA_DST") or 0, message["dst_len"])),
            gateway=IPv4Address(gateway) if gateway else None,
            device=_name(message.get_attr("RTA_OIF")),
            metric=message.get_attr("RTA_PRIORITY") or 0,
            dead=bool(message["flags"] & RTNH_F_DEAD),
            linkdown=bool(message["flags"] & RTNH_F_LINKDOWN),
        )


def parse_addresses(messages: Iterable[Message]) -> dict[int, tuple[IPv4Address, ...]]:
    """The IPv4 addresses of each interface, by its index, from RTM_NEWADDR messages."""
    found: dict[int, tuple[IPv4Address, ...]] = {}
    for message in messages:
        index = message["index"]
        # IFA_ADDRESS is the other end's, where there is one's own.
        local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if local:
            found[index] = (*found.get(index, ()), IPv4Address(local))
    return found


def parse_links(
    messages: Iterable[Message], addresses: Mapping[int, tuple[IPv4Address, ...]] | None = None
) -> Iterator[Interface]:
    """The interfaces, from RTM_NEWLINK messages. `speed` is left out."""
    for message in messages:
        up = bool(message["flags"] & IFF_UP)
        carrier = message.get_attr("IFLA_CARRIER")
        stats = message.get_attr("IFLA_STATS64")
        yield Interface(
            name=message.get_attr("IFLA_IFNAME"),
            up=up,
            carrier=bool(carrier) if up and carrier is not None else None,
            mac=_mac(message.get_attr("IFLA_ADDRESS")),
            addresses=(addresses or {}).get(message["index"], ()),
            mtu=message.get_attr("IFLA_MTU"),
            carrier_changes=message.get_attr("IFLA_CARRIER_CHANGES"),
            receive=_received(stats) if stats else None,
            transmit=_sent(stats) if stats else None,
        )


def parse_neighbours(messages: Iterable[Message]) -> Iterator[Neighbour]:
    """The IPv4 neighbours, from RTM_NEWNEIGH messages."""
    for message in messages:
        address = message.get_attr("NDA_DST")
        if message["state"] in NEIGHBOUR_STATES and address:
            known = NEIGHBOUR_STATES[message["state"]]
            missing = known in (NeighbourState.INCOMPLETE, NeighbourState.FAILED)
            yield Neighbour(
                IPv4Address(address),
                _name(message["ifindex"]),
                known,
                "" if missing else _mac(message.get_attr("NDA_LLADDR")),
            )


def parse_socket(message: Message) -> Listener | Connection:
    """A TCP socket, from an inet_diag_msg."""
    local = _address(message["idiag_src"])
    if message["idiag_state"] == SS_LISTEN:
        # Sent for IPv6 sockets that listen, whoever asks.
        only = message.get_attr("INET_DIAG_SKV6ONLY")
        ipv4 = local.version == 4 or (int(local) == 0 and only == 0)
        return Listener(local, _name(message["idiag_if"]), ipv4)
    return Connection(
        local,
        message["idiag_sport"],
        _address(message["idiag_dst"]),
        message["idiag_dport"],
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


def _received(stats: Mapping[str, int]) -> Counters:
    # Received packets for which the interface had no room are drops, as in /proc/net/dev.
    drops = stats["rx_dropped"] + stats["rx_missed_errors"]
    return Counters(stats["rx_bytes"], stats["rx_packets"], stats["rx_errors"], drops)


def _sent(stats: Mapping[str, int]) -> Counters:
    return Counters(stats["tx_bytes"], stats["tx_packets"], stats["tx_errors"], stats["tx_dropped"])


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text)
    return (address.ipv4_mapped if address.version == 6 else None) or address


def _mac(text: str | None) -> str:
    return text if text and len(text) == len("00:00:00:00:00:00") else ""


def _name(index: int | None) -> str:
    """The interface with that index; "" for none."""
    if not index:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return ""  # gone since the question
        raise

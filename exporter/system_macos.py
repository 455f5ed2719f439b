"""Network state on macOS, from what its own tools print. Needs no privilege.

The tools rather than the kernel: since macOS 13 the kernel gives the whole byte counters to Apple's
programs only, and the tools' output is what everybody compares with. No part of this has run on a
Mac: docs/macos.md.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from smolmon.exporter.system import (
    Changes,
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
from smolmon.exporter.tools_macos import Run, run
from smolmon.macos import (
    airport,
    arp,
    ifconfig,
    netstat_interfaces,
    netstat_routes,
    netstat_tcp,
    route_get,
    routing_messages,
    socketfilterfw,
    sysctl,
)
from smolmon.macos.netstat_tcp import Endpoint, TcpSocket, Wildcard
from smolmon.macos.routing_messages import Changed
from smolmon.macos.socketfilterfw import FirewallState

NETSTAT = "/usr/sbin/netstat"
ROUTE = "/sbin/route"
IFCONFIG = "/sbin/ifconfig"
ARP = "/usr/sbin/arp"
SYSCTL = "/usr/sbin/sysctl"
SOCKETFILTERFW = "/usr/libexec/ApplicationFirewall/socketfilterfw"
SYSTEM_PROFILER = "/usr/sbin/system_profiler"

FRESH = 0.5  # seconds for which all the collectors of a scrape share an answer
FIREWALL_FRESH = 60.0
WIFI_FRESH = 300.0  # seconds; system_profiler takes several, and may make Wi-Fi look around
WIFI_TIMEOUT = 60.0

PROBES_IN_VAIN = 5  # after which the kernel gives a neighbour up (xnu, arp_maxtries)
PF_ROUTE = 17  # xnu, bsd/sys/socket.h; Python's socket module leaves it out on some systems
_BUFFER = 1 << 16

Start = Callable[[Callable[[], None]], None]


@frozen
class _Answer:
    """What a tool said, or why it said nothing; `asked` is when it had, `news` how much had been
    heard from the kernel before it was asked."""

    text: str
    error: OSError | None
    asked: float
    news: int


class MacSystem:
    """A :class:`~smolmon.exporter.system.System`. Belongs to one thread, but for `changes`."""

    def __init__(
        self,
        run: Run = run,
        clock: Callable[[], float] = time.monotonic,
        start: Start | None = None,
        routing_socket: Callable[[], socket.socket] | None = None,
    ) -> None:
        self._run = run
        self._clock = clock
        self._start = start or _in_background
        self._routing_socket = routing_socket or _routing_socket
        self._answers: dict[tuple[str, ...], _Answer] = {}
        self._news = 0
        self._wifi: _Answer | None = None
        self._wifi_asking = False

    def routes(self) -> Sequence[KernelRoute]:
        """The routes that every socket uses: those for sockets bound to an interface, and the
        copies that the kernel makes for single hosts, are left out."""
        table = netstat_routes.parse(self._ask(NETSTAT, "-rn", "-f", "inet"))
        if not table:  # there is always one to 127.0.0.1: this is another format
            raise OSError(errno.EPROTO, "netstat: no route can be read")
        inactive = {i.name for i in self._interfaces() if i.active is False}
        return [
            KernelRoute(
                destination=r.destination,
                gateway=None if r.refuses else r.gateway,
                device=r.device,
                dead="U" not in r.flags,
                linkdown=r.device in inactive,
            )
            for r in table
            if not r.scoped and not r.cloned
        ]

    def way(self, address: IPv4Address) -> Way | None:
        """As `route get` has it; None also where packets are refused."""
        found = route_get.parse(self._ask(ROUTE, "-n", "get", str(address)))
        return Way(found.interface, found.gateway) if found and not found.refuses else None

    def forwarding(self) -> bool:
        """net.inet.ip.forwarding."""
        enabled = sysctl.forwarding(self._ask(SYSCTL, sysctl.FORWARDING))
        if enabled is None:
            raise OSError(errno.EPROTO, f"sysctl: {sysctl.FORWARDING} cannot be read")
        return enabled

    def interface(self, mac: str) -> str:
        """The interface with that address; the bridge, where it shares a member's."""
        return next((i.name for i in self._interfaces() if i.mac == mac), "")

    def interfaces(self) -> Sequence[Interface]:
        """All of them, members of bridges last: a bridge has its first member's address.

        The kernel does not say how many received packets it dropped.
        """
        counters = {
            c.name: c for c in netstat_interfaces.parse(self._ask(NETSTAT, "-i", "-b", "-d", "-n"))
        }
        return [_interface(i, counters.get(i.name)) for i in self._interfaces()]

    def neighbours(self) -> Sequence[Neighbour]:
        """The ARP table, without the machine itself, groups and broadcast addresses.

        Where the kernel does not say when a neighbour was last heard, it counts as stale.
        """
        own = {a.ip for i in self._interfaces() for a in i.addresses}
        entries = arp.parse(self._ask(ARP, "-an"))
        heard = {(r.address, r.device): r for r in arp.parse_reachability(self._ask(ARP, "-anl"))}
        return [
            Neighbour(e.address, e.device, _state(e, heard.get((e.address, e.device))), e.mac or "")
            for e in entries
            if e.address not in own and not e.address.is_multicast and e.mac != "ff:ff:ff:ff:ff:ff"
        ]

    def tcp(self, port: int) -> TcpSockets:
        """Of all users, and never shared: whoever asks compares it with what goes on just now.

        Sockets whose address the tool cuts off are left out.
        """
        sockets = netstat_tcp.parse(self._ask(NETSTAT, "-anl", "-p", "tcp", fresh=0))
        if not sockets:  # the exporter's own is always there: this is another format
            raise OSError(errno.EPROTO, "netstat: no TCP socket can be read")
        listeners = [_listener(s) for s in sockets if s.state == "LISTEN" and s.local.port == port]
        connections = [_connection(s) for s in netstat_tcp.established(sockets, port)]
        return TcpSockets([x for x in listeners if x], [x for x in connections if x])

    def wifi(self) -> Sequence[Wifi]:
        """As of the last few minutes: asking takes seconds, and is done on the side."""
        known = self._wifi
        if (known is None or self._clock() - known.asked > WIFI_FRESH) and not self._wifi_asking:
            self._wifi_asking = True
            self._start(self._ask_wifi)
            known = self._wifi
        if known is None:
            raise OSError(errno.EAGAIN, "system_profiler has not answered yet")
        if known.error is not None:
            raise OSError(known.error.errno or errno.EIO, str(known.error.strerror))
        return [
            Wifi(link.device, link.signal, link.noise)
            for link in airport.parse(known.text)
            if link.signal is not None
        ]

    def firewall(self) -> Firewall:
        """As of the last minute. Raises NotAvailableError on Macs that an organisation manages."""

        def ask(question: str) -> str:
            return self._ask(SOCKETFILTERFW, question, fresh=FIREWALL_FRESH)

        state = socketfilterfw.global_state(ask("--getglobalstate"))
        if state is None:
            raise NotAvailableError("the firewall does not say")
        blocks_all = socketfilterfw.block_all(ask("--getblockall"))
        if state is FirewallState.BLOCK_ALL:
            blocks_all = True
        return Firewall(
            enabled=state is not FirewallState.OFF,
            block_all=blocks_all,
            stealth=socketfilterfw.stealth_mode(ask("--getstealthmode")),
        )

    def changes(self) -> Changes:
        """A routing socket, as `route -n monitor` uses one."""
        return RoutingSocket(self._routing_socket(), self._heard)

    def close(self) -> None:
        """Nothing is held open."""

    def _heard(self) -> None:
        self._news += 1  # answers from before are not fresh any more

    def _interfaces(self) -> list[ifconfig.Interface]:
        found = ifconfig.parse(self._ask(IFCONFIG, "-a"))
        if not found:
            raise OSError(errno.EPROTO, "ifconfig: no interface can be read")
        members = {member for i in found for member in i.members}
        return sorted(found, key=lambda i: i.name in members)

    def _ask(self, *argv: str, fresh: float = FRESH) -> str:
        """The tool's answer, a shared one while that is fresh. Raises OSError.

        `fresh` is in seconds. News from the kernel say nothing of what may be older than FRESH.
        """
        known = self._answers.get(argv)
        if (
            known is None
            or self._clock() - known.asked >= fresh
            or (fresh <= FRESH and known.news != self._news)
        ):
            known = self._answers[argv] = self._answer(argv)
        if known.error is not None:
            raise OSError(known.error.errno or errno.EIO, known.error.strerror or str(known.error))
        return known.text

    def _answer(self, argv: Sequence[str], **limits: float) -> _Answer:
        news = self._news
        try:
            text, trouble = self._run(argv, **limits), None
        except OSError as error:
            text, trouble = "", error
        return _Answer(text, trouble, self._clock(), news)

    def _ask_wifi(self) -> None:
        try:
            argv = (SYSTEM_PROFILER, "SPAirPortDataType", "-json")
            self._wifi = self._answer(argv, timeout=WIFI_TIMEOUT)
        finally:
            self._wifi_asking = False


class RoutingSocket:
    """A :class:`~smolmon.exporter.system.Changes`. Calls `heard` whenever there was anything.

    The kernel does not tell when it had to drop messages.
    """

    def __init__(self, sock: socket.socket, heard: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._heard = heard

    def receive(self) -> News:
        """What has come since the last call."""
        changed: set[Changed] = set()
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except BlockingIOError:
                break
            if not data:
                raise OSError(errno.ENOTCONN, "the routing socket is closed")
            changed |= routing_messages.parse(data)
        if changed:
            self._heard()
        return News(frozenset(_TOPICS[c] for c in changed))

    def fileno(self) -> int:
        """The descriptor that becomes readable when something has changed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


_TOPICS = {
    Changed.ROUTE: Topic.ROUTES,
    Changed.NEIGHBOUR: Topic.NEIGHBOURS,
    Changed.ADDRESS: Topic.ADDRESSES,
    Changed.INTERFACE: Topic.INTERFACES,
}


def free_bind(listener: socket.socket) -> None:
    """macOS cannot bind to an address that it does not have: launchd starts the exporter again."""


def _routing_socket() -> socket.socket:
    return socket.socket(PF_ROUTE, socket.SOCK_RAW, socket.AF_UNSPEC)


def no_routing_socket() -> socket.socket:
    """For kernels that have none. Raises OSError; the state is then looked at every few seconds.

    On Linux the number of PF_ROUTE is that of another family, which root could open, and nothing
    would ever be heard.
    """
    raise OSError(errno.EAFNOSUPPORT, "this kernel has no routing socket")


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="system_profiler", daemon=True).start()


def _interface(
    seen: ifconfig.Interface, counters: netstat_interfaces.InterfaceCounters | None
) -> Interface:
    return Interface(
        name=seen.name,
        up=seen.up,
        carrier=seen.active if seen.up else None,
        mac=seen.mac or "",
        addresses=tuple(a.ip for a in seen.addresses),
        mtu=seen.mtu,
        speed=seen.speed / 8 if seen.speed is not None else None,
        full_duplex=seen.full_duplex,
        receive=_counters(
            counters.receive_bytes, counters.receive_packets, counters.receive_errors, None
        )
        if counters
        else None,
        transmit=_counters(
            counters.transmit_bytes,
            counters.transmit_packets,
            counters.transmit_errors,
            counters.transmit_drops,
        )
        if counters
        else None,
    )


def _counters(
    size: int | None, packets: int | None, errors: int | None, drops: int | None
) -> Counters | None:
    if size is None or packets is None or errors is None:
        return None
    return Counters(size, packets, errors, drops)


def _state(entry: arp.ArpEntry, heard: arp.Reachability | None) -> NeighbourState:
    if entry.mac is None:
        in_vain = heard is not None and heard.probes >= PROBES_IN_VAIN
        return NeighbourState.FAILED if in_vain else NeighbourState.INCOMPLETE
    if entry.permanent:
        return NeighbourState.PERMANENT
    recent = heard is not None and heard.recent
    return NeighbourState.REACHABLE if recent else NeighbourState.STALE


def _listener(found: TcpSocket) -> Listener | None:
    address = _address(found.local, found.families)
    if address is None:
        return None
    return Listener(address, ipv4=4 in found.families)


def _connection(found: TcpSocket) -> Connection | None:
    local, remote = (_address(end, found.families) for end in (found.local, found.foreign))
    if local is None or remote is None or found.local.port is None or found.foreign.port is None:
        return None
    return Connection(local, found.local.port, remote, found.foreign.port)


def _address(end: Endpoint, families: frozenset[int]) -> IPv4Address | IPv6Address | None:
    if end.address is Wildcard.ANY:
        return IPv6Address("::") if 6 in families else IPv4Address("0.0.0.0")  # noqa: S104
    if isinstance(end.address, IPv6Address):
        return end.address.ipv4_mapped or end.address
    return end.address

"""The boundary between the checks and the operating system's network state.

Every question raises OSError when it could not be answered this time, and NotAvailableError where
this system (or an unprivileged process on it) never can: the metric is then absent, never 0. Single
facts that are not known are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Protocol

from attrs import frozen


class NotAvailableError(Exception):
    """This operating system does not say."""


@frozen
class KernelRoute:
    """An IPv4 route of the main table.

    `gateway` is None where packets go to the destination itself, nowhere, or several ways. `dead`:
    the kernel does not use it, its interface is down. `linkdown`: it is used, but the interface has
    no carrier.
    """

    destination: IPv4Network
    gateway: IPv4Address | None
    device: str
    metric: int = 0
    dead: bool = False
    linkdown: bool = False


@frozen
class Way:
    """How the kernel would send a packet to some address, all rules and tables considered.

    `gateway` is None where the address is on the device's own subnet.
    """

    device: str
    gateway: IPv4Address | None


@frozen
class Counters:
    """What an interface has received, or sent, since it was made. `drops` None: it does not say."""

    bytes: int
    packets: int
    errors: int
    drops: int | None


@frozen
class Interface:
    """A network interface.

    `up`: switched on. `carrier`: there is somebody at the other end; None while switched off. `mac`
    is in lower case, "" without one. `mtu` is in bytes, `speed` in bytes per second (one way).
    """

    name: str
    up: bool
    carrier: bool | None
    mac: str
    addresses: tuple[IPv4Address, ...] = ()
    mtu: int | None = None
    speed: float | None = None
    full_duplex: bool | None = None
    carrier_changes: int | None = None
    receive: Counters | None = None
    transmit: Counters | None = None


class NeighbourState(str, Enum):
    """What the kernel thinks of a neighbour's hardware address (RFC 4861's words, for ARP too)."""

    REACHABLE = "reachable"
    STALE = "stale"  # known, not confirmed lately; also while it is being asked again
    INCOMPLETE = "incomplete"  # asked for the first time, no answer yet
    FAILED = "failed"  # asked in vain
    PERMANENT = "permanent"  # set by hand
    NONE = "none"  # the kernel has not heard of it


@frozen
class Neighbour:
    """An IPv4 entry of the neighbour (ARP) table. `mac` is "" while none is known."""

    address: IPv4Address
    device: str
    state: NeighbourState
    mac: str = ""


@frozen
class Listener:
    """A TCP socket that listens. `device`: it takes connections from that interface only, "": any.

    The wildcard is 0.0.0.0 or ::; `ipv4` says whether IPv4 clients are taken.
    """

    address: IPv4Address | IPv6Address
    device: str = ""
    ipv4: bool = True


@frozen
class Connection:
    """An established TCP connection. IPv4 addresses stand for IPv4-mapped ones."""

    local: IPv4Address | IPv6Address
    local_port: int
    remote: IPv4Address | IPv6Address
    remote_port: int


@frozen
class TcpSockets:
    """All that has to do with one TCP port, as local or as remote port, of all users."""

    listeners: Sequence[Listener]
    connections: Sequence[Connection]


@frozen
class Wifi:
    """How well a Wi-Fi interface hears its access point: `signal` and `noise` in dBm."""

    device: str
    signal: float
    noise: float | None = None


@frozen
class Firewall:
    """The machine's own firewall. None: it does not say."""

    enabled: bool
    block_all: bool | None = None  # lets nothing in
    stealth: bool | None = None  # does not answer pings


class Topic(str, Enum):
    """What network state is about."""

    INTERFACES = "interfaces"  # switched on or off, carrier, name, MTU
    ADDRESSES = "addresses"
    ROUTES = "routes"
    NEIGHBOURS = "neighbours"


@frozen
class News:
    """What may have changed. `lost`: the kernel dropped events, so that anything may have."""

    topics: frozenset[Topic]
    lost: bool = False


class Changes(Protocol):
    """A subscription to changes of the network's state. Never blocks; lives on the event loop."""

    def receive(self) -> News:
        """What has come since the last call. Raises OSError when it is of no more use."""

    def fileno(self) -> int:
        """The descriptor that becomes readable when something has changed."""

    def close(self) -> None:
        """Give the descriptor back."""


class System(Protocol):
    """What the operating system says of its network. Belongs to one thread."""

    def routes(self) -> Sequence[KernelRoute]:
        """The main table, in the kernel's order."""

    def way(self, address: IPv4Address) -> Way | None:
        """How packets to `address` would leave; None: there is no route."""

    def forwarding(self) -> bool:
        """Whether IPv4 packets are passed on between interfaces."""

    def interface(self, mac: str) -> str:
        """The name of the interface with that hardware address (lower case); "" without one."""

    def interfaces(self) -> Sequence[Interface]:
        """All of them."""

    def neighbours(self) -> Sequence[Neighbour]:
        """The IPv4 neighbour table."""

    def tcp(self, port: int) -> TcpSockets:
        """Who listens on, and is connected to or from, that TCP port."""

    def wifi(self) -> Sequence[Wifi]:
        """The Wi-Fi interfaces that are connected; none is an answer too."""

    def firewall(self) -> Firewall:
        """The state of the machine's firewall."""

    def changes(self) -> Changes:
        """A new subscription. May be called from any thread."""

    def close(self) -> None:
        """Give back what is held open."""

"""The training server's port: who listens on it, who may reach it, who is connected, who can."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from ipaddress import IPv4Address

from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster
from smolmon.exporter.interfaces import names
from smolmon.exporter.system import Connection, Listener, System, TcpSockets
from smolmon.exporter.tcp import EDGES, Outcome, Tally
from smolmon.exporter.vocabulary import Labels, histogram, metric


def serves(listener: Listener, address: IPv4Address) -> bool:
    """Whether connections to `address` reach `listener`."""
    anyone = int(listener.address) == 0
    return listener.ipv4 and (anyone or listener.address == address)


def is_exposed(listener: Listener, address: IPv4Address, device: str) -> bool:
    """Whether `listener` can be reached other than at `address`, from another machine.

    `device` is the interface of that address: a socket bound to it stays on the segment.
    """
    if listener.address.is_loopback or listener.address == address:
        return False
    return not (device and listener.device == device)


def sockets(
    cluster: Cluster, node: str, system: System, own_ports: Callable[[], Collection[int]]
) -> Iterator[Metric]:
    """The training port in this node's socket table. Raises OSError, NotAvailableError.

    `own_ports` are the local ports of our own attempts to connect, which are no training; they are
    asked for after the table was read, so that none is missed.
    """
    port = cluster.server.port
    seen = system.tcp(port)
    ours = own_ports()
    if node == cluster.server.node:
        yield from _listeners(cluster, node, system, seen.listeners)
    connected = established(cluster, node, seen, ours)
    yield metric("smolmon_training_connections", [({"port": str(port)}, len(connected))])


def established(
    cluster: Cluster, node: str, seen: TcpSockets, own_ports: Collection[int]
) -> list[Connection]:
    """The connections of training in this node's table; `own_ports` as for :func:`sockets`."""
    port = cluster.server.port
    if node == cluster.server.node:
        return [c for c in seen.connections if c.local_port == port]
    return [
        c
        for c in seen.connections
        if (c.remote, c.remote_port) == (cluster.server_address, port)
        and c.local_port not in own_ports
    ]


def connects(target: str, link: str, port: int, tally: Tally) -> Iterator[Metric]:
    """What came of the attempts to connect to the server."""
    path = {"target": target, "link": link, "port": str(port)}
    yield metric("smolmon_tcp_connect_attempts_total", [(path, tally.attempts)])
    yield metric(
        "smolmon_tcp_connect_failures_total",
        [({**path, "reason": o.value}, count) for o, count in tally.failures.items()],
    )
    yield histogram(
        "smolmon_tcp_connect_duration_seconds", EDGES, [(path, tally.counts, tally.total)]
    )
    states: list[tuple[Labels, float]] = []
    if tally.state is not None:
        states = [({**path, "state": o.value}, o is tally.state) for o in Outcome]
    yield metric("smolmon_tcp_connect_state", states)


def _listeners(
    cluster: Cluster, node: str, system: System, listeners: Collection[Listener]
) -> Iterator[Metric]:
    port = {"port": str(cluster.server.port)}
    address = cluster.server_address
    device = names(cluster, node, system).get(cluster.server.segment, "")
    yield metric(
        "smolmon_listener_present",
        [({**port, "address": str(address)}, any(serves(each, address) for each in listeners))],
    )
    yield metric(
        "smolmon_listener_bound_info",
        [({**port, "address": a}, 1) for a in sorted({str(each.address) for each in listeners})],
    )
    yield metric(
        "smolmon_listener_exposed",
        [(port, any(is_exposed(each, address, device) for each in listeners))],
    )

"""The interfaces that the cluster file is about: one for each segment, and the management one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address

from attrs import frozen
from prometheus_client.metrics_core import Metric

from smolmon.cluster import Cluster
from smolmon.exporter.system import Interface, System
from smolmon.exporter.vocabulary import Labels, metric

MANAGEMENT = "management"  # the link label of an interface that is on no declared segment


@frozen
class Port:
    """A declared place on a link. `name` is "" while nothing says which interface it is."""

    link: str
    name: str
    address: IPv4Address
    interface: Interface | None


def ports(cluster: Cluster, node: str, seen: Sequence[Interface]) -> list[Port]:
    """The ports of `node`: by the declared name, else by hardware address, else by address."""
    found: list[Port] = []
    for segment in cluster.segments:
        member = segment.member(node)
        if member is None:
            continue
        if member.interface is not None:
            here = next((i for i in seen if i.name == member.interface), None)
        elif member.mac is not None:
            here = next((i for i in seen if i.mac == member.mac), None)
        else:
            here = _holder(member.address, seen)
        name = member.interface or (here.name if here else "")
        found.append(Port(segment.name, name, member.address, here))
    try:
        management = IPv4Address(cluster.node(node).management)
    except AddressValueError:
        return found  # a name: what it stands for is the resolver's business
    if all(port.address != management for port in found):
        here = _holder(management, seen)
        found.append(Port(MANAGEMENT, here.name if here else "", management, here))
    return found


def names(cluster: Cluster, node: str, system: System) -> dict[str, str]:
    """The interface of `node` on each routed segment, by the segment's name; "" where unknown.

    The system is asked only where the file does not say. Raises OSError.
    """
    mine = {s.name: s.member(node) for s in cluster.segments_of(node)}
    declared = {link: member.interface for link, member in mine.items() if member}
    if all(declared.values()):
        return {link: name or "" for link, name in declared.items()}
    return {p.link: p.name for p in ports(cluster, node, system.interfaces()) if p.link in mine}


def collect(cluster: Cluster, node: str, system: System) -> Iterator[Metric]:
    """State and counters of the declared interfaces. Raises OSError."""
    found = ports(cluster, node, system.interfaces())
    yield metric(
        "smolmon_address_present",
        [
            (
                {"link": p.link, "device": p.name, "address": str(p.address)},
                p.interface is not None and p.address in p.interface.addresses,
            )
            for p in found
            if p.link != MANAGEMENT  # it may be that of a router which passes it on
        ],
    )
    named = [(_labels(p), p.interface) for p in found if p.name]
    yield metric("smolmon_network_present", [(labels, bool(i)) for labels, i in named])
    yield metric("smolmon_network_up", [(labels, bool(i and i.carrier)) for labels, i in named])
    rows = [(labels, i) for labels, i in named if i]
    yield metric(
        "smolmon_network_mac_info", [({**labels, "mac": i.mac}, 1) for labels, i in rows if i.mac]
    )
    for name, value in _GAUGES.items():
        known = [(labels, value(i)) for labels, i in rows]
        yield metric(name, [(labels, v) for labels, v in known if v is not None])
    for direction in ("receive", "transmit"):
        counted = [(labels, counters) for labels, i in rows if (counters := getattr(i, direction))]
        for what in ("bytes", "packets", "errors", "drops"):
            yield metric(
                f"smolmon_network_{direction}_{what}_total",
                [
                    (labels, value)
                    for labels, counters in counted
                    if (value := getattr(counters, what)) is not None
                ],
            )


def wifi(system: System) -> Iterator[Metric]:
    """How well the Wi-Fi interfaces hear. Raises OSError, NotAvailableError."""
    seen = system.wifi()
    yield metric("smolmon_wifi_signal_dbm", [({"device": w.device}, w.signal) for w in seen])
    yield metric(
        "smolmon_wifi_noise_dbm",
        [({"device": w.device}, w.noise) for w in seen if w.noise is not None],
    )


_GAUGES: dict[str, Callable[[Interface], float | None]] = {
    "smolmon_network_enabled": lambda i: i.up,
    "smolmon_network_mtu_bytes": lambda i: i.mtu,
    "smolmon_network_speed_bytes": lambda i: i.speed,
    "smolmon_network_full_duplex": lambda i: i.full_duplex,
    "smolmon_network_carrier_changes_total": lambda i: i.carrier_changes,
}


def _holder(address: IPv4Address, seen: Sequence[Interface]) -> Interface | None:
    return next((i for i in seen if address in i.addresses), None)


def _labels(port: Port) -> Labels:
    return {"link": port.link, "device": port.name}

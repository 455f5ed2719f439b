"""Faults of whole nodes, of their exporters, and of what they reach by Wi-Fi."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from ipaddress import IPv4Address

from smolmon.cluster import Cluster, Platform, derive
from smolmon.lab import machines
from smolmon.lab.errors import LabError
from smolmon.lab.fault import (
    Fault,
    Record,
    everybody,
    in_namespace,
    ip,
    nobody,
    nothing,
    on_machine,
    restore_routes,
    routes,
)
from smolmon.lab.faults_ports import device, home_of
from smolmon.lab.mac.units import unit_name
from smolmon.lab.plan import INTERNET, WIFI_BRIDGE, namespace, plan
from smolmon.lab.wires import NETNS

EXPORTER, MAC_EXPORTER = "smolmon-exporter", "dev.smolmon.exporter"
TABLE = "fault_internet"


def _server(cluster: Cluster) -> tuple[str, ...]:
    """For faults that are nobody's in particular."""
    return (cluster.server.node,)


# -- a node without power -----------------------------------------------------------------------


def _interfaces(cluster: Cluster, node: str) -> Record:
    """Every port that is on, and the routes, which go with the ports."""
    up = [
        line.split()[1].rstrip(":").partition("@")[0]
        for line in ip(node, "-o", "link", "show", "up").splitlines()
    ]
    return {"up": [name for name in up if name != "lo"], "routes": routes(node)}


def _power_off(cluster: Cluster, node: str, record: Record) -> None:
    """Everything stands still, and every cable goes dead, as seen from outside."""
    for pid in _processes(node):
        os.kill(pid, signal.SIGSTOP)
    for name in record["up"]:
        ip(node, "link", "set", "dev", name, "down")


def _power_on(cluster: Cluster, node: str, record: Record) -> None:
    for name in record["up"]:
        ip(node, "link", "set", "dev", name, "up")
    for pid in _processes(node):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    restore_routes(node, record["routes"])


def _processes(node: str) -> list[int]:
    status = (NETNS / namespace(node)).stat()
    mine = (status.st_dev, status.st_ino)
    found = [pid for pid in machines.pids() if machines.network_of(pid) == mine]
    if not found:
        raise LabError(f"{node} {machines.NOT_BOOTED}")
    return found


# -- the exporter -------------------------------------------------------------------------------


def _exporter(cluster: Cluster, node: str) -> str:
    """Its unit; a Mac's job is one, too, and is still loaded once it has been stopped this way."""
    is_mac = cluster.node(node).platform is Platform.MACOS
    return unit_name(MAC_EXPORTER) if is_mac else EXPORTER


def _stop_exporter(cluster: Cluster, node: str, record: Record) -> None:
    on_machine(node, ["systemctl", "stop", _exporter(cluster, node)])


def _start_exporter(cluster: Cluster, node: str, record: Record) -> None:
    on_machine(node, ["systemctl", "start", _exporter(cluster, node)])


# -- Wi-Fi and internet -------------------------------------------------------------------------


def _air(cluster: Cluster, node: str) -> Record:
    wanted = plan(cluster)
    wifi = wanted.machine(node).wifi
    for cable in wanted.cables:
        for near, far in ((cable.a, cable.b), (cable.b, cable.a)):
            if (near.machine, near.interface) == (node, wifi):
                return far.interface
    raise LabError(f"{node} has no Wi-Fi")


def _wifi_off(cluster: Cluster, node: str, record: Record) -> None:
    ip(INTERNET, "link", "set", "dev", record or WIFI_BRIDGE, "down")


def _wifi_on(cluster: Cluster, node: str, record: Record) -> None:
    ip(INTERNET, "link", "set", "dev", record or WIFI_BRIDGE, "up")


def _with_internet(cluster: Cluster) -> tuple[str, ...]:
    return _server(cluster) if cluster.internet and len(cluster.nodes) > 1 else ()


def _internet_off(cluster: Cluster, node: str, record: Record) -> None:
    _drop(cluster, TABLE, "icmp type echo-request", "input")


def _internet_on(cluster: Cluster, node: str, record: Record) -> None:
    _pass(TABLE)


def _drop(cluster: Cluster, table: str, match: str, *hooks: str) -> None:
    """Drop at the router what matches and goes to the internet's address."""
    _pass(table)
    address = cluster.internet.address if cluster.internet else ""
    rules = [f"add table inet {table}"]
    for hook in hooks:
        rules += [
            f"add chain inet {table} {hook} {{ type filter hook {hook} priority -10; }}",
            f"add rule inet {table} {hook} ip daddr {address} {match} drop",
        ]
    in_namespace(INTERNET, ["nft", "\n".join(rules)])


def _pass(table: str) -> None:
    in_namespace(INTERNET, ["nft", f"add table inet {table}\ndelete table inet {table}"])


def _online(cluster: Cluster) -> tuple[str, ...]:
    return everybody(cluster) if cluster.internet and len(cluster.nodes) > 1 else ()


def _block(cluster: Cluster, node: str, record: Record) -> None:
    """Drop at the router what this node asks of the internet."""
    sources = ", ".join(str(a.ip) for a in plan(cluster).machine(node).addresses)
    # Both hooks: the router may itself stand for the internet.
    _drop(cluster, _own_table(node), f"ip saddr {{ {sources} }}", "input", "forward")


def _unblock(cluster: Cluster, node: str, record: Record) -> None:
    _pass(_own_table(node))


def _own_table(node: str) -> str:
    return f"{TABLE}_{node.replace('-', '_')}"


def _defaults(cluster: Cluster, node: str) -> Record:
    found = [line for line in routes(node) if line.startswith("default ")]
    if not found:
        raise LabError(f"{node} has no default route now")
    return found


def _no_default(cluster: Cluster, node: str, record: Record) -> None:
    for route in record:
        ip(node, "route", "delete", *route.split())


def _defaults_back(cluster: Cluster, node: str, record: Record) -> None:
    restore_routes(node, record)


def _behind_gateways(cluster: Cluster) -> tuple[str, ...]:
    return tuple(n for n in everybody(cluster) if _gateway(cluster, n))


def _gateway(cluster: Cluster, node: str) -> IPv4Address | None:
    home = derive.home(cluster, node)
    gateway = derive.gateway_of(cluster, home.name) if home else None
    return cluster.address(gateway, home.name) if home and gateway else None


def _default_route(cluster: Cluster, node: str) -> Record:
    home = home_of(cluster, node)
    # As NetworkManager would set it where `never-default` is forgotten: it wins over Wi-Fi's.
    return f"default via {_gateway(cluster, node)} dev {device(cluster, node, home)} metric 100"


def _steal_default(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "route", "add", *record.split())


def _default_back(cluster: Cluster, node: str, record: Record) -> None:
    with suppress(LabError):  # gone already where it was repaired
        ip(node, "route", "delete", *record.split())


FAULTS = (
    Fault(
        "node-dead",
        "a node has no power",
        "SmolmonNodeDown",
        everybody,
        _interfaces,
        _power_off,
        _power_on,
    ),
    Fault(
        "exporter-dead",
        "the exporter of a node does not run",
        "SmolmonExporterDown",
        everybody,
        nothing,
        _stop_exporter,
        _start_exporter,
    ),
    Fault(
        "wifi-out",
        "a node has lost its Wi-Fi",
        "SmolmonManagementUnreachable",
        everybody,
        _air,
        _wifi_off,
        _wifi_on,
    ),
    Fault(
        "wifi-out-everywhere",
        "the Wi-Fi access point is off",
        "SmolmonMonitorCutOff",
        _server,
        nothing,
        _wifi_off,
        _wifi_on,
        nobody,
    ),
    Fault(
        "internet-out",
        "nobody reaches the internet",
        "SmolmonInternetDown",
        _with_internet,
        nothing,
        _internet_off,
        _internet_on,
        nobody,
    ),
    Fault(
        "internet-blocked",
        "a node does not reach the internet, though its way there is in order",
        "SmolmonInternetUnreachable",
        _online,
        nothing,
        _block,
        _unblock,
    ),
    Fault(
        "default-route-gone",
        "a node has lost its default route",
        "SmolmonDefaultRouteMissing",
        _online,
        _defaults,
        _no_default,
        _defaults_back,
    ),
    Fault(
        "default-route-stolen",
        "a worker's default route leaves by its cable",
        "SmolmonDefaultRouteStolen",
        _behind_gateways,
        _default_route,
        _steal_default,
        _default_back,
    ),
)

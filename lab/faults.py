"""Ways to break the emulated cluster, and to mend it exactly as it was.

One table, :data:`FAULTS`. To add a fault, write what it can hit, how it breaks (which gives a
record of what was there before) and how it heals (which gets that record back), and add a line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

from attrs import asdict, frozen

from smolmon.cluster import Cluster, derive
from smolmon.cluster.derive import Purpose
from smolmon.lab import faults_files, faults_nodes, faults_ports, faults_traffic, faults_wires
from smolmon.lab.errors import LabError, unknown
from smolmon.lab.fault import Fault, Record, in_namespace, nothing, on_machine, replayable
from smolmon.lab.place import Lab


@frozen
class Active:
    """A fault that `lab break` injected and `lab heal` has not taken back."""

    fault: str
    node: str
    record: Record


# -- forwarding ---------------------------------------------------------------------------------

FORWARDING = "/proc/sys/net/ipv4/ip_forward"


def _forwarding(cluster: Cluster, node: str) -> Record:
    return in_namespace(node, ["cat", FORWARDING]).strip()


def _forwarding_off(cluster: Cluster, node: str, record: Record) -> None:
    _forwarding_back(cluster, node, "0")


def _forwarding_back(cluster: Cluster, node: str, record: Record) -> None:
    in_namespace(node, ["sh", "-c", f'echo "$1" >{FORWARDING}', "sh", record])


# -- routes -------------------------------------------------------------------------------------


def _with_routes(purpose: Purpose) -> Callable[[Cluster], tuple[str, ...]]:
    def nodes(cluster: Cluster) -> tuple[str, ...]:
        return tuple(n.name for n in cluster.nodes if _declared(cluster, n.name, purpose))

    return nodes


def _declared(cluster: Cluster, node: str, purpose: Purpose) -> list[IPv4Network]:
    return [r.destination for r in derive.routes(cluster, node) if r.purpose is purpose]


def _kernel_routes(purpose: Purpose) -> Callable[[Cluster, str], Record]:
    def look(cluster: Cluster, node: str) -> Record:
        found = []
        for destination in _declared(cluster, node, purpose):
            said = in_namespace(node, ["ip", "-4", "route", "show", "exact", str(destination)])
            found += [replayable(line) for line in said.splitlines() if line.strip()]
        if not found:
            raise LabError(f"{node} has none of its {purpose.value} routes now")
        return found

    return look


def _delete_routes(cluster: Cluster, node: str, record: Record) -> None:
    # All at once, as one event takes them.
    in_namespace(node, ["ip", "-batch", "-"], "".join(f"route del {r}\n" for r in record))


def _restore_routes(cluster: Cluster, node: str, record: Record) -> None:
    for route in record:
        in_namespace(node, ["ip", "route", "replace", *route.split()])


# -- the server does not answer -----------------------------------------------------------------


def _workers(cluster: Cluster) -> tuple[str, ...]:
    return tuple(n.name for n in cluster.nodes if derive.role(cluster, n.name) == "worker")


def _drop_at_server(cluster: Cluster, node: str, record: Record) -> None:
    """Drop at the server what the worker asks of it; what the server asks still gets an answer."""
    sources = ", ".join(str(cluster.address(node, s.name)) for s in cluster.segments_of(node))
    match = f"ip saddr {{ {sources} }} ip daddr {cluster.server_address}"
    rules = [
        f"add table inet {_table(node)}",
        f"delete table inet {_table(node)}",
        f"add table inet {_table(node)}",
        f"add chain inet {_table(node)} in {{ type filter hook input priority -10; }}",
        f"add rule inet {_table(node)} in {match} icmp type echo-request drop",
        f"add rule inet {_table(node)} in {match} meta l4proto tcp drop",
    ]
    on_machine(cluster.server.node, ["nft", "\n".join(rules)])


def _answer_at_server(cluster: Cluster, node: str, record: Record) -> None:
    rules = [f"add table inet {_table(node)}", f"delete table inet {_table(node)}"]
    on_machine(cluster.server.node, ["nft", "\n".join(rules)])


def _table(node: str) -> str:
    return "fault_" + node.replace("-", "_")


# -- the table ----------------------------------------------------------------------------------

FAULTS: tuple[Fault, ...] = (
    Fault(
        "forwarding-off",
        "a gateway no longer forwards packets",
        "SmolmonForwardingDisabled",
        derive.gateways,
        _forwarding,
        _forwarding_off,
        _forwarding_back,
    ),
    Fault(
        "return-route-gone",
        "a node has lost its routes back to the edge segments",
        "SmolmonReturnRouteMissing",
        _with_routes(Purpose.RETURN),
        _kernel_routes(Purpose.RETURN),
        _delete_routes,
        _restore_routes,
    ),
    Fault(
        "forward-route-gone",
        "a worker has lost its routes to the fabric",
        "SmolmonRouteMissing",
        _with_routes(Purpose.FORWARD),
        _kernel_routes(Purpose.FORWARD),
        _delete_routes,
        _restore_routes,
    ),
    Fault(
        "server-unreachable",
        "the server drops what a worker sends it: a symptom without a known cause",
        "SmolmonServerUnreachable",
        _workers,
        nothing,
        _drop_at_server,
        _answer_at_server,
    ),
    *faults_ports.FAULTS,
    *faults_nodes.FAULTS,
    *faults_traffic.FAULTS,
    *faults_wires.FAULTS,
    *faults_files.FAULTS,
)


def fault(name: str) -> Fault:
    """The fault called `name`. Raises LabError."""
    for one in FAULTS:
        if one.name == name:
            return one
    raise unknown("fault", name, (f.name for f in FAULTS))


def possible(cluster: Cluster) -> set[tuple[str, str]]:
    """Each fault with each node that it can hit, by their names."""
    return {(f.name, node) for f in FAULTS for node in f.nodes(cluster)}


def table(cluster: Cluster) -> list[dict[str, Any]]:
    """Every fault with the nodes of `cluster` that it can hit and the cause it must lead to.

    `named` says, for each of the nodes, which one that alert is about: "" for none.
    """
    return [
        {
            "fault": f.name,
            "nodes": list(f.nodes(cluster)),
            "cause": f.cause,
            "named": {node: f.named(cluster, node) for node in f.nodes(cluster)},
            "summary": f.summary,
        }
        for f in FAULTS
    ]


def break_(lab: Lab, name: str, node: str | None) -> Active:
    """Inject the fault `name`, on `node` or on the first it can hit. Raises LabError."""
    chosen = fault(name)
    cluster = lab.cluster()
    able = chosen.nodes(cluster)
    if node is not None and node not in {n.name for n in cluster.nodes}:
        raise unknown("node", node, (n.name for n in cluster.nodes))
    if node is not None and node not in able:
        which = f"one of {', '.join(able)}" if able else "no node of this cluster"
        raise LabError(f"{name} cannot hit {node}; it can hit {which}", code=2)
    if not able:
        raise LabError(f"{name} can hit no node of this cluster", code=2)
    target = node or able[0]
    if any((a.fault, a.node) == (name, target) for a in active(lab)):
        raise LabError(f"{name} is already active on {target}")
    broken = Active(name, target, chosen.look(cluster, target))
    # Written down first: whatever happens next can be healed.
    file = lab.faults() / f"{name}@{target}.json"
    file.write_text(json.dumps(asdict(broken)))
    try:
        chosen.harm(cluster, target, broken.record)
    except LabError:
        chosen.mend(cluster, target, broken.record)
        file.unlink()
        raise
    return broken


def heal(lab: Lab, name: str | None, node: str | None) -> list[Active]:
    """Take back the active faults that fit; those that were. Raises LabError."""
    if name is not None:
        fault(name)
    cluster = lab.cluster()
    if node is not None and node not in {n.name for n in cluster.nodes}:
        raise unknown("node", node, (n.name for n in cluster.nodes))
    healed = []
    troubles = []
    for one in active(lab):
        if name not in (None, one.fault) or node not in (None, one.node):
            continue
        try:
            fault(one.fault).mend(cluster, one.node, one.record)
        except LabError as error:
            troubles.append(f"{one.fault} on {one.node} is not healed: {error}")
            continue
        (lab.faults() / f"{one.fault}@{one.node}.json").unlink()
        healed.append(one)
    if troubles:
        raise LabError("; ".join(troubles))
    return healed


def active(lab: Lab) -> list[Active]:
    """The faults that are active, in the order in which they came."""
    files = sorted(lab.faults().glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return [Active(**json.loads(file.read_text())) for file in files]

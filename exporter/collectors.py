"""From what was observed to metrics: one plain function for each collector."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric

import smolmon
from smolmon.cluster import Cluster, derive
from smolmon.cluster.derive import Isolation, ProbeKind
from smolmon.exporter.hops import expected
from smolmon.exporter.isolation import State
from smolmon.exporter.pings import path_of
from smolmon.exporter.system import System
from smolmon.exporter.vocabulary import metric


def isolation(states: Iterable[tuple[Isolation, State]]) -> Iterator[Metric]:
    """The state of the isolation checks."""
    yield metric(
        "smolmon_check_state",
        [
            (
                {
                    "check": "isolation",
                    "target": check.target,
                    "link": check.link,
                    "state": state.value,
                },
                state is found,
            )
            for check, found in states
            for state in State
        ],
    )


def forwarding(system: System) -> Iterator[Metric]:
    """Whether the node forwards packets. Raises OSError."""
    yield metric("smolmon_ip_forwarding_enabled", [({"family": "ipv4"}, system.forwarding())])


def firewall(system: System) -> Iterator[Metric]:
    """The state of the machine's own firewall. Raises OSError, NotAvailableError."""
    seen = system.firewall()
    for name, value in (
        ("enabled", seen.enabled),
        ("block_all", seen.block_all),
        ("stealth", seen.stealth),
    ):
        yield metric(f"smolmon_firewall_{name}", [({}, value)] if value is not None else [])


def declared(cluster: Cluster, node: str, digest: str) -> list[Metric]:
    """What is expected of `node`, and what runs on it: the same in every scrape."""
    probes = derive.probes(cluster, node)
    machine = cluster.node(node)
    port = {"port": str(cluster.server.port)}
    return [
        metric(
            "smolmon_path_hops_expected",
            [(path_of(p), expected(p)) for p in probes if p.kind is ProbeKind.SERVER],
        ),
        metric(
            "smolmon_listener_expected",
            [({**port, "address": str(cluster.server_address)}, 1)]
            if node == cluster.server.node
            else [],
        ),
        metric("smolmon_ping_rtt_threshold_seconds", [(path_of(p), p.rtt) for p in probes]),
        metric(
            "smolmon_path_hop_info",
            [({**path_of(p), "hop": h}, 1) for p in probes for h in p.gateways],
        ),
        metric(
            "smolmon_path_step_info",
            [
                ({**path_of(p), "hop": s.hop, "over": s.over, "next": s.next}, 1)
                for p in probes
                for s in derive.steps(cluster, p)
            ],
        ),
        metric(
            "smolmon_path_info",
            [
                ({**path_of(p), "path": ">".join(derive.ends(cluster, p))}, 1)
                for p in probes
                if p.kind is not ProbeKind.INTERNET
            ],
        ),
        metric(
            "smolmon_cable_info",
            [({"link": link, "target": other}, 1) for link, other in derive.cabled(cluster, node)],
        ),
        metric(
            "smolmon_ip_forwarding_expected",
            [({"family": "ipv4"}, node in derive.gateways(cluster))],
        ),
        metric(
            "smolmon_node_info", [({"platform": machine.platform.value, "ssh": machine.ssh}, 1)]
        ),
        metric("smolmon_topology_info", [({"hash": digest}, 1)]),
        metric(
            "smolmon_build_info",
            [({"version": smolmon.__version__, "python": platform.python_version()}, 1)],
        ),
    ]

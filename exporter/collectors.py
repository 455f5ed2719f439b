"""From what was observed to metrics: one plain function for each collector."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen
from prometheus_client.metrics_core import Metric

import smolmon
from smolmon.cluster import Cluster, derive
from smolmon.cluster.derive import Isolation, Probe
from smolmon.exporter.isolation import State
from smolmon.exporter.pinger import Tally
from smolmon.exporter.routes import device, is_present
from smolmon.exporter.system import System
from smolmon.exporter.vocabulary import Labels, histogram, metric


@frozen
class Pings:
    """What the pinger knew at one moment: a tally for each probe."""

    probes: Sequence[Probe]
    tallies: Sequence[Tally]
    edges: Sequence[float]
    foreign: int


def ping(seen: Pings) -> Iterator[Metric]:
    """Results and round trips of the probes. What is not known yet has no sample."""
    rows = [(_path(p), t) for p, t in zip(seen.probes, seen.tallies, strict=True)]
    yield metric("smolmon_ping_requests_total", [(path, t.requests) for path, t in rows])
    yield metric(
        "smolmon_ping_results_total",
        [
            ({**path, "result": result.value}, count)
            for path, t in rows
            for result, count in t.results.items()
        ],
    )
    yield metric("smolmon_ping_late_replies_total", [(path, t.late) for path, t in rows])
    yield metric("smolmon_ping_duplicate_replies_total", [(path, t.duplicates) for path, t in rows])
    yield metric("smolmon_ping_foreign_replies_total", [({}, seen.foreign)])
    yield histogram(
        "smolmon_ping_rtt_seconds", seen.edges, [(path, t.counts, t.rtt_sum) for path, t in rows]
    )
    yield metric("smolmon_ping_up", [(path, t.up) for path, t in rows if t.up is not None])
    yield metric(
        "smolmon_ping_last_reply_timestamp_seconds",
        [(path, t.last_reply) for path, t in rows if t.last_reply is not None],
    )
    yield metric(
        "smolmon_ping_timestamping_info",
        [
            ({**path, "tx": t.stamped_by[0].value, "rx": t.stamped_by[1].value}, 1)
            for path, t in rows
            if t.stamped_by
        ],
    )


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


def route(cluster: Cluster, node: str, system: System) -> Iterator[Metric]:
    """Whether each declared route of `node` is there. Raises OSError."""
    table = system.routes()
    samples: list[tuple[Labels, float]] = []
    for expected in derive.routes(cluster, node):
        member = cluster.segment(expected.link).member(node)
        name = device(member, system) if member else ""
        labels = {
            "destination": str(expected.destination),
            "via": str(expected.via),
            "via_node": expected.via_node,
            "to": expected.to,
            "link": expected.link,
            "device": name,
            "purpose": expected.purpose.value,
        }
        samples.append((labels, is_present(expected, name, table)))
    yield metric("smolmon_route_present", samples)


def forwarding(system: System) -> Iterator[Metric]:
    """Whether the node forwards packets. Raises OSError."""
    yield metric("smolmon_ip_forwarding_enabled", [({"family": "ipv4"}, system.forwarding())])


def declared(cluster: Cluster, node: str, digest: str) -> list[Metric]:
    """What is expected of `node`, and what runs on it: the same in every scrape."""
    probes = derive.probes(cluster, node)
    machine = cluster.node(node)
    return [
        metric("smolmon_ping_rtt_threshold_seconds", [(_path(p), p.rtt) for p in probes]),
        metric(
            "smolmon_path_hop_info",
            [({**_path(p), "hop": h}, 1) for p in probes for h in p.gateways],
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


def _path(probe: Probe) -> dict[str, str]:
    return {"probe": probe.kind.value, "target": probe.target, "link": probe.link}

"""Clusters as they might be seen: healthy, broken, silent, or at random."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from smolmon.cluster import Cluster, derive
from smolmon.cluster.timetable import declared_tests
from smolmon.observe.prometheus import Alert
from smolmon.observe.sample import Sample
from smolmon.status.seen import ANSWERED, LOSS, RTT, UP, Seen

NOW = 1_800_000_000.0
WATCHDOG = Alert("Watchdog", "firing", {"severity": "none"}, {}, NOW - 9999, 1)
TEST = "smolmon_bandwidth_"


def samples(cluster: Cluster) -> list[Sample]:
    """All as declared: every probe takes half of what it may, every test gives a tenth more."""
    found = []
    for node in cluster.nodes:
        own = {"cluster": cluster.name, "node": node.name}
        found.append(Sample(UP, own, 1, NOW))
        for probe in derive.probes(cluster, node.name):
            labels = {**own, "probe": probe.kind.value, "target": probe.target, "link": probe.link}
            found += [
                Sample("smolmon_ping_up", labels, 1, NOW),
                Sample("smolmon_ping_rtt_threshold_seconds", labels, probe.rtt, NOW),
                Sample(RTT, labels, probe.rtt / 2, NOW),
                Sample(LOSS, labels, 0, NOW),
            ]
    for test in declared_tests(cluster):
        labels = {
            "cluster": cluster.name,
            "node": test.target,
            "target": test.source,
            "link": test.target_link,
            "direction": "receive",
        }
        found += [
            Sample(f"{TEST}bytes_per_second", labels, test.expected * 1.1, NOW),
            Sample(f"{TEST}expected_bytes_per_second", labels, test.expected, NOW),
            Sample(f"{TEST}last_success_timestamp_seconds", labels, NOW - 700, NOW),
        ]
    server = {"cluster": cluster.name, "node": cluster.server.node}
    found.append(Sample("smolmon_training_connections", server, 0, NOW))
    return found


def seen(rows: Iterable[Sample], *alerts: Alert, rules: bool = True) -> Seen:
    """A look by Prometheus, whose rules work; or without `rules`, by the exporters."""
    if not rules:
        return Seen("the exporters", NOW, tuple(rows), None, 3, 3, note="without Prometheus: why")
    found = (WATCHDOG, *alerts)
    return Seen("Prometheus", NOW, tuple(rows), found, 60, 300, address="http://127.0.0.1:9090")


def alert(declared: Cluster, name: str, severity: str, kind: str, **labels: str) -> Alert:
    """A firing alert with a summary and a fix."""
    node = labels.get("node", "")
    return Alert(
        name,
        "firing",
        {"cluster": declared.name, "severity": severity, "class": kind, **labels},
        {"summary": f"{node} has {name}", "fix": f"ssh {node} sudo repair {name}"},
        NOW - 40,
        1,
    )


def cut_off(rows: Iterable[Sample], *nodes: str) -> list[Sample]:
    """The same, but these do not reach the server."""
    found = []
    for s in rows:
        lost = s.labels["node"] in nodes and s.labels.get("probe") == "server"
        if lost and s.name == RTT:
            continue
        value = {"smolmon_ping_up": 0.0, LOSS: 1.0}.get(s.name, s.value) if lost else s.value
        found.append(Sample(s.name, s.labels, value, s.time))
    return found


def down(cluster: Cluster, rows: Iterable[Sample], *nodes: str) -> list[Sample]:
    """The same, but these machines are off."""
    found = [Sample(UP, {"cluster": cluster.name, "node": n}, 0, NOW) for n in nodes]
    found += [Sample(ANSWERED, {"cluster": cluster.name, "node": n}, NOW - 240, NOW) for n in nodes]
    for s in rows:
        if s.labels["node"] in nodes:
            continue
        lost = s.labels.get("target") in nodes and s.name in ("smolmon_ping_up", RTT, LOSS)
        if lost and s.name == RTT:
            continue
        value = (1.0 if s.name == LOSS else 0.0) if lost else s.value
        found.append(Sample(s.name, s.labels, value, s.time))
    return found


@st.composite
def scenes(draw: st.DrawFn, cluster: Cluster) -> Seen:
    """Any samples left out or changed, any alerts, with words that a terminal would stumble on."""
    rows = samples(cluster)
    chosen = draw(st.lists(st.sampled_from(range(len(rows))), max_size=12, unique=True))
    values = draw(
        st.lists(
            st.one_of(st.none(), st.sampled_from([0.0, 1.0, 1e-7, 0.5, 12.3, 4e12])),
            min_size=len(chosen),
            max_size=len(chosen),
        )
    )
    changed = dict(zip(chosen, values, strict=True))
    kept = [
        Sample(s.name, s.labels, value, s.time)
        for i, s in enumerate(rows)
        if (value := changed.get(i, s.value)) is not None
    ]
    text = st.text(max_size=200)
    names = st.sampled_from([n.name for n in cluster.nodes] + [""])
    alerts = draw(
        st.lists(
            st.builds(
                lambda name, node, severity, summary, fix: Alert(
                    name,
                    "firing",
                    {"cluster": cluster.name, "node": node, "severity": severity},
                    {"summary": summary, "fix": fix},
                    NOW,
                    1,
                ),
                text,
                names,
                st.sampled_from(["critical", "warning", "none"]),
                text,
                text,
            ),
            max_size=7,
        )
    )
    return seen(kept, *alerts, rules=draw(st.booleans()))

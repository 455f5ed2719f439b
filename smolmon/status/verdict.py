"""May a training run start, and what is wrong? As the home board answers it. Pure.

With Prometheus the alerts say it; what nobody reaches is known some seconds before they do. Without
it only reachability is known: then `smolmon doctor` is what to run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from smolmon.cluster import Cluster
from smolmon.observe.prometheus import Alert
from smolmon.status.model import Path, State, Trouble, Verdict, Word
from smolmon.status.seen import Seen

DOCTOR = "smolmon doctor"
# Alertmanager's one inhibition rule (smolmon.alerts.notify): this alert mutes symptoms with the
# same of these labels.
EXPLAINED = "SmolmonExplained"
EQUAL = ("cluster", "node", "probe", "target")

_STATES = {"critical": State.BROKEN, "warning": State.DEGRADED}
_WORDS = {State.BROKEN: Word.BLOCKED, State.DEGRADED: Word.DEGRADED}


@frozen
class Findings:
    """`nodes` has those that something is wrong with, and why in a few words."""

    verdict: Verdict
    troubles: tuple[Trouble, ...] = ()
    nodes: Mapping[str, tuple[State, str]] = field(factory=dict)


def conclude(
    cluster: Cluster,
    seen: Seen,
    up: Mapping[str, bool],
    paths: Sequence[Path],
    cut_off: Sequence[str],
) -> Findings:
    """What follows from the alerts, from whose exporter is `up`, and from who is `cut_off`."""
    silent = [node for node, answers in up.items() if not answers]
    reach = [*_cut_off(cluster, cut_off), *_silent(seen, silent)]
    if seen.alerts is None:
        reach += _unreached(paths, up, cut_off)
        return Findings(_by_reach(cluster, seen, up, paths, reach), tuple(reach))
    firing = [a for a in seen.alerts if a.state == "firing"]
    ours = sorted(
        (
            a
            for a in firing
            if a.labels.get("cluster") == cluster.name and a.labels.get("severity") in _STATES
        ),
        key=_weight,
    )
    told = [a for a in ours if not inhibited(a, firing)]
    troubles = [_trouble(alert) for alert in told]
    nodes: dict[str, tuple[State, str]] = {}
    for alert in told:
        found = (_state(alert), alert.name.removeprefix("Smolmon"))
        nodes.setdefault(alert.labels.get("node", ""), found)
    # Alerts take some seconds; what they do not say yet is said all the same.
    if cut_off and not any(t.state is State.BROKEN for t in troubles):
        troubles = [*_cut_off(cluster, cut_off), *troubles]
    if silent and not troubles:
        troubles = list(_silent(seen, silent))
    verdict = _by_alerts(seen, firing=firing, ours=ours, up=up, cut_off=cut_off, troubles=troubles)
    return Findings(verdict, tuple(troubles), nodes)


def inhibited(alert: Alert, firing: Sequence[Alert]) -> bool:
    """Whether Alertmanager would hold `alert` back because its cause is known."""
    if alert.labels.get("class") != "symptom":
        return False
    return any(
        other.name == EXPLAINED
        and all(other.labels.get(k, "") == alert.labels.get(k, "") for k in EQUAL)
        for other in firing
    )


def _by_alerts(
    seen: Seen,
    *,
    firing: Sequence[Alert],
    ours: Sequence[Alert],
    up: Mapping[str, bool],
    cut_off: Sequence[str],
    troubles: Sequence[Trouble],
) -> Verdict:
    reason = troubles[0].summary if troubles else ""
    states = [_state(alert) for alert in ours]
    if State.BROKEN in states or cut_off:
        return Verdict(Word.BLOCKED, reason or ours[0].name)
    if states or not all(up.values()):
        return Verdict(Word.DEGRADED, reason or ours[0].name)
    if not any(up.values()):
        return Verdict(Word.UNKNOWN, f"no node is seen by {seen.source}")
    if not any(alert.name == "Watchdog" for alert in firing):
        return Verdict(Word.UNKNOWN, f"the rules are silent: {seen.source} has no Watchdog")
    return Verdict(Word.READY, "no alert fires")


def _by_reach(
    cluster: Cluster,
    seen: Seen,
    up: Mapping[str, bool],
    paths: Sequence[Path],
    reach: Sequence[Trouble],
) -> Verdict:
    if not any(up.values()):
        return Verdict(Word.UNKNOWN, seen.note or "no exporter answers; look with: smolmon verify")
    if reach:
        worst = max(reach, key=lambda t: t.state is State.BROKEN)
        return Verdict(_WORDS[worst.state], worst.summary)
    missing = [p for p in paths if p.pinged and p.answers is None]
    if missing or len(up) < len(cluster.nodes):
        names = ", ".join(dict.fromkeys(p.source for p in missing)) or "some nodes"
        return Verdict(Word.UNKNOWN, f"{names}: not all that is to answer has been asked yet")
    return Verdict(Word.READY, "all that is to answer does (no rules were asked)")


def _weight(alert: Alert) -> tuple[bool, bool, float, str]:
    """Causes before symptoms, critical before warning; of those, what began first."""
    return (
        alert.labels.get("severity") != "critical",
        alert.labels.get("class") != "cause",
        alert.since,
        alert.labels.get("node", ""),
    )


def _state(alert: Alert) -> State:
    return _STATES[alert.labels["severity"]]


def _trouble(alert: Alert) -> Trouble:
    node = alert.labels.get("node", "")
    return Trouble(
        alert.name,
        node,
        _state(alert),
        alert.annotations.get("summary") or f"{alert.name} {node}".strip(),
        alert.annotations.get("fix") or DOCTOR,
        alert.since,
    )


def _cut_off(cluster: Cluster, nodes: Sequence[str]) -> Iterator[Trouble]:
    if nodes:
        does = "does" if len(nodes) == 1 else "do"
        names = ", ".join(dict.fromkeys(nodes))
        summary = f"{names} {does} not reach the training server {cluster.server.node}"
        yield Trouble("ServerUnreachable", nodes[0], State.BROKEN, summary, DOCTOR)


def _silent(seen: Seen, nodes: Sequence[str]) -> Iterator[Trouble]:
    for node in nodes:
        why = f": {seen.silent[node]}" if node in seen.silent else ""
        summary = f"the exporter of {node} gives no answer{why}"
        yield Trouble("ExporterSilent", node, State.DEGRADED, summary, DOCTOR)


def _unreached(
    paths: Sequence[Path], up: Mapping[str, bool], cut_off: Sequence[str]
) -> Iterator[Trouble]:
    for path in paths:
        if path.answers is False and path.source not in cut_off and up.get(path.target, True):
            summary = f"{path.target} does not answer {path.source}"
            yield Trouble("Unreachable", path.source, State.DEGRADED, summary, DOCTOR)

"""Examine a cluster by what Prometheus has found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from attrs import evolve, frozen

from smolmon.cluster import Cluster
from smolmon.doctor.finding import Examination, Finding, Look, parted
from smolmon.doctor.rules import SILENT, alerting, inhibited
from smolmon.doctor.suppress import attribute, explanations
from smolmon.observe import alertmanager
from smolmon.observe.alertmanager import Held
from smolmon.observe.prometheus import Alert, Prometheus, Rule, Target
from smolmon.observe.sample import ObserveError, Sample

# Rules are evaluated, and nodes scraped, every five seconds.
STALE = 60.0  # seconds
# Something of ours may answer there that has nothing to say yet.
KINDS = ("cause", "symptom", "performance", "meta")


class UnwatchedError(ObserveError):
    """Prometheus is there, and does not watch this cluster."""


@frozen
class Seen:
    """Prometheus' answers, and Alertmanager's: None where none was reached, `deaf` says why."""

    alerts: Sequence[Alert]
    targets: Sequence[Target]
    rules: Sequence[Rule]
    explained: Sequence[Sample]
    held: Sequence[Held] | None
    deaf: str
    time: float


def examine(cluster: Cluster, prometheus: Prometheus) -> Examination:
    """What is active in Prometheus. Raises ObserveError."""
    return evolve(judged(cluster, ask(cluster, prometheus)), url=prometheus.url)


def ask(cluster: Cluster, prometheus: Prometheus) -> Seen:
    """All that is needed of Prometheus and Alertmanager. Raises ObserveError."""
    return Seen(
        prometheus.alerts(),
        prometheus.targets(),
        prometheus.rules(),
        # A cluster's name has no quotes.
        prometheus.query(f'smolmon:explained_probe:info{{cluster="{cluster.name}"}}'),
        *_held(prometheus),
        time.time(),
    )


def _held(prometheus: Prometheus) -> tuple[list[Held] | None, str]:
    """What Alertmanager has; else why it cannot be asked."""
    why = "Prometheus has no Alertmanager to send its alerts to: nobody is notified"
    for url in prometheus.alertmanagers():
        if _at_home(url) and not _at_home(prometheus.url):
            return None, ""  # on Prometheus' own machine, which is not this one
        try:
            return alertmanager.alerts(url), ""
        except ObserveError as error:
            why = f"Alertmanager, which Prometheus sends its alerts to, cannot be asked: {error}"
    return None, why


def _at_home(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def judged(cluster: Cluster, seen: Seen) -> Examination:
    """What those answers tell of this cluster. Raises UnwatchedError."""
    shipped = [rule for rule in seen.rules if rule.name in alerting()]
    ours = [t for t in seen.targets if t.labels.get("cluster") == cluster.name]
    if not ours:
        raise UnwatchedError(f"it scrapes no node of {cluster.name}")
    if not shipped:
        raise UnwatchedError("it has none of smolmon's rules; see `smolmon render`")
    looks = _looks(cluster, ours, seen.time)
    active = [
        alert
        for alert in seen.alerts
        if alert.labels.get("cluster", cluster.name) == cluster.name
        and alert.labels.get("class") in KINDS
        and alert.name not in SILENT
    ]
    sources = [a.labels for a in seen.alerts if a.state == "firing"]
    muted = [a for a in active if _is_muted(a, sources, seen.held)]
    kept, left = attribute(
        [_finding(a, seen.held) for a in active if a not in muted],
        [_finding(a, seen.held) for a in muted],
        explanations(sample.labels for sample in seen.explained),
    )
    return Examination(
        cluster.name,
        "prometheus",
        "",
        tuple(sorted(kept, key=_order)),
        looks,
        problems=tuple(_problems(shipped, looks, kept, seen)),
        muted=tuple(left),
        rules=len({rule.name for rule in shipped} - {*SILENT}),
    )


def _order(found: Finding) -> tuple[bool, bool, str, str]:
    """What is certain, and a cause, comes first."""
    return (not found.certain, found.kind != "cause", found.alert, found.node)


def _is_muted(
    alert: Alert, sources: Sequence[Mapping[str, str]], held: Sequence[Held] | None
) -> bool:
    """By Alertmanager itself, where that has the alert; else by what it is configured to do."""
    if (its := _its(alert, held)) is not None:
        return bool(its.inhibited_by)
    return inhibited(alert.labels, sources)


def _its(alert: Alert, held: Sequence[Held] | None) -> Held | None:
    """What Alertmanager has of this alert; Prometheus may have added labels for it."""
    return next((h for h in held or () if alert.labels.items() <= h.labels.items()), None)


def _finding(alert: Alert, held: Sequence[Held] | None) -> Finding:
    texts = alert.annotations
    fix = texts.get("fix", "")
    evidence, how = parted(texts.get("description", ""), fix)
    its = _its(alert, held)
    return Finding(
        alert.name,
        alert.labels["class"],
        alert.labels.get("severity", ""),
        alert.labels.get("node", ""),
        alert.labels,
        texts.get("summary", alert.name),
        evidence,
        how,
        fix,
        texts.get("runbook_url", ""),
        since=alert.since,
        certain=alert.state == "firing",
        silenced=bool(its and its.silenced_by),
    )


def _looks(cluster: Cluster, targets: Sequence[Target], now: float) -> tuple[Look, ...]:
    by_node = {target.labels.get("node"): target for target in targets}
    looks = []
    for node in cluster.nodes:
        target = by_node.get(node.name)
        if target is None:
            looks.append(Look(node.name, up=False, error="Prometheus does not scrape it"))
        elif not target.scraped:
            looks.append(Look(node.name, up=False, error="not scraped yet"))
        else:
            age = max(0.0, now - target.scraped)
            looks.append(Look(node.name, target.up, age, target.error))
    return tuple(looks)


def _problems(
    rules: Sequence[Rule], looks: Sequence[Look], found: Sequence[Finding], seen: Seen
) -> list[str]:
    """Why Prometheus may not see all that is wrong."""
    problems = []
    if missing := sorted(alerting().keys() - {rule.name for rule in rules}):
        problems.append(
            f"Prometheus lacks {_some(missing)} of smolmon's rules; run `smolmon render` again, "
            "and reload it"
        )
    broken = {rule.name: rule.error for rule in rules if rule.error}
    problems += [f"the rule {name} cannot be evaluated: {why}" for name, why in broken.items()]
    if (late := seen.time - min(rule.evaluated for rule in rules)) > STALE:
        ago = f"for {late:.0f} s" if late < 1e6 else "yet"
        problems.append(f"Prometheus has not evaluated all of its rules {ago}")
    if old := [look.node for look in looks if look.age is not None and look.age > STALE]:
        problems.append(f"Prometheus has not tried to scrape {_some(old)} for {STALE:.0f} s")
    told = {f.node for f in found}
    everyone = any(f.alert == "SmolmonMonitorCutOff" for f in found)
    problems += [
        f"{look.node} is not scraped: {look.error or 'no reason given'}"
        for look in looks
        if not look.up and look.node not in told and not everyone
    ]
    return [*problems, seen.deaf] if seen.deaf else problems


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"

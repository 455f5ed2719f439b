"""Examine a cluster without Prometheus: ask every exporter once."""

from __future__ import annotations

import time
from collections.abc import Mapping

from attrs import evolve

from smolmon.cluster import Cluster, derive
from smolmon.doctor import causes, explain
from smolmon.doctor.finding import Examination, Finding, Look
from smolmon.doctor.rules import SILENT, alerting, inhibited
from smolmon.doctor.suppress import attribute, explanations
from smolmon.doctor.texts import finding
from smolmon.doctor.witness import present
from smolmon.doctor.world import World, world
from smolmon.observe.exporters import Credentials, Scrape, Why, scrape
from smolmon.observe.sample import ObserveError


def examine(cluster: Cluster, credentials: Credentials) -> Examination:
    """What is wrong, by one scrape of every node. Raises ObserveError."""
    scrapes = scrape(cluster, credentials)
    addresses = {node.name: node.management for node in cluster.nodes}
    silent = present((s, addresses[s.node]) for s in scrapes.values() if s.why)
    return judged(cluster, scrapes, silent, time.time())


def judged(
    cluster: Cluster, scrapes: Mapping[str, Scrape], silent: Mapping[str, bool], now: float
) -> Examination:
    """What those scrapes tell; `silent` are the nodes without one, and whether they are there."""
    seen = world(cluster, [s.samples for s in scrapes.values()], silent, now)
    seen.expired = frozenset(s.node for s in scrapes.values() if s.why is Why.EXPIRED)
    try:
        findings = [_with_scrape(f, scrapes.get(f.node)) for f in _findings(seen)]
    except KeyError as error:
        raise ObserveError(
            f"an exporter reports no {error} where it should: it is of another version; remedy: "
            "smolmon setup"
        ) from error
    symptoms = [f for f in findings if f.kind == "symptom"]
    sources = _sources(seen)
    muted = [f for f in symptoms if inhibited({"class": "symptom", **f.labels}, sources)]
    kept, left = attribute(
        [f for f in findings if f not in muted],
        muted,
        explanations(seen.where(explain.EXPLAINED)),
    )
    return Examination(
        cluster.name,
        "exporters",
        "",
        tuple(kept),
        tuple(_look(node.name, scrapes.get(node.name), silent) for node in cluster.nodes),
        muted=tuple(left),
        rules=len(alerting()) - len(causes.NEED_HISTORY) - len(SILENT),
        unjudged=causes.NEED_HISTORY,
    )


def _findings(seen: World) -> list[Finding]:
    hits = causes.causes(seen)
    explain.explain(seen)
    samples = seen.samples
    return [
        finding(
            alert,
            _whole(seen.cluster, labels),
            samples,
            seen.values.get((alert, labels.get("node", "")), 1.0),
        )
        for alert, labels in hits
    ]


def _with_scrape(found: Finding, scraped: Scrape | None) -> Finding:
    """With why the node's exporter said nothing, where it did not."""
    if scraped is None or not scraped.why:
        return found
    return evolve(found, evidence=f"{found.evidence} Asked now: {scraped.error}.")


def _whole(cluster: Cluster, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels with those that the rules add: what the repair command needs to know."""
    if not (name := labels.get("node")):
        return dict(labels)
    node = cluster.node(name)
    more = {"platform": node.platform.value, "ssh": node.ssh, "role": derive.role(cluster, name)}
    return {**labels, **more}


def _sources(seen: World) -> list[dict[str, str]]:
    """The alerts that say which probes are explained."""
    names = ("cluster", *explain.PROBE)
    return [
        {"alertname": "SmolmonExplained", **{name: labels[name] for name in names}}
        for labels in seen.where(explain.EXPLAINED)
    ]


def _look(node: str, scraped: Scrape | None, silent: Mapping[str, bool]) -> Look:
    if scraped is None or scraped.why:
        return Look(node, up=False, error=scraped.error if scraped else "not asked")
    return Look(node, up=node not in silent, age=0.0)

"""Which symptoms a finding explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve

from smolmon.doctor.finding import Finding, Suppressed
from smolmon.doctor.rules import EXPLAINS

Probe = tuple[str, str, str]
# For each probe (node, kind, target): what breaks it, and at which node.
Explanations = Mapping[Probe, Sequence[tuple[str, str]]]


def explanations(rows: Iterable[Mapping[str, str]]) -> Explanations:
    """By probe, from the labels of smolmon:explained_probe:info."""
    found: dict[Probe, list[tuple[str, str]]] = {}
    for row in rows:
        probe = (row.get("node", ""), row.get("probe", ""), row.get("target", ""))
        found.setdefault(probe, []).append((row.get("cause", ""), row.get("hop", "")))
    return found


def attribute(
    findings: Sequence[Finding], muted: Iterable[Finding], by_probe: Explanations
) -> tuple[list[Finding], list[Suppressed]]:
    """`findings` with the symptoms that each explains, and the `muted` ones that none does."""
    explained: dict[int, list[Suppressed]] = {}
    left = []
    for symptom in muted:
        labels = symptom.labels
        target = labels.get("target", "")
        one = Suppressed(symptom.alert, symptom.node, target, symptom.summary)
        causes = by_probe.get((symptom.node, labels.get("probe", ""), target), ())
        owners = {n for cause, hop in causes for n in _owners(findings, cause, hop)}
        for number in owners:
            explained.setdefault(number, []).append(one)
        if not owners:
            left.append(one)
    return [
        evolve(f, suppresses=tuple(sorted(explained.get(n, ()), key=_order)))
        for n, f in enumerate(findings)
    ], sorted(left, key=_order)


def _order(one: Suppressed) -> tuple[str, str, str]:
    return (one.alert, one.node, one.target)


def _owners(findings: Sequence[Finding], cause: str, hop: str) -> list[int]:
    """Which findings are that cause; one at another node where none is at `hop`.

    A pulled cable is told at one end, and a taken address at the node that has taken it.
    """
    names = EXPLAINS.get(cause, ())
    named = [number for number, f in enumerate(findings) if f.alert in names]
    return [number for number in named if findings[number].node == hop] or named

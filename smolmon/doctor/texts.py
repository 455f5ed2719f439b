"""A finding's texts: those of its rule, filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smolmon.doctor.answers import UnansweredError, answer
from smolmon.doctor.finding import Finding, parted
from smolmon.doctor.rules import alerting, lasting
from smolmon.doctor.template import TemplateError, fill
from smolmon.observe.sample import Sample

# What one look can be certain of: rules that want more are for what comes and goes.
CERTAIN = 60.0  # seconds


def finding(
    alert: str, labels: Mapping[str, str], samples: Sequence[Sample], value: float = 1.0
) -> Finding:
    """The finding that the rule `alert` would make of these labels, by one scrape's `samples`.

    `value` is what its expression gives.
    """
    rule = alerting()[alert]
    texts = rule["annotations"]

    def filled(name: str, otherwise: str) -> str:
        try:
            return fill(texts[name], labels, value, lambda expr: answer(expr, samples))
        except (UnansweredError, TemplateError):  # it asks for what this scrape does not have
            return otherwise

    node = labels.get("node", "")
    fix = filled("fix", "smolmon verify")
    evidence, how = parted(filled("description", ""), fix)
    return Finding(
        alert,
        rule["labels"]["class"],
        rule["labels"]["severity"],
        node,
        labels,
        filled("summary", f"{alert} on {node}" if node else alert),
        evidence,
        how,
        fix,
        texts["runbook_url"],
        certain=lasting(alert) <= CERTAIN,
    )

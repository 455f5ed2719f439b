"""What the doctor says."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

# The words that a description ends in before it repeats the fix.
_LEAD = re.compile(r"(?:^|(?<=\s))([A-Z][a-z]+(?: [a-z]+)*):$")


@frozen
class Suppressed:
    """A symptom that a finding explains, so that nobody is notified of it."""

    alert: str
    node: str
    target: str
    summary: str


@frozen
class Finding:
    """Something that is wrong. `alert` is the name of the rule that tells of it.

    `kind` is the rule's class: cause, symptom (with no known cause), performance or meta. `node` is
    "" where it is about the cluster. `since` is Unix seconds, None where that is not known.
    `certain`: it has lasted as long as the rule demands. `how` says what `fix` is: a command that
    repairs (`Fix`), something for a person's hands (`Remedy`), a place to look (`Look first`).
    """

    alert: str
    kind: str
    severity: str
    node: str
    labels: Mapping[str, str]
    summary: str
    evidence: str
    how: str
    fix: str
    runbook: str
    since: float | None = None
    certain: bool = True
    silenced: bool = False
    suppresses: tuple[Suppressed, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Which alert, of which node."""
        return (self.alert, self.node)


@frozen
class Look:
    """How much is known of a node: `age` of its data in seconds; why there is none in `error`."""

    node: str
    up: bool
    age: float | None = None
    error: str = ""


@frozen
class Examination:
    """All that was found, and how. `source` is `prometheus` or `exporters`.

    `problems` are lines about the looking itself: what could not be seen, and why.
    `muted`: symptoms that are held back though no cause of theirs is active (any more).
    `unjudged`: the rules that need more than was looked at.
    """

    cluster: str
    source: str
    url: str
    findings: tuple[Finding, ...]
    looks: tuple[Look, ...]
    problems: tuple[str, ...] = ()
    muted: tuple[Suppressed, ...] = ()
    rules: int = 0
    unjudged: tuple[str, ...] = ()
    without: str = field(default="")  # why Prometheus was not asked

    @property
    def healthy(self) -> bool:
        """Nothing is wrong, and enough was seen to say so."""
        return not self.findings and not self.problems


def parted(description: str, fix: str) -> tuple[str, str]:
    """A description without the fix that it ends in, and the words that lead to that."""
    text = description.removesuffix(fix).rstrip()
    found = _LEAD.search(text)
    if text == description or not found:
        return description, "Fix"
    return text[: found.start()].rstrip(), found[1]

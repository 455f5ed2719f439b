"""An examination as text for a terminal of 80 columns, and as data for JSON. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import click

from smolmon.doctor.finding import Examination, Finding, Suppressed
from smolmon.observe.sample import one_line

WIDTH = 80
_COLOURS = {"critical": "red", "warning": "yellow"}


def lines(found: Examination, now: float) -> Iterator[str]:
    """What a person reads; styled, for click.echo to strip where that is not wanted."""
    if found.without:
        yield from _wrapped(
            f"Prometheus cannot be asked: {found.without}. The exporters were asked themselves."
        )
        yield ""
    certain = [f for f in found.findings if f.certain]
    for finding in certain:
        yield from _finding(finding, now)
        yield ""
    pending = [f for f in found.findings if not f.certain]
    if pending:
        yield click.style("Not yet certain", bold=True)
        for finding in pending:
            since = f", for {_ago(now, finding.since)}" if finding.since else ""
            yield from _wrapped(f"{finding.summary} ({finding.alert}{since})", "  ")
            yield from _fix(finding)
        yield ""
    if found.muted:
        yield click.style("Held back, since their cause was known a moment ago", bold=True)
        for one in found.muted:
            yield from _wrapped(f"{one.summary} ({one.alert})", "  ")
        yield ""
    for problem in found.problems:
        yield from _wrapped(f"{click.style('note:', fg='yellow')} {problem}")
    yield from _wrapped(_verdict(found))
    yield from _wrapped(_looked(found))


def _finding(finding: Finding, now: float) -> Iterator[str]:
    colour = _COLOURS.get(finding.severity)
    yield from _wrapped(click.style(finding.summary, fg=colour, bold=True))
    since = f", for {_ago(now, finding.since)}" if finding.since else ""
    silenced = ", silenced" if finding.silenced else ""
    no_cause = ", a symptom: no cause is known" if finding.kind == "symptom" else ""
    where = f"{finding.node}: " if finding.node else ""
    yield click.style(
        f"  {where}{finding.severity} {finding.alert}{since}{silenced}{no_cause}", dim=True
    )
    if finding.evidence:
        yield from _wrapped(finding.evidence, "  ")
    yield from _fix(finding)
    if finding.suppresses:
        yield from _wrapped(f"Explains: {_explained(finding.suppresses)}", "  ")


def _fix(finding: Finding) -> Iterator[str]:
    """The command in one piece, however long, so that it can be copied."""
    if not finding.fix:
        return
    yield f"  {finding.how}:"
    yield f"    {click.style(one_line(finding.fix), fg='green')}"


def _explained(some: Sequence[Suppressed]) -> str:
    """`pi4, jetson cannot reach mini1`, as the symptoms' own summaries say it, together."""
    return "; ".join(dict.fromkeys(one.summary for one in some))


def _verdict(found: Examination) -> str:
    certain = [f for f in found.findings if f.certain]
    causes = sum(f.kind == "cause" for f in certain)
    others = len(certain) - causes
    parts = [_count(causes, "cause"), _count(others, "other alert")] if certain else []
    parts = [part for part in parts if not part.startswith("0 ")]
    if pending := len(found.findings) - len(certain):
        parts.append(f"{pending} not yet certain")
    if parts:
        return click.style(f"{found.cluster}: {', '.join(parts)}", bold=True)
    if found.problems:
        return click.style(
            f"{found.cluster}: nothing is known to be wrong, but not all was seen", bold=True
        )
    return click.style(f"{found.cluster}: healthy", fg="green", bold=True)


def _looked(found: Examination) -> str:
    up = [look for look in found.looks if look.up]
    ages = [look.age for look in up if look.age is not None]
    text = f"Looked at {len(up)} of {_count(len(found.looks), 'exporter')}"
    if found.source == "prometheus":
        age = f", the oldest data {max(ages):.0f} s old" if ages else ""
        return f"{text}{age}, by {found.rules} rules of Prometheus at {found.url}."
    if not up:
        text = f"{text} now. If none has ever run: `smolmon setup` installs them"
        return f"{text}, and `smolmon setup --plan` shows how."
    return (
        f"{text} now, by {found.rules} rules; {len(found.unjudged)} more (loss, delay, bandwidth "
        "and the like) need Prometheus."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _ago(now: float, since: float) -> str:
    seconds = max(0, round(now - since))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h"


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    """`text` in lines; what styles it does not count, nor does what nobody should see."""
    plain = one_line(click.unstyle(text))
    if plain == click.unstyle(text) and len(indent + plain) <= WIDTH:
        yield indent + text
        return
    pieces = textwrap.wrap(
        plain, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False
    )
    start, end = _style(text)
    for piece in pieces:
        yield f"{indent}{start}{piece}{end}"


def _style(text: str) -> tuple[str, str]:
    """The codes around a text that is styled as a whole."""
    plain = click.unstyle(text)
    start, found, end = text.partition(plain)
    return (start, end) if found else ("", "")


def data(found: Examination) -> dict[str, object]:
    """For --json; docs/doctor.md says what each is."""
    return {
        "cluster": found.cluster,
        "healthy": found.healthy,
        "source": found.source,
        "prometheus": {"url": found.url, "error": found.without or None},
        "findings": [_finding_data(f) for f in found.findings],
        "held_back": [_suppressed(s) for s in found.muted],
        "problems": list(found.problems),
        "nodes": [
            {"node": n.node, "up": n.up, "age": n.age, "error": n.error or None}
            for n in found.looks
        ],
        "rules": found.rules,
        "not_judged": list(found.unjudged),
    }


def _finding_data(finding: Finding) -> dict[str, object]:
    return {
        "alert": finding.alert,
        "class": finding.kind,
        "severity": finding.severity,
        "node": finding.node or None,
        "certain": finding.certain,
        "since": finding.since,
        "silenced": finding.silenced,
        "summary": finding.summary,
        "evidence": finding.evidence,
        "how": finding.how,
        "fix": finding.fix,
        "runbook": finding.runbook,
        "labels": dict(finding.labels),
        "suppresses": [_suppressed(s) for s in finding.suppresses],
    }


def _suppressed(one: Suppressed) -> dict[str, object]:
    return {"alert": one.alert, "node": one.node, "target": one.target, "summary": one.summary}

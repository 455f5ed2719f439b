"""One screen: the answer, what to run, the topology, the matrix, the tests. Pure.

Never wider or higher than asked for: what has no room is left out, the least needed first.
"""

from __future__ import annotations

from datetime import datetime

from attrs import evolve

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import timetable
from smolmon.status.ink import Line, Span, clip, fold, line, mark, width
from smolmon.status.matrix import matrix
from smolmon.status.model import Picture, State, Trouble, Verdict, Word
from smolmon.status.topology import topology
from smolmon.status.words import ago, rate, span

MOST_TROUBLES = 4
MARGIN = 11  # columns before what is said after the verdict and beside `fix`
ENDLESS = 100_000


def frame(
    cluster: Cluster, picture: Picture, columns: int, rows: int | None, now: float
) -> list[Line]:
    """The lines of a screen of `columns` by `rows`; None for as many rows as it takes."""
    high = ENDLESS if rows is None else rows
    columns = max(columns, 1)
    top = [*_answer(picture, columns), _about(cluster, picture, columns, now)]
    if picture.note and picture.note != picture.verdict.reason:
        top.append(clip(line(Span(f"   {picture.note}", State.DEGRADED.value)), columns))
    bottom = _tests(cluster, picture, columns, now)
    room = high - len(top) - len(bottom)
    others = _others(picture, columns, now)
    # The picture comes first; but that there is more than one trouble is always said.
    drawn = topology(cluster, picture, columns, max(0, room - 1 - min(len(others), 2)), now)
    room -= _block(drawn)
    others = others[: max(0, min(len(others), room))]
    room -= len(others)
    table = matrix(picture, columns, room - 1, now)
    blocks = [top + others, drawn, table, bottom]
    spare = high - sum(map(len, blocks))
    found: list[Line] = []
    for block in blocks:
        if found and block and spare > 0:
            found.append(())
            spare -= 1
        found += block
    return [clip(one, columns) for one in found[:high]]


def aged(picture: Picture, now: float, most: float) -> Picture:
    """The same; but if it is older than `most` seconds, it answers nothing any more."""
    age = now - picture.time
    if age <= most:
        return picture
    was = f"nothing was seen for {span(age)}; it was {picture.verdict.word.value} then"
    return evolve(picture, stale=True, verdict=Verdict(Word.UNKNOWN, was), troubles=())


def _block(lines: list[Line]) -> int:
    """Rows of a block and of the empty one before it."""
    return len(lines) + 1 if lines else 0


def _answer(picture: Picture, columns: int) -> list[Line]:
    """May I train? If not: why, and what to run."""
    verdict = picture.verdict
    state = verdict.word.state
    badge = f" {state.mark} {verdict.word.value} "
    reasons = fold(verdict.reason, max(8, columns - len(badge) - 1)) or [""]
    found: list[Line] = [
        line(Span(badge, f"{state.value}-badge"), Span(f" {reasons[0]}", "strong"))
    ]
    pad = " " * (len(badge) + 1)
    found += [line(Span(pad + more, "strong")) for more in reasons[1:6]]
    # What nobody answers has its own remedy in the reason.
    if verdict.word is not Word.READY and (picture.troubles or picture.seen):
        fix = picture.troubles[0].fix if picture.troubles else "smolmon doctor"
        name = "run" if fix.startswith(("smolmon ", "ssh ")) else "fix"
        found += _fix(name, fix, columns, strong=True)
    return found


def _fix(name: str, fix: str, columns: int, *, strong: bool = False) -> list[Line]:
    lead = f"   {name}  "
    style = "strong" if strong else ""
    lines = fold(fix, columns, lead, " " * len(lead))
    first = line(Span(lines[0][: len(lead)], "dim"), Span(lines[0][len(lead) :], style))
    return [first, *(line(Span(more, style)) for more in lines[1:4])]


def _about(cluster: Cluster, picture: Picture, columns: int, now: float) -> Line:
    """Where all this comes from. In order of need: what has no room is left out."""
    whole = picture.seen == len(cluster.nodes)
    seen = f"seen by {picture.source} {ago(now - picture.time)}"
    parts = [
        Span(cluster.name, "title"),
        Span(
            f"{picture.seen} of {len(cluster.nodes)} nodes answer",
            "dim" if whole else State.DEGRADED.value,
        ),
        Span(f"stale, {seen}", "strong") if picture.stale else Span(seen, "dim"),
    ]
    if picture.training is not None:
        busy = f"{picture.training} connections train" if picture.training else "nobody trains"
        parts.append(Span(busy, "title" if picture.training else "dim"))
    if picture.address:
        parts.append(Span(picture.address, "dim"))
    found: Line = (Span("   "),)
    for index, part in enumerate(parts):
        longer = (*found, Span(" · " if index else "", "dim"), part)
        if width(longer) > columns and index:
            break
        found = line(*longer)
    return found


def _others(picture: Picture, columns: int, now: float) -> list[Line]:
    """The other troubles: each on a line, and its remedy."""
    found: list[Line] = []
    for trouble in picture.troubles[1:MOST_TROUBLES]:
        found += _trouble(trouble, columns, now)
    more = len(picture.troubles) - MOST_TROUBLES
    if more > 0:
        found.append(line(Span(f"   … and {more} more: smolmon doctor", "dim")))
    return found


def _trouble(trouble: Trouble, columns: int, now: float) -> list[Line]:
    since = f"  {ago(now - trouble.since)}" if trouble.since else ""
    head = line(Span("  "), mark(trouble.state, trouble.summary), Span(since, "dim"))
    name = "run" if trouble.fix.startswith(("smolmon ", "ssh ")) else "fix"
    return [clip(head, columns), *_fix(name, trouble.fix, columns)]


def _tests(cluster: Cluster, picture: Picture, columns: int, now: float) -> list[Line]:
    """The last bandwidth test and the next one."""
    if not cluster.bandwidth.enabled:
        return [clip(line(Span("bandwidth tests are switched off", "dim")), columns)]
    last = "no bandwidth test yet"
    if test := picture.tested:
        least = f" of at least {rate(test.least)}" if test.least is not None else ""
        last = f"last test {test.source} → {test.target} {rate(test.rate)}{least}, "
        last += ago(now - test.time)
    after = _next(cluster, now)
    if len(last) + len(after) + 3 <= columns:
        return [line(Span(last, "dim"), Span(" · " if after else "", "dim"), Span(after, "dim"))]
    return [clip(line(Span(text, "dim")), columns) for text in (last, after) if text]


def _next(cluster: Cluster, now: float) -> str:
    table = timetable(cluster)
    if running := next(iter(table.at(now)), None):
        return f"slot of {running.test.source} → {running.test.target} now"
    slot = next(iter(table.slots(now, now + table.period + 1)), None)
    if slot is None:
        return "nothing to test"
    at = datetime.fromtimestamp(slot.start).astimezone().strftime("%H:%M:%S")
    return f"next {slot.test.source} → {slot.test.target} in {span(slot.start - now)}, at {at}"

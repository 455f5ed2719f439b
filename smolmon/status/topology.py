"""The topology as the guide draws it: the fabric on top, edge links below their gateways. Pure.

Three forms, the first that fits: core beside each other with trees below; one tree; what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from attrs import frozen

from smolmon.cluster import Cabling, Cluster, Segment, derive
from smolmon.status.ink import Line, Span, clip, cut, line, mark, width
from smolmon.status.model import Link, Node, Picture, State
from smolmon.status.words import percent, rate, short_rate, span, trip

NOTABLE_LOSS = 0.01
STALE_PERIODS = 2  # as SmolmonBandwidthStale has it
GAP = 2  # columns between two trees
FRAME = 3  # columns from the edge of the screen to the first node
WIDEST_GAP = 26


@frozen
class Detail:
    """How much is said: of links `labels` from 0 (a mark) to 3, of nodes `words` and addresses."""

    labels: int
    words: bool
    addresses: bool


DETAILS = (
    Detail(3, words=True, addresses=True),
    Detail(3, words=True, addresses=False),
    Detail(2, words=True, addresses=False),
    Detail(2, words=False, addresses=False),
    Detail(1, words=False, addresses=False),
    Detail(0, words=False, addresses=False),
)


def topology(cluster: Cluster, picture: Picture, columns: int, rows: int, now: float) -> list[Line]:
    """At most `rows` lines of at most `columns` columns each."""
    for form in (_side_by_side, _tree):
        for detail in DETAILS:
            lines = form(cluster, picture, columns, now, detail)
            if lines and len(lines) <= rows and max(map(width, lines)) <= columns:
                return lines
    return [clip(one, columns) for one in _wrong(picture)[:rows]]


def label(link: Link, detail: int, now: float, period: float) -> Span:
    """What is said of a link, in its colour."""
    if detail == 0:
        return mark(link.state)
    words = []
    if link.state is State.BROKEN:
        words.append("no answer")
    if link.rtt is not None:
        words.append(trip(link.rtt) if detail != 2 else trip(link.rtt).replace(" ", ""))
    if link.loss is not None and NOTABLE_LOSS < link.loss < 1:
        words.append(f"{percent(link.loss)} lost")
    if link.rate is not None and detail > 1:
        age = now - link.rate_time if link.rate_time is not None else 0.0
        stale = age > STALE_PERIODS * period
        if detail == 3:
            words.append(rate(link.rate) + (f" ({span(age)} ago)" if stale else ""))
        elif not stale:
            words.append(short_rate(link.rate))
    return mark(link.state, " ".join(words))


def named(node: Node) -> Span:
    """A node's mark and name."""
    return mark(node.state, node.name)


def title(segment: Segment, detail: Detail) -> str:
    """A segment in a few words."""
    if detail.labels == 0:
        return segment.name
    return f"{segment.name} {segment.subnet}"


@frozen
class _Column:
    """A node of the core: where it starts, and the tree below it."""

    node: Node
    tree: list[Line]
    left: int = 0


def _side_by_side(
    cluster: Cluster, picture: Picture, columns: int, now: float, detail: Detail
) -> list[Line]:
    core = cluster.segment(cluster.server.segment)
    names = [member.node for member in core.members]
    say = partial(label, detail=detail.labels, now=now, period=picture.period)
    joins = [_join(picture, core, a, b) for a, b in pairwise(names)]
    trees = [list(_below(cluster, picture, name, core, detail=detail, now=now)) for name in names]
    notes = [
        _notes(cluster, picture, core, name, joins=joins, detail=detail, say=say) for name in names
    ]
    lefts = _lefts(names, joins=joins, trees=trees, notes=notes, columns=columns, say=say)
    if not lefts:
        return []
    head: list[list[tuple[int, Line]]] = [[]]
    for index, name in enumerate(names):
        node = picture.node(name)
        head[0].append((lefts[index], (named(node),)))
        if index < len(joins) and (link := joins[index]):
            start = lefts[index] + len(name) + 3
            room = lefts[index + 1] - 1 - start
            text = say(link)
            dashes = room - len(text.text) - 2
            style = link.state.value
            before, after = "─" * (dashes // 2), "─" * (dashes - dashes // 2)
            wire = (Span(f"{before} ", style), text, Span(f" {after}", style))
            head[0].append((start, wire))
    for depth in range(max(map(len, notes))):
        head.append([(lefts[i], note[depth]) for i, note in enumerate(notes) if depth < len(note)])
    inner = columns - 2
    wiring = "chain" if core.cabling is Cabling.CHAIN and len(names) > 2 else ""
    about = f" {title(core, detail)} {core.kind.value} {wiring}".rstrip() + " "
    about = cut(about, inner)
    rest = "─" * (inner - len(about)) + "┐"
    found = [line(Span("┌", "dim"), Span(about, "title"), Span(rest, "dim"))]
    for row in head:
        body = _laid([*row, (columns - 1, (Span("│", "dim"),))])
        found.append((Span("│", "dim"), Span(body[0].text[1:]), *body[1:]))
    bottom = ["─"] * inner
    for left, tree in zip(lefts, trees, strict=True):
        if tree:
            bottom[left - 1] = "┬"
    found.append((Span("└" + "".join(bottom) + "┘", "dim"),))
    for depth in range(max(map(len, trees))):
        found.append(
            _laid([(lefts[i], tree[depth]) for i, tree in enumerate(trees) if depth < len(tree)])
        )
    return found + _loose(cluster, picture)


def _notes(
    cluster: Cluster,
    picture: Picture,
    core: Segment,
    name: str,
    *,
    joins: Sequence[Link | None],
    detail: Detail,
    say: partial[Span],
) -> list[Line]:
    """What stands below the name of a node of the core."""
    node = picture.node(name)
    role = f"{node.role} {cluster.address(name, core.name)}" if detail.labels > 2 else node.role
    found = [line(Span(role, "dim"))]
    link = picture.link(name, core.name)
    if link and link not in joins:
        found.insert(0, (say(link),))
    if node.words and detail.words:
        found.append((Span(node.words, node.state.value),))
    return found


def _join(picture: Picture, core: Segment, a: str, b: str) -> Link | None:
    """The link between two that stand next to each other, if there is one."""
    for far, near in ((a, b), (b, a)):
        link = picture.link(far, core.name)
        if link and link.near == near:
            return link
    return None


def _lefts(
    names: Sequence[str],
    *,
    joins: Sequence[Link | None],
    trees: Sequence[list[Line]],
    notes: Sequence[list[Line]],
    columns: int,
    say: partial[Span],
) -> list[int]:
    """Where each node of the core starts; nothing if they need more than `columns`."""
    lefts: list[int] = []
    free = [FRAME, FRAME]  # for the next node, for the next tree
    for index, name in enumerate(names):
        left = max(free) if trees[index] else free[0]
        lefts.append(left)
        needs = max(len(name) + 2, *(width(note) for note in notes[index]))
        link = joins[index] if index < len(joins) else None
        wire = len(name) + 3 + len(say(link).text) + 5 if link else 0
        free[0] = left + max(needs + GAP, wire)
        if trees[index]:
            free[1] = left + max(map(width, trees[index])) + GAP
    last = left + needs
    used = max(last + 2, max(free[1] - GAP, 0) if any(trees) else 0)
    if used > columns:
        return []
    spread = min((columns - used) // max(1, len(names) - 1), WIDEST_GAP)
    return [left + index * spread for index, left in enumerate(lefts)]


def _below(
    cluster: Cluster,
    picture: Picture,
    node: str,
    above: Segment,
    *,
    detail: Detail,
    now: float,
    along: bool = False,
) -> Iterator[Line]:
    """The tree below a node: its segments, and the nodes on them.

    `above` is the segment that it stands on; with `along`, others on that one hang on it as well.
    """
    groups = [
        (segment, [x for x in picture.links if (x.near, x.segment) == (node, segment.name)])
        for segment in cluster.routed
        if segment != above or along
    ]
    groups = [(segment, links) for segment, links in groups if links]
    for number, (segment, links) in enumerate(groups):
        if segment != above:
            yield line(Span("│ ", "dim"), Span(title(segment, detail), "title"))
        labels = [label(x, detail.labels, now, picture.period) for x in links]
        widest = max(len(text.text) for text in labels)
        for index, (link, text) in enumerate(zip(links, labels, strict=True)):
            last = number == len(groups) - 1 and index == len(links) - 1
            branch, stem = ("└─", "  ") if last else ("├─", "│ ")
            pad = "─" * (widest - len(text.text) + 1)
            yield (
                Span(branch, link.state.value),
                text,
                Span(f" {pad} ", link.state.value),
                *_described(cluster, picture, link.far, segment, detail),
            )
            deeper = _below(cluster, picture, link.far, segment, detail=detail, now=now, along=True)
            for one in deeper:
                yield (Span(f"{stem}  ", "dim"), *one)


def _described(
    cluster: Cluster, picture: Picture, name: str, segment: Segment, detail: Detail
) -> Line:
    node = picture.node(name)
    parts = [named(node)]
    if detail.addresses:
        parts.append(Span(f" {cluster.address(name, segment.name)}", "dim"))
    if detail.words and node.words:
        parts.append(Span(f" {node.words}", node.state.value))
    return tuple(parts)


def _tree(
    cluster: Cluster, picture: Picture, columns: int, now: float, detail: Detail
) -> list[Line]:
    core = cluster.segment(cluster.server.segment)
    server = cluster.server.node
    found = [
        line(Span(title(core, detail), "title")),
        _described(cluster, picture, server, core, detail),
    ]
    found += _below(cluster, picture, server, core, detail=detail, now=now, along=True)
    return found + _loose(cluster, picture)


def _loose(cluster: Cluster, picture: Picture) -> list[Line]:
    """The nodes that no segment joins to the others."""
    nodes = [n for n in picture.nodes if derive.home(cluster, n.name) is None]
    if not nodes:
        return []
    return [line(Span("on no segment: ", "dim"), *(mark(n.state, f"{n.name} ") for n in nodes))]


def _wrong(picture: Picture) -> list[Line]:
    """How many nodes and links are how; then those that are not ok, one a line."""
    found = [
        line(
            Span(f"{what} ", "dim"),
            *(
                mark(state, f"{count} {state.value}  ")
                for state in State
                if (count := sum(one.state is state for one in things))
            ),
        )
        for what, things in (("nodes", picture.nodes), ("links", picture.links))
    ]
    bad = [n for n in picture.nodes if n.state is not State.OK]
    order = (State.BROKEN, State.DEGRADED, State.UNKNOWN)
    for node in sorted(bad, key=lambda n: order.index(n.state)):
        found.append(line(named(node), Span(f"  {node.words}", node.state.value)))
    for link in sorted(picture.links, key=lambda x: x.state is not State.BROKEN):
        if link.state in (State.BROKEN, State.DEGRADED):
            found.append(line(mark(link.state, f"{link.near} — {link.far} over {link.segment}")))
    return found


def _laid(parts: Sequence[tuple[int, Line]]) -> Line:
    """Lines at their places on one line; they do not overlap."""
    found: list[Span] = [Span("")]
    here = 0
    for left, spans in parts:
        found.append(Span(" " * (left - here)))
        found += spans
        here = max(left, here) + width(spans)
    if found[1:]:  # the first span is only blanks, for whoever draws a frame over it
        found = [found[1], *found[2:]]
    return tuple(found)

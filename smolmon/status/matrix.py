"""Round trips, loss and bandwidth, node by peer. Pure.

Three tables where they fit, else one with all in a cell, else the worst paths as a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smolmon.status.ink import Line, Span, beside, clip, cut, line, width
from smolmon.status.model import Path, Picture, State
from smolmon.status.topology import STALE_PERIODS
from smolmon.status.words import percent, short_rate, span, trip_ms

Cell = Span
WIDEST_NAME = 14
NOTHING = Span("")
ORDER = (State.BROKEN, State.DEGRADED, State.UNKNOWN, State.OK)
INTERNET = "internet"


def matrix(picture: Picture, columns: int, rows: int, now: float) -> list[Line]:
    """At most `rows` lines of at most `columns` columns each."""
    if not picture.paths or rows < 2:
        return []
    nodes = [node.name for node in picture.nodes]
    peers = [n for n in (*nodes, INTERNET) if any(p.target == n for p in picture.paths)]
    if len(peers) * 5 > columns:  # the narrowest cells there are
        return _worst(picture, columns, rows, now)
    if len(nodes) + 2 <= rows:
        three = _three(picture, nodes, peers, now)
        if max(map(width, three)) <= columns:
            return three
    if len(nodes) + 1 <= rows:
        for chosen in (peers, [p for p in peers if p != INTERNET]):
            one = _one(picture, nodes, chosen, columns, now)
            if one and len(one) < rows:
                means = f"round trip in ms{_mean(picture.window)}; loss if any; last test in bit/s"
                return [clip(line(Span(means, "title")), columns), *one]
            if one:
                return one
    return _worst(picture, columns, rows, now)


def _three(picture: Picture, nodes: Sequence[str], peers: Sequence[str], now: float) -> list[Line]:
    def tested(path: Path) -> Cell:
        return _rate(path, picture.period, now)

    tables = [
        (f"round trip, ms{_mean(picture.window)}", _rtt, peers),
        (f"loss{_mean(picture.loss_window)}", _loss, peers),
        ("last test, bit/s received", tested, [p for p in peers if p != INTERNET]),
    ]
    blocks = []
    for name, cell, chosen in tables:
        widths = [
            max(len(cut(p, 8)), 4, *(len(_at(picture, n, p, cell).text) for n in nodes)) + 1
            for p in chosen
        ]
        block = _table(picture, nodes, chosen, cell, widths)
        blocks.append([line(Span(name, "title")), *block])
    return beside(beside(blocks[0], blocks[1], 3), blocks[2], 3)


def _mean(seconds: float) -> str:
    return f", {span(seconds)}" if seconds else ""


def _one(
    picture: Picture, nodes: Sequence[str], peers: Sequence[str], columns: int, now: float
) -> list[Line]:
    """One table; nothing if its cells have no room."""
    first = _first(nodes)
    each = (columns - first) // max(1, len(peers))

    def all_of_it(path: Path) -> Cell:
        rtt, loss, rate = _rtt(path), _loss(path), _rate(path, picture.period, now)
        parts = [rtt.text]
        if path.loss and rtt.text != loss.text:
            parts.append(loss.text)
        if path.rate is not None:
            parts.append(rate.text)
        while len(parts) > 1 and len(" ".join(parts)) > each - 1:
            parts.pop()
        return Span(" ".join(parts), path.state.value)

    longest = max((len(_at(picture, n, p, _rtt).text) for n in nodes for p in peers), default=0)
    if each - 1 < max(longest, 6):
        return []
    widths = [min(each, 16)] * len(peers)
    return _table(picture, nodes, peers, all_of_it, widths)


def _table(
    picture: Picture,
    nodes: Sequence[str],
    peers: Sequence[str],
    cell: Callable[[Path], Cell],
    widths: Sequence[int],
) -> list[Line]:
    first = _first(nodes)
    head = [Span(cut(p, w - 1).rjust(w), "dim") for p, w in zip(peers, widths, strict=True)]
    found: list[Line] = [(Span(" " * first), *head)]
    for node in nodes:
        row = [Span(cut(node, first - 1).ljust(first), "dim")]
        for peer, wide in zip(peers, widths, strict=True):
            shown = _at(picture, node, peer, cell)
            row.append(Span(cut(shown.text, wide - 1).rjust(wide), shown.style))
        found.append(tuple(row))
    return found


def _first(nodes: Sequence[str]) -> int:
    return min(max(map(len, nodes)), WIDEST_NAME) + 1


def _at(picture: Picture, node: str, peer: str, cell: Callable[[Path], Cell]) -> Cell:
    if node == peer:
        return Span("·", "dim")
    path = picture.path(node, peer)
    return cell(path) if path else NOTHING


def _rtt(path: Path) -> Cell:
    if not path.pinged:
        return NOTHING
    if path.answers is False:
        return Span(State.BROKEN.mark, State.BROKEN.value)
    if path.rtt is None:
        return Span(State.UNKNOWN.mark, State.UNKNOWN.value)
    return _flagged(trip_ms(path.rtt), path.rtt_state)


def _loss(path: Path) -> Cell:
    if not path.pinged:
        return NOTHING
    if path.loss is None:
        return Span(State.UNKNOWN.mark, State.UNKNOWN.value)
    return _flagged(percent(path.loss), path.loss_state)


def _rate(path: Path, period: float, now: float) -> Cell:
    if path.rate is None:
        return Span(State.UNKNOWN.mark, State.UNKNOWN.value) if path.tested else NOTHING
    if path.rate_time is not None and now - path.rate_time > STALE_PERIODS * period:
        age = span(now - path.rate_time).replace(" ", "").replace("min", "m")
        return Span(f"{short_rate(path.rate)} {age}", State.UNKNOWN.value)
    return _flagged(short_rate(path.rate), path.rate_state)


def _flagged(text: str, state: State) -> Cell:
    """What is not ok has a mark, for those who see no colours."""
    return Span(text if state is State.OK else f"{text}{state.mark}", state.value)


def _worst(picture: Picture, columns: int, rows: int, now: float) -> list[Line]:
    """The paths as a list: those that are not ok, and then the slowest."""
    paths = sorted(
        (p for p in picture.paths if p.pinged),
        key=lambda p: (ORDER.index(p.state), -(p.rtt or 0.0)),
    )
    if not paths:
        return []
    shown = paths[: rows - 1]
    head = f"worst {len(shown)} of {len(paths)} paths: round trip in ms, loss, last test in bit/s"
    if len(shown) == len(paths):
        head = "paths: round trip in ms, loss, last test in bit/s"
    names = [f"{cut(p.source, 24)} → {cut(p.target, 24)}" for p in shown]
    widest = max(map(len, names))
    found = [line(Span(head, "title"))]
    for path, name in zip(shown, names, strict=True):
        cells = (_rtt(path), _loss(path), _rate(path, picture.period, now))
        found.append(
            (
                Span(name.ljust(widest + 1), "dim"),
                *(Span(f" {cell.text.rjust(6)}", cell.style) for cell in cells),
            )
        )
    return [clip(one, columns) for one in found]

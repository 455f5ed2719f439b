"""Text in styles, cut to a width. A style is a name that :mod:`smolmon.status.screen` colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from attrs import field, frozen
from rich.cells import cell_len

from smolmon.status.model import State


def narrow(text: str) -> str:
    """`text`, which others may have written, in characters of one column each."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and cell_len(c) == 1 and _known(c) else "?" for c in text)


def _known(char: str) -> bool:
    """Whether all terminals agree that it takes one column."""
    return unicodedata.east_asian_width(char) not in "WF"


@frozen
class Span:
    """Some text in one style: the value of a State, `title`, `dim`, `strong` or "" for none."""

    text: str = field(converter=narrow)
    style: str = ""


Line = tuple[Span, ...]

# How all that we draw with looks where a terminal has no such characters.
ASCII = str.maketrans("✓✗─│┌┐└┘├┤┬┴┼…·—→", "+x-|+++++++++~,->")


def line(*parts: Span | str) -> Line:
    """A line of spans; plain text is a span without a style."""
    return tuple(Span(p) if isinstance(p, str) else p for p in parts)


def mark(state: State, text: str = "") -> Span:
    """The sign of a state, and some text, in its colour."""
    return Span(f"{state.mark} {text}" if text else state.mark, state.value)


def width(parts: Line) -> int:
    """Columns of the terminal."""
    return sum(len(span.text) for span in parts)


def cut(text: str, columns: int) -> str:
    """`text` in at most so many columns; what is missing is an ellipsis."""
    if len(text) <= columns:
        return text
    return text[: columns - 1] + "…" if columns > 0 else ""


def clip(parts: Line, columns: int) -> Line:
    """The same for a line."""
    if width(parts) <= columns:
        return parts
    found: list[Span] = []
    room = columns
    for span in parts:
        if len(span.text) >= room:
            # One more character, so that the cut shows where the rest begins with another span.
            found.append(Span(cut(span.text + " ", room), span.style))
            break
        found.append(span)
        room -= len(span.text)
    return tuple(found)


def fold(text: str, columns: int, first: str = "", rest: str = "") -> list[str]:
    """`text` on as many lines as it needs, cut between words; a longer word is cut in itself."""
    text = narrow(text)
    lines, now, indent = [], first, rest
    empty = True
    for word in text.split(" "):
        left = word
        if not empty and len(now) + 1 + len(left) > columns:
            lines.append(now)
            now, empty = indent, True
        elif not empty:
            now += " "
        while len(now) + len(left) > columns > len(now):
            room = columns - len(now)
            lines.append(now + left[:room])
            left = left[room:]
            now = indent
        now += left
        empty = False
    return [cut(one, columns) for one in (*lines, now)]


def beside(left: Sequence[Line], right: Sequence[Line], gap: int) -> list[Line]:
    """Two blocks next to each other."""
    columns = max(map(width, left), default=0) + gap
    found = []
    for index in range(max(len(left), len(right))):
        one = left[index] if index < len(left) else ()
        other = right[index] if index < len(right) else ()
        space = Span(" " * (columns - width(one)))
        found.append((*one, space, *other) if other else one)
    return found


def plain(lines: Iterable[Line]) -> str:
    """The text alone."""
    return "\n".join("".join(span.text for span in one).rstrip() for one in lines)

"""Edits of a cluster file's text, so that comments, order and indentation stay. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import yaml
from attrs import frozen


class EditError(ValueError):
    """The text cannot be edited. One line, with the remedy."""


@frozen
class Edit:
    """Replace text[start:end] by `text`."""

    start: int
    end: int
    text: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """`text` after `edits`, which do not overlap; of two at one place the first comes last."""
    # From the end to the beginning, so that places do not move.
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def replaced(node: yaml.Node, text: str) -> Edit:
    """Another value where that of `node` stands."""
    return Edit(node.start_mark.index, node.end_mark.index, text)


def entries_of(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    """The keys and values of a mapping; of anything else none."""
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def value_of(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """The value of `key` in a mapping."""
    return next((value for name, value in entries_of(node) if name.value == key), None)

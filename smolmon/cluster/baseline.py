"""Puts recorded bandwidths into the text of a cluster file, and leaves all else as it is. Pure.

Figures that are there are replaced where they stand; new ones become lines of their own. Comments,
order and indentation stay. Whatever the edit gave is read again: unless exactly the baseline has
changed, it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from attrs import evolve, frozen

from smolmon.cluster.edit import Edit, EditError, edited, entries_of, replaced, value_of
from smolmon.cluster.load import ClusterError, parse

Key = tuple[str, str, str]  # link, source, target


def with_baseline(text: str, file: str, figures: Mapping[Key, str]) -> str:
    """`text` with `figures` (such as `9.4Gbit/s`) as its baseline; others that it has stay.

    Raises EditError, and ClusterError where `text` is no cluster file.
    """
    before = parse(text, file)
    if not figures:
        return text
    made = edited(text, _edits(text, file, figures))
    try:
        after = parse(made, file)
    except ClusterError as error:
        raise EditError(_refused(file, 1, f"would become unusable ({error})")) from None
    # It must be what was asked for, and nothing else.
    wanted = {(b.link, b.source, b.target): b.bandwidth for b in before.bandwidth.baseline}
    found = {(b.link, b.source, b.target): b.bandwidth for b in after.bandwidth.baseline}
    kept = {key: value for key, value in wanted.items() if key not in figures}
    same = evolve(after, bandwidth=evolve(after.bandwidth, baseline=before.bandwidth.baseline))
    if same != before or found.keys() != wanted.keys() | figures.keys():
        raise EditError(_refused(file, 1, "is written in a way that cannot be edited safely"))
    if any(found[key] != value for key, value in kept.items()):
        raise EditError(_refused(file, 1, "is written in a way that cannot be edited safely"))
    return made


def _refused(file: str, line: int, why: str) -> str:
    return f"{file}:{line}: {why}; write `bandwidth` and its `baseline` over several lines"


def _edits(text: str, file: str, figures: Mapping[Key, str]) -> list[Edit]:
    newline = "\r\n" if "\r\n" in text else "\n"
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    assert top is not None  # noqa: S101 - it is a cluster file
    place = _Place(text, file, newline)
    section = value_of(top, "bandwidth")
    grouped: dict[str, dict[str, str]] = {}
    for (link, source, target), value in figures.items():
        grouped.setdefault(link, {})[f"{source}->{target}"] = value
    if section is None:
        return [place.append(["bandwidth:", *_block(grouped, "  ")])]
    recorded = value_of(section, "baseline")
    if recorded is None or not entries_of(recorded):
        if recorded is not None:  # `baseline:` with nothing below it, or `{}`
            return [place.below(section, "baseline", recorded, _block(grouped, "")[1:])]
        return [place.first(top, "bandwidth", section, _block(grouped, ""))]
    edits: list[Edit] = []
    unknown: dict[str, dict[str, str]] = {}
    for link, values in grouped.items():
        entries = value_of(recorded, link)
        if entries is None or not entries_of(entries):
            unknown[link] = values
            continue
        new = []
        for name, value in values.items():
            old = value_of(entries, name)
            if old is None:
                new.append(f"{name}: {value}")
            else:
                edits.append(replaced(old, value))
        if new:
            edits.append(place.after(entries, new))
    # First, so that at the same place they come to stand behind what is new in the last link.
    return [*([place.after(recorded, _links(unknown))] if unknown else []), *edits]


def _block(grouped: Mapping[str, Mapping[str, str]], indent: str) -> list[str]:
    lines = ["baseline: # by `smolmon bandwidth baseline`", *(f"  {x}" for x in _links(grouped))]
    return [indent + line for line in lines]


def _links(grouped: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [
        line
        for link, values in grouped.items()
        for line in (f"{link}:", *(f"  {n}: {v}" for n, v in values.items()))
    ]


def _in_braces(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)


@frozen
class _Place:
    """Where lines can be put in."""

    text: str
    file: str
    newline: str

    def append(self, lines: list[str]) -> Edit:
        """At the end of the file."""
        end = len(self.text)
        gap = "" if self.text.endswith("\n") else self.newline
        return Edit(end, end, gap + self.newline + self._joined(lines, 0))

    def first(self, parent: yaml.Node, key: str, child: yaml.Node, lines: list[str]) -> Edit:
        """As the first entries of the mapping `child`, which stands below its key in `parent`."""
        name = next(n for n, _ in entries_of(parent) if n.value == key)
        if not entries_of(child):
            return self.below(parent, key, child, lines)
        head = entries_of(child)[0][0]
        if _in_braces(child) or head.start_mark.line == name.start_mark.line:
            raise self._refusal(child)
        at = self._line_end(name.end_mark.index)
        return Edit(at, at, self._joined(lines, head.start_mark.column))

    def below(self, parent: yaml.Node, key: str, empty: yaml.Node, lines: list[str]) -> Edit:
        """Below `key`, which has no value yet."""
        name = next(n for n, _ in entries_of(parent) if n.value == key)
        if _in_braces(parent) or empty.start_mark.index != empty.end_mark.index:
            raise self._refusal(empty)
        at = self._line_end(name.end_mark.index)
        return Edit(at, at, self._joined(lines, name.start_mark.column + 2))

    def after(self, mapping: yaml.Node, lines: list[str]) -> Edit:
        """Behind the last entry of `mapping`."""
        first = entries_of(mapping)[0][0]
        leaf = mapping
        # Not the mapping's own end, which is where the next thing begins; that of braces is right.
        while entries_of(leaf) and not _in_braces(leaf):
            leaf = entries_of(leaf)[-1][1]
        if _in_braces(mapping):
            raise self._refusal(mapping)
        at = self._line_end(leaf.end_mark.index)
        gap = "" if self.text[at - 1 : at] == "\n" else self.newline
        return Edit(at, at, gap + self._joined(lines, first.start_mark.column))

    def _line_end(self, index: int) -> int:
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found + 1

    def _joined(self, lines: list[str], column: int) -> str:
        return "".join(f"{' ' * column}{line}{self.newline}" for line in lines)

    def _refusal(self, node: yaml.Node) -> EditError:
        why = "there is no place for a new line here"
        return EditError(_refused(self.file, node.start_mark.line + 1, why))

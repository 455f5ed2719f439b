"""YAML whose every value knows the line it stands on.

Scalars stay text, exactly as written: YAML 1.1 would read the MAC address 11:22:33:44:55:56 as a
number in base 60, and the node name `no` as false.
"""

from __future__ import annotations

import re

import yaml
from attrs import frozen


@frozen
class Problem:
    """One thing wrong with a file: where, what, and how to put it right.

    `line` is 0 where it is wrong as a whole.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        key = f"{self.key}: " if self.key else ""
        # A key may hold anything that YAML can; this is one line.
        return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", f"{self.file}{line}: {key}{self.message}")


@frozen
class Place:
    """A value and where it stands. `value` is None, text, a mapping or a sequence of places."""

    value: str | dict[str, Place] | list[Place] | None
    line: int
    key: str  # dotted path from the top: nodes.pi4.address

    @property
    def shape(self) -> str:
        """What a person would call this value."""
        if self.value is None:
            return "nothing"
        return {str: "text", dict: "a mapping", list: "a list"}[type(self.value)]


class YamlError(ValueError):
    """The text is not usable YAML; carries one Problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read(text: str, file: str) -> Place:
    """Parse `text`. Raises YamlError for bad syntax, duplicate keys and keys that are not text."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return _Walk(file).place(node, "", 0) if node else Place(None, 1, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        said = error.problem or "cannot be read"
        raise YamlError(Problem(file, line, "", f"not valid YAML: {said}")) from error
    except RecursionError as error:
        raise YamlError(Problem(file, 1, "", "not a cluster file: nested too deeply")) from error
    except yaml.YAMLError as error:
        said = str(error).splitlines()[0]
        raise YamlError(Problem(file, 1, "", f"not valid YAML: {said}")) from error


# A cluster file needs five levels and some thousand values; more is an alias that holds itself.
_DEEPEST = 20
_MOST = 200_000


class _Walk:
    """Turns YAML's nodes into places."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.seen = 0

    def wrong(self, line: int, key: str, message: str) -> YamlError:
        return YamlError(Problem(self.file, line, key, message))

    def place(self, node: yaml.Node, key: str, depth: int) -> Place:
        line = node.start_mark.line + 1
        self.seen += 1
        if depth > _DEEPEST or self.seen > _MOST:
            raise self.wrong(line, key, "is nested too deeply, or repeated too often by aliases")
        if isinstance(node, yaml.ScalarNode):
            empty = node.tag == "tag:yaml.org,2002:null"
            return Place(None if empty else node.value, line, key)
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return Place([self.place(n, f"{key}[{i}]", depth + 1) for i, n in items], line, key)
        entries: dict[str, Place] = {}
        for name, value in node.value:
            # A mapping's own line is that of its key: that is where a reader looks.
            line_of_key = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise self.wrong(line_of_key, key, "a key must be text")
            path = f"{key}.{name.value}" if key else name.value
            if name.value in entries:
                first = entries[name.value].line
                again = f"stands here for the second time (first on line {first}); keep one"
                raise self.wrong(line_of_key, path, again)
            inner = self.place(value, path, depth + 1)
            entries[name.value] = Place(inner.value, line_of_key, path)
        return Place(entries, line, key)

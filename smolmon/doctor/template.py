"""The texts of the rules, filled in as Prometheus does.

As much of Go's text/template, and of the functions that Prometheus adds, as those texts use
(https://pkg.go.dev/text/template, https://prometheus.io/docs/prometheus/latest/configuration/
template_reference/). A test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from smolmon.observe.sample import Sample

Query = Callable[[str], list[Sample]]

_ACTION = re.compile(r"\{\{(?P<left>-\s)?\s*(?P<code>.*?)\s*(?P<right>\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|:=|[|(),]|\$?[\w]*(?:\.\w+)+|\.|\$?\w+)')


class TemplateError(ValueError):
    """The text uses something that is not known here."""


def fill(text: str, labels: Mapping[str, str], value: float, query: Query) -> str:
    """The text of an alert with `labels` and `value`. Raises TemplateError, and what `query` does.

    White space is one space, as people read it.
    """
    filling = _Filling({"$labels": labels, "$value": value}, query)
    return " ".join("".join(filling.text(_parse(text), None)).split())


# --- parse: a list of texts and actions, an action with a list of branches where it is a block


@define
class _Block:
    """`branches`: the code that opens each (`if ...`, `else if ...`, `else`), and what is in it."""

    branches: list[tuple[str, list[Any]]] = field(factory=list)


def _parse(text: str) -> list[Any]:
    stack: list[list[Any]] = [[]]
    blocks: list[_Block] = []
    for kind, part in _parts(text):
        opens = part.split(None, 1)[0] if kind == "code" and part else ""
        if opens in ("if", "with", "range"):
            block = _Block()
            stack[-1].append(block)
            blocks.append(block)
            _open(block, part, stack)
        elif opens == "else":
            stack.pop()
            _open(blocks[-1], part, stack)
        elif opens == "end":
            stack.pop()
            blocks.pop()
        else:
            stack[-1].append((kind, part))
    if blocks:
        raise TemplateError("a block has no end")
    return stack[0]


def _open(block: _Block, code: str, stack: list[list[Any]]) -> None:
    inner: list[Any] = []
    block.branches.append((code, inner))
    stack.append(inner)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    end = 0
    trim = False
    for found in _ACTION.finditer(text):
        before = text[end : found.start()]
        before = before.lstrip() if trim else before
        yield "text", before.rstrip() if found["left"] else before
        yield "code", found["code"]
        end, trim = found.end(), bool(found["right"])
    yield "text", text[end:].lstrip() if trim else text[end:]


# --- fill


@define
class _Filling:
    variables: dict[str, Any]
    query: Query

    def text(self, nodes: list[Any], dot: Any) -> Iterator[str]:  # noqa: ANN401
        for node in nodes:
            if isinstance(node, _Block):
                yield from self.block(node, dot)
            elif node[0] == "text":
                yield node[1]
            else:
                yield self.action(node[1], dot)

    def action(self, code: str, dot: Any) -> str:  # noqa: ANN401
        name, assigned, rest = code.partition(":=")
        value = self.pipeline(rest if assigned else code, dot)
        if not assigned:
            return _printed(value)
        self.variables[name.strip()] = value
        return ""

    def block(self, block: _Block, dot: Any) -> Iterator[str]:  # noqa: ANN401
        for code, inner in block.branches:
            words = code.removeprefix("else").split(None, 1)
            if not words:
                yield from self.text(inner, dot)
                return
            kind, condition = words
            names, assigned, rest = condition.partition(":=")
            value = self.pipeline(rest if assigned else condition, dot)
            if kind == "range":
                yield from self.range(names if assigned else "", value, inner)
                return
            if value:
                if assigned:
                    self.variables[names.strip()] = value
                yield from self.text(inner, value if kind == "with" else dot)
                return

    def range(self, names: str, values: Sequence[Any], inner: list[Any]) -> Iterator[str]:
        index, _, item = (name.strip() for name in names.partition(","))
        for number, value in enumerate(values):
            self.variables |= {index: number, item: value}
            yield from self.text(inner, value)

    def pipeline(self, code: str, dot: Any) -> Any:  # noqa: ANN401
        tokens = _TOKEN.findall(code)
        if "".join(tokens) != re.sub(r'\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', "", code):
            raise TemplateError(code)
        value = self._pipeline(tokens, dot)
        if tokens:
            raise TemplateError(code)
        return value

    def _pipeline(self, tokens: list[str], dot: Any) -> Any:  # noqa: ANN401
        """Takes what it reads off `tokens`, up to a closing parenthesis."""
        value = self._command(tokens, dot, [])
        while tokens and tokens[0] == "|":
            tokens.pop(0)
            value = self._command(tokens, dot, [value])
        return value

    def _command(self, tokens: list[str], dot: Any, piped: list[Any]) -> Any:  # noqa: ANN401
        name = tokens[0] if tokens else ""
        function = tokens.pop(0) if re.fullmatch("[a-zA-Z]+", name) else ""
        operands = []
        while tokens and tokens[0] not in ("|", ")"):
            operands.append(self._operand(tokens, dot))
        if not function:
            if len(operands) != 1 or piped:
                raise TemplateError(f"{operands!r} is not one value")
            return operands[0]
        return self._call(function, operands + piped)

    def _operand(self, tokens: list[str], dot: Any) -> Any:  # noqa: ANN401
        word = tokens.pop(0)
        if word == "(":
            value = self._pipeline(tokens, dot)
            if not tokens or tokens.pop(0) != ")":
                raise TemplateError("a parenthesis is open")
            if tokens and re.fullmatch(r"(\.\w+)+", tokens[0]):
                return _path(value, tokens.pop(0))
            return value
        if word.startswith('"'):
            return word[1:-1].replace('\\"', '"')
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", word):
            return float(word)
        if word == ".":
            return dot
        name, point, rest = word.partition(".")
        if name in self.variables or not name:
            return _path(self.variables[name] if name else dot, point + rest)
        raise TemplateError(word)

    def _call(self, name: str, operands: list[Any]) -> Any:  # noqa: ANN401
        if name == "query":
            return self.query(*operands)
        try:
            return _FUNCTIONS[name](*operands)
        except (KeyError, TypeError, IndexError) as error:
            raise TemplateError(f"{name} {operands!r}: {error}") from error


def _path(value: Any, path: str) -> Any:  # noqa: ANN401
    for name in path.strip(".").split(".") if path else ():
        if isinstance(value, Sample):
            value = {"Labels": value.labels, "Value": value.value}[name]
        elif isinstance(value, Mapping):
            value = value.get(name, "")
        else:
            raise TemplateError(f"{value!r} has no {name}")
    return value


def _printed(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def _sprintf(pattern: str, *values: Any) -> str:  # noqa: ANN401
    return pattern % tuple(_printed(value) for value in values)


def _duration(seconds: float) -> str:
    """As Prometheus' humanizeDuration, for what is not negative."""
    if seconds < 1:
        for factor, unit in ((1e3, "ms"), (1e6, "us"), (1e9, "ns")):
            if seconds * factor >= 1:
                return f"{seconds * factor:.4g}{unit}"
        return "0s"
    if seconds < 60:
        return f"{seconds:.4g}s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (whole % 60, "s")]
    while not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number}{unit}" for number, unit in parts)


def _humanize(value: float) -> str:
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{unit}"
    return f"{value:.4g}"


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "printf": _sprintf,
    "or": lambda *values: next((v for v in values if v), values[-1]),
    "and": lambda *values: next((v for v in values if not v), values[-1]),
    "eq": lambda value, *others: value in others,
    "gt": lambda one, other: one > other,
    "len": len,
    "first": lambda values: values[0],
    "value": lambda sample: sample.value,
    "sortByLabel": lambda name, samples: sorted(samples, key=lambda s: s.labels.get(name, "")),
    "humanize": _humanize,
    "humanizeDuration": _duration,
    "humanizePercentage": lambda value: f"{value * 100:.4g}%",
}

"""The few expressions that the rules' texts ask, answered from the samples of one scrape.

No more of PromQL than that: selectors, a comparison or a factor, `and on`, and aggregation to one
number. Anything else is an error, never a guess.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from smolmon.observe.sample import Sample


class UnansweredError(ValueError):
    """This cannot be answered from one scrape."""


_SELECTOR = re.compile(r"(?P<name>[a-z][a-z0-9_:]*)(?:\{(?P<matchers>[^}]*)\})?(?P<rest>.*)")
_MATCHER = re.compile(r"(\w+)(!?=)'([^']*)'")
_REST = re.compile(r"\s*(==|!=|<|>|\*)\s*([0-9.]+)\s*")
_AND = re.compile(r"\s+and on \(([a-z_, ]+)\)\s+")
_BY = re.compile(r"count by \(([a-z_, ]+)\) \((.*)\)")
_WHOLE = re.compile(r"(max|min|count|quantile)\((?:0\.5, *)?(?P<inner>.*)\)")

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_ONE: Mapping[str, Callable[[list[float]], float]] = {
    "max": max,
    "min": min,
    "count": lambda values: float(len(values)),
    "quantile": lambda values: float(median(values)),
}


def answer(expr: str, samples: Sequence[Sample]) -> list[Sample]:
    """The samples that `expr` gives. Raises UnansweredError."""
    expr = " ".join(expr.split())
    if whole := _WHOLE.fullmatch(expr):
        inner = _selected(whole["inner"], samples)
        one = _ONE[whole[1]]
        return [Sample("", {}, one([s.value for s in inner]), inner[0].time)] if inner else []
    if by := _BY.fullmatch(expr):
        names = by[1].replace(" ", "").split(",")
        groups = Counter(_key(s, names) for s in _selected(by[2], samples))
        return [
            Sample("", dict(zip(names, group, strict=True)), float(n), 0.0)
            for group, n in groups.items()
        ]
    first, *others = _AND.split(expr)
    found = _selected(first, samples)
    for names, other in zip(others[::2], others[1::2], strict=True):
        on = names.replace(" ", "").split(",")
        keys = {_key(s, on) for s in _selected(other, samples)}
        found = [s for s in found if _key(s, on) in keys]
    return found


def _key(sample: Sample, on: Sequence[str]) -> tuple[str, ...]:
    return tuple(sample.labels.get(name, "") for name in on)


def _selected(expr: str, samples: Sequence[Sample]) -> list[Sample]:
    found = _SELECTOR.fullmatch(expr.strip())
    if not found:
        raise UnansweredError(expr)
    matchers = (found["matchers"] or "").replace('"', "'")
    wanted = _MATCHER.findall(matchers)
    if _MATCHER.sub("", matchers).strip(", "):
        raise UnansweredError(expr)
    chosen = [
        s
        for s in samples
        if s.name == found["name"]
        and all((s.labels.get(name, "") == value) == (how == "=") for name, how, value in wanted)
    ]
    if not found["rest"].strip():
        return chosen
    if found["rest"].strip() == "- time()":
        return [Sample("", s.labels, s.value - s.time, s.time) for s in chosen]
    rest = _REST.fullmatch(found["rest"])
    if not rest:
        raise UnansweredError(expr)
    number = float(rest[2])
    if rest[1] == "*":
        return [Sample("", s.labels, s.value * number, s.time) for s in chosen]
    return [s for s in chosen if _COMPARE[rest[1]](s.value, number)]

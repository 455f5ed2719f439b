"""One observation, whoever made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen


class ObserveError(RuntimeError):
    """Nothing can be seen there; the message is one line: what, where, why."""


@frozen
class Sample:
    """`name` is the metric's, or "" for the result of an expression; `time` is Unix seconds.

    `labels` are without the name.
    """

    name: str
    labels: Mapping[str, str]
    value: float
    time: float


def one_line(text: str) -> str:
    """`text`, which somebody else wrote, without what would confuse a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


def select(samples: Iterable[Sample], name: str, **labels: str) -> list[Sample]:
    """The samples of the metric `name` with these labels."""
    return [
        s
        for s in samples
        if s.name == name and all(s.labels.get(key, "") == v for key, v in labels.items())
    ]

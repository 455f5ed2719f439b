"""The queries of a board as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from attrs import frozen

from smolmon.dashboards.grafana import panels_of
from smolmon.dashboards.mend import Json


@frozen
class Question:
    """One query of one panel (or annotation, or variable) of one board."""

    board: str
    panel: str
    ref: str
    expr: str
    instant: bool = False

    def __str__(self) -> str:
        return f"{self.board} / {self.panel} / {self.ref}"


def questions(board: Json) -> Iterator[Question]:
    """All queries of a board: its panels' and its annotations'."""
    title = board["uid"].removeprefix("smolmon-")
    for panel in panels_of(board):
        for target in panel.get("targets", ()):
            yield Question(
                title, panel["title"], target["refId"], target["expr"], target["instant"]
            )
    for note in board["annotations"]["list"]:
        yield Question(title, f"annotation {note['name']}", "", note["expr"])


def filled(expr: str, values: dict[str, str]) -> str:
    """`expr` with its variables replaced; fails where one has no value."""
    for name, value in values.items():
        expr = re.sub(rf"\${{?{name}\b}}?", lambda _, v=value: v, expr)
    assert "$__" not in expr, expr
    # What is left is a reference within label_replace.
    assert not re.search(r"\$[a-z_]", expr), expr
    return expr


def ask(prometheus: str, path: str, **query: str | float) -> Any:
    """The answer of Prometheus' API; posted, as Grafana does. Fails with what Prometheus says."""
    opener = build_opener(ProxyHandler({}))
    with opener.open(f"{prometheus}/api/v1/{path}", urlencode(query).encode(), 30) as answer:
        return json.load(answer)["data"]

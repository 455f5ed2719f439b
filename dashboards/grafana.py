"""The one wrapper around grafanalib: panels, rows and boards in Grafana's own terms.

Every panel has a title, a description, a unit and thresholds. Sizes are (width, height) on
Grafana's grid of 24 columns; where a panel stands follows from the order in its section.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import attr
from attrs import frozen
from grafanalib import core

from smolmon.dashboards.fields import (
    AT_LEAST,
    AT_MOST,
    NONE_IS_GOOD,
    SOURCE,
    override,
    query,
    states,
)
from smolmon.dashboards.mend import SCHEMA_VERSION, Json, mended
from smolmon.dashboards.panels import graph, stat, table, timeline
from smolmon.dashboards.panels_other import bars, canvas, heatmap

__all__ = [
    "AT_LEAST",
    "AT_MOST",
    "COLUMNS",
    "NONE_IS_GOOD",
    "SOURCE",
    "TAG",
    "Section",
    "bars",
    "board",
    "canvas",
    "graph",
    "heatmap",
    "override",
    "panels_of",
    "query",
    "stat",
    "states",
    "table",
    "timeline",
]

COLUMNS = 24
TAG = "smolmon"
REFRESH = ["5s", "10s", "30s", "1m", "5m", "15m", "1h"]


@frozen
class Section:
    """A row of a board: its title ("" for none) and the panels below it."""

    title: str
    panels: tuple[Any, ...]
    collapsed: bool = False


def board(
    uid: str,
    title: str,
    description: str,
    sections: Sequence[Section],
    *,
    variables: Sequence[Any],
    annotations: Sequence[Json],
    since: str = "now-1h",
    refresh: str = "10s",
) -> Json:
    """A whole board, as Grafana's JSON."""
    return mended(
        core.Dashboard(
            uid=uid,
            title=title,
            description=description,
            tags=[TAG],
            editable=False,
            graphTooltip=core.GRAPH_TOOLTIP_MODE_SHARED_CROSSHAIR,
            refresh=refresh,
            time=core.Time(since, "now"),
            timezone="browser",
            schemaVersion=SCHEMA_VERSION,
            version=1,
            links=[
                core.DashboardLink(
                    title="smolmon",
                    type="dashboards",
                    tags=[TAG],
                    includeVars=True,
                    keepTime=True,
                    asDropdown=False,
                    icon="external link",
                )
            ],
            timePicker=core.TimePicker(REFRESH, []),
            templating=core.Templating(list(variables)),
            annotations=core.Annotations(list(annotations)),
            panels=_placed(sections),
        )
    )


def _placed(sections: Sequence[Section]) -> list[Any]:
    """Rows and panels with their ids, and their places: left to right, then the next line."""
    made: list[Any] = []
    top, ids = 0, iter(range(1, 1000))
    for section in sections:
        row = None
        if section.title:
            row = core.RowPanel(
                title=section.title,
                collapsed=section.collapsed,
                id=next(ids),
                gridPos=core.GridPos(h=1, w=COLUMNS, x=0, y=top),
            )
            made.append(row)
            top += 1
        placed, bottom = _flow(section.panels, top, ids)
        if row is not None and section.collapsed:
            row.panels = placed
        else:
            made += placed
            top = bottom
    return made


def _flow(panels: Sequence[Any], top: int, ids: Iterable[int]) -> tuple[list[Any], int]:
    placed: list[Any] = []
    left, height, number = 0, 0, iter(ids)
    for panel in panels:
        w, h = panel.gridPos.w, panel.gridPos.h
        if left + w > COLUMNS:
            left, top, height = 0, top + height, 0
        place = core.GridPos(h=h, w=w, x=left, y=top)
        placed.append(attr.evolve(panel, id=next(number), gridPos=place))
        left, height = left + w, max(height, h)
    return placed, top + height


def panels_of(made: Json) -> list[Json]:
    """The panels of a board, those in folded rows too, without the rows themselves."""
    return list(
        chain.from_iterable(p["panels"] if p["type"] == "row" else [p] for p in made["panels"])
    )

"""The panels that grafanalib has a class for: graphs, stats, state timelines, tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grafanalib import core

from smolmon.dashboards.fields import PLAIN, Steps, common, states
from smolmon.dashboards.mend import Json


def graph(
    title: str,
    description: str,
    targets: Sequence[Any],
    *,
    unit: str,
    size: tuple[int, int] = (12, 8),
    thresholds: Steps = PLAIN,
    overrides: Iterable[Json] = (),
    draw: str = "line",
    fill: int = 8,
    stacked: bool = False,
    low: float | None = 0,
    high: float | None = None,
    interval: str | None = None,
    calcs: Sequence[str] = ("lastNotNull", "max"),
    logarithmic: bool = False,
) -> Any:  # noqa: ANN401
    """A graph over time."""
    scale = {"type": "log", "log": 10} if logarithmic else {"type": "linear"}
    return core.TimeSeries(
        **common(title, description, targets, size, thresholds),
        unit=unit,
        drawStyle=draw,
        fillOpacity=fill,
        showPoints="always" if draw == "points" else "never",
        pointSize=6 if draw == "points" else 4,
        spanNulls=False,
        legendDisplayMode="list",
        legendCalcs=list(calcs),
        tooltipMode="multi",
        tooltipSort="desc",
        interval=interval,
        overrides=list(overrides),
        stacking={"mode": "normal" if stacked else "none", "group": "A"},
        extraJson={
            "fieldConfig": {
                "defaults": {"min": low, "max": high, "custom": {"scaleDistribution": scale}}
            },
            "options": {"legend": {"showLegend": True}, "tooltip": {"hideZeros": False}},
        },
    )


def stat(
    title: str,
    description: str,
    targets: Sequence[Any],
    *,
    unit: str = "none",
    size: tuple[int, int] = (4, 4),
    thresholds: Steps = PLAIN,
    values: Mapping[int, tuple[str, str]] | None = None,
    text: str = "value",
    background: bool = False,
    empty: str = "unknown",
    decimals: int | None = None,
) -> Any:  # noqa: ANN401
    """One value, large. `text`: whether its value, its name or both are shown."""
    return core.Stat(
        **common(title, description, targets, size, thresholds),
        format=unit,
        textMode=text,
        colorMode="background" if background else "value",
        graphMode="none",
        alignment="center",
        reduceCalc="lastNotNull",
        mappings=states(values) if values else [],
        noValue=empty,
        decimals=decimals,
        color={"mode": "thresholds"},
        extraJson={"options": {"wideLayout": True, "showPercentChange": False}},
    )


def timeline(
    title: str,
    description: str,
    targets: Sequence[Any],
    *,
    values: Mapping[int, tuple[str, str]],
    unit: str = "none",
    size: tuple[int, int] = (12, 8),
    thresholds: Steps = PLAIN,
) -> Any:  # noqa: ANN401
    """States over time, a lane for each series."""
    return core.StateTimeline(
        **common(title, description, targets, size, thresholds),
        mappings=states(values),
        showValue="auto",
        rowHeight=0.8,
        extraJson={
            "fieldConfig": {"defaults": {"unit": unit}},
            "options": {"legend": {"showLegend": False}, "tooltip": {"sort": "none"}},
        },
    )


def table(
    title: str,
    description: str,
    targets: Sequence[Any],
    *,
    unit: str = "none",
    size: tuple[int, int] = (12, 8),
    thresholds: Steps = PLAIN,
    transformations: Sequence[Json] = (),
    overrides: Iterable[Json] = (),
    values: Mapping[int, tuple[str, str]] | None = None,
    cell: str = "auto",
    sort: tuple[str, bool] | None = None,
) -> Any:  # noqa: ANN401
    """Rows and columns. `cell`: Grafana's cell type for all columns; `sort`: (column, falling)."""
    options = {"type": cell, "mode": "basic"} if cell == "color-background" else {"type": cell}
    by = [{"displayName": sort[0], "desc": sort[1]}] if sort else []
    return core.Table(
        **common(title, description, targets, size, thresholds),
        unit=unit,
        transformations=list(transformations),
        overrides=list(overrides),
        extraJson={
            "fieldConfig": {
                "defaults": {
                    "color": {"mode": "thresholds"},
                    "custom": {"cellOptions": options, "inspect": False},
                    "mappings": states(values) if values else [],
                }
            },
            "options": {"cellHeight": "sm", "footer": {"show": False}, "sortBy": by},
        },
    )

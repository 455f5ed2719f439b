"""The panels that grafanalib has no class for, or one of a Grafana long gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attr
from grafanalib import core

from smolmon.dashboards.fields import GREY, PLAIN, Steps, common, states
from smolmon.dashboards.mend import Json


@attr.s
class OtherPanel(core.Panel):  # type: ignore[misc]  # grafanalib's own way to add a panel
    """A panel of a type for which grafanalib has no class, or one of a Grafana long gone."""

    kind: str = attr.ib(default="")

    def to_json_data(self) -> Json:
        """The panel, by grafanalib's own hook."""
        data: Json = self.panel_json({"type": self.kind})
        return data


def _other(kind: str, common: Json, **rest: Any) -> Any:  # noqa: ANN401 - as everywhere here
    return OtherPanel(**{"kind": kind, **common, **rest})


def bars(
    title: str,
    description: str,
    targets: Sequence[Any],
    *,
    unit: str,
    size: tuple[int, int] = (12, 8),
    thresholds: Steps = PLAIN,
    high: float | None = None,
) -> Any:  # noqa: ANN401
    """A horizontal bar for each series' last value."""
    return _other(
        "bargauge",
        common(title, description, targets, size, thresholds),
        extraJson={
            "fieldConfig": {
                "defaults": {
                    "unit": unit,
                    "min": 0,
                    "max": high,
                    "color": {"mode": "thresholds"},
                    "mappings": [],
                },
            },
            "options": {
                "displayMode": "basic",
                "orientation": "horizontal",
                "valueMode": "color",
                "namePlacement": "auto",
                "showUnfilled": True,
                "sizing": "auto",
                "minVizHeight": 16,
                "minVizWidth": 8,
                "maxVizHeight": 40,
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        },
    )


def heatmap(
    title: str,
    description: str,
    targets: Sequence[Any],
    *,
    unit: str,
    size: tuple[int, int] = (12, 8),
) -> Any:  # noqa: ANN401
    """A histogram over time."""
    return _other(
        "heatmap",
        common(title, description, targets, size, PLAIN),
        interval="30s",
        extraJson={
            "fieldConfig": {
                "defaults": {"unit": unit, "custom": {"scaleDistribution": {"type": "linear"}}}
            },
            "options": {
                "calculate": False,
                "cellGap": 1,
                "cellValues": {"unit": "short"},
                "color": {
                    "mode": "scheme",
                    "scheme": "Spectral",
                    "steps": 64,
                    "reverse": False,
                    "exponent": 0.5,
                    "fill": "dark-orange",
                },
                "exemplars": {"color": "rgba(255,0,255,0.7)"},
                "filterValues": {"le": 1e-9},
                "legend": {"show": True},
                "rowsFrame": {"layout": "auto"},
                "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
                "yAxis": {"axisPlacement": "left", "unit": unit, "reverse": False},
            },
        },
    )


def canvas(
    title: str,
    description: str,
    targets: Sequence[Any],
    elements: Sequence[Json],
    *,
    size: tuple[int, int],
    values: Mapping[int, tuple[str, str]],
    overrides: Iterable[Json] = (),
    transformations: Sequence[Json] = (),
) -> Any:  # noqa: ANN401
    """A drawing whose elements take their texts and colours from the fields of the result."""
    nothing = {"color": {"fixed": "transparent"}}
    return _other(
        "canvas",
        common(title, description, targets, size, ((None, GREY),)),
        transformations=list(transformations),
        extraJson={
            "fieldConfig": {
                "defaults": {
                    "unit": "none",
                    "color": {"mode": "thresholds"},
                    "mappings": states(values),
                },
                "overrides": list(overrides),
            },
            "options": {
                "inlineEditing": False,
                "showAdvancedTypes": True,
                "panZoom": False,
                "infinitePan": False,
                "root": {
                    "name": "picture",
                    "type": "frame",
                    "background": nothing,
                    "border": {**nothing, "width": 0},
                    "constraint": {"horizontal": "left", "vertical": "top"},
                    "placement": {"left": 0, "top": 0, "width": 100, "height": 100},
                    "elements": list(elements),
                },
            },
        },
    )

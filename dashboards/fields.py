"""What panels are made of: queries, thresholds, value mappings, settings of single fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import attr
from grafanalib import core

from smolmon.dashboards.mend import Json

SOURCE = {"type": "prometheus", "uid": "${datasource}"}

GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"

# (from this value on, this colour); None is minus infinity.
Steps = Sequence[tuple[float | None, str]]
PLAIN: Steps = ((None, GREEN),)
# For a share of what is expected: 1 is the published expectation itself.
AT_MOST: Steps = ((None, GREEN), (0.8, ORANGE), (1.0, RED))
AT_LEAST: Steps = ((None, RED), (1.0, GREEN))
NONE_IS_GOOD: Steps = ((None, GREEN), (1e-9, RED))


def query(
    expr: str, legend: str = "", *, table: bool = False, instant: bool = False, form: str = ""
) -> Any:  # noqa: ANN401 - grafanalib has no types
    """A PromQL query. `table`: its current samples as rows; `instant`: only the current value."""
    return core.Target(
        expr=" ".join(expr.split()),
        legendFormat=legend,
        format=form or ("table" if table else "time_series"),
        instant=table or instant,
        datasource=SOURCE,
    )


def steps(thresholds: Steps) -> list[Json]:
    """Grafana's thresholds; grafanalib's would say "null" in place of null."""
    return [{"value": value, "color": color} for value, color in thresholds]


def states(values: Mapping[int, tuple[str, str]]) -> list[Json]:
    """Value mappings: the text and the colour of each value."""
    return [
        {
            "type": "value",
            "options": {
                f"{value}": {"text": text, "color": color, "index": index}
                for index, (value, (text, color)) in enumerate(values.items())
            },
        }
    ]


def override(name: str, properties: Mapping[str, object], regex: bool = False) -> Json:
    """Settings of the field called `name`, or of those whose names the expression finds."""
    # Without slashes Grafana would want it to fit the whole name.
    by = {"id": "byRegexp", "options": f"/{name}/"} if regex else {"id": "byName", "options": name}
    return {
        "matcher": by,
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def common(
    title: str, description: str, targets: Sequence[Any], size: tuple[int, int], thresholds: Steps
) -> Json:
    names = iter(ascii_uppercase)
    return {
        "title": title,
        "description": description,
        "targets": [attr.evolve(t, refId=t.refId or next(names)) for t in targets],
        "dataSource": SOURCE,
        "gridPos": core.GridPos(h=size[1], w=size[0], x=0, y=0),
        "maxDataPoints": None,  # grafanalib's 100 makes coarse graphs of fine data
        "thresholds": steps(thresholds),
    }

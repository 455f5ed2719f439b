"""What Grafana needs to be other than grafanalib 0.7.1 writes it.

grafanalib still writes much of Grafana 4's model: a schema version that newer Grafanas refuse, keys
that nothing reads any more, and places that have moved. Each function returns what Grafana 11 to 13
read as it stands, and nothing else: a key that is not listed here does not get through.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from grafanalib._gen import DashboardEncoder

Json = dict[str, Any]

# The last versions of the classic model are 39 to 42; newer Grafanas migrate it when they load it.
SCHEMA_VERSION = 41

BOARD = [
    "uid",
    "title",
    "description",
    "tags",
    "editable",
    "graphTooltip",
    "refresh",
    "time",
    "timezone",
    "schemaVersion",
    "version",
    "links",
]
PANEL = [
    "id",
    "type",
    "title",
    "description",
    "datasource",
    "gridPos",
    "targets",
    "fieldConfig",
    "options",
    "transformations",
    "interval",
    "maxDataPoints",
    "links",
    "repeat",
    "repeatDirection",
    "maxPerRow",
    "transparent",
]
ROW = ["id", "type", "title", "collapsed", "gridPos"]
TARGET = ["datasource", "expr", "format", "instant", "range", "legendFormat", "refId", "interval"]
VARIABLE = [
    "name",
    "label",
    "description",
    "type",
    "datasource",
    "query",
    "definition",
    "refresh",
    "sort",
    "multi",
    "includeAll",
    "hide",
    "regex",
    "current",
    "options",
]


def mended(board: object) -> Json:
    """A board of grafanalib as Grafana's classic JSON model."""
    raw: Json = json.loads(json.dumps(board, cls=DashboardEncoder))
    return {
        **_only(raw, BOARD),
        "schemaVersion": SCHEMA_VERSION,
        "annotations": raw["annotations"],
        "templating": {"list": [_variable(v) for v in raw["templating"]["list"]]},
        "timepicker": {"refresh_intervals": raw["timepicker"]["refresh_intervals"]},
        "panels": [_row(p) if p["type"] == "row" else _panel(p) for p in raw["panels"]],
    }


def _row(raw: Json) -> Json:
    return {**_only(raw, ROW), "panels": [_panel(p) for p in raw["panels"]]}


def _panel(raw: Json) -> Json:
    panel = _only(raw, PANEL)
    panel["targets"] = [_target(t) for t in raw["targets"]]
    for key in ("targets", "transformations", "links", "transparent"):
        if not panel.get(key):
            panel.pop(key, None)
    if panel["type"] == "text":
        panel.pop("fieldConfig", None)
        panel.pop("datasource", None)
    else:
        panel["fieldConfig"] = _fields(raw["fieldConfig"])
    return panel


def _fields(raw: Json) -> Json:
    defaults = {k: v for k, v in raw["defaults"].items() if v is not None}
    if "custom" in defaults:
        defaults["custom"] = {k: v for k, v in defaults["custom"].items() if v is not None}
        defaults["custom"].pop("displayMode", None)  # since version 38 it is `cellOptions`
    return {"defaults": defaults, "overrides": raw.get("overrides", [])}


def _target(raw: Json) -> Json:
    target = _only(raw, TARGET)
    target["range"] = not target["instant"]
    return {k: v for k, v in target.items() if v != ""}


def _variable(raw: Json) -> Json:
    variable = {k: v for k, v in _only(raw, VARIABLE).items() if v not in ("", [])}
    # Without a value Grafana takes the first that the query gives.
    variable["current"] = {k: v for k, v in raw["current"].items() if k != "tags" and v is not None}
    if len(variable["current"]) < 3:
        variable["current"] = {}
    return variable


def _only(raw: Json, keys: Iterable[str]) -> Json:
    return {key: raw[key] for key in keys if raw.get(key) is not None}

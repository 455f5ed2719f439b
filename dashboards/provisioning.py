"""Grafana's own files: the data source, the folder, and the boards.

Grafana reads them when it starts, from the folder /etc/grafana/provisioning of its machine or
container: mount or copy them there (grafana.com/docs/grafana/latest/administration/provisioning).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from importlib.resources import files
from pathlib import Path

import yaml

from smolmon.cluster import Cluster
from smolmon.cluster.monitor import DEFAULT_PROMETHEUS
from smolmon.dashboards.boards import home
from smolmon.dashboards.common import HOME
from smolmon.dashboards.generate import text
from smolmon.dashboards.mend import Json

# Fixed, so that links and panels survive when the data source is set up anew.
DATASOURCE = "smolmon-prometheus"
LONG_TERM = "smolmon-long-term"
FOLDER = "smolmon"
BOARDS = "dashboards/smolmon"  # below the provisioning folder
HERE, THERE = "grafana/provisioning", "/etc/grafana/provisioning"


def texts(
    clusters: Sequence[Cluster],
    header: str,
    interval: str,
    url: str = DEFAULT_PROMETHEUS,
    long_term: str | None = None,
) -> dict[str, str]:
    """Every file's text, by its path below the output folder.

    `interval` is how often Prometheus scrapes: Grafana asks for no finer steps. `long_term` is a
    second store that can be chosen in the boards. YAML files begin with `header`. Each cluster
    after the first gets a Home of its own, with its own picture.
    """
    sources = [_source("smolmon", DATASOURCE, url, interval) | {"isDefault": True}]
    if long_term:
        sources.append(_source("smolmon, long term", LONG_TERM, long_term, interval))
    return {
        **{f"{HERE}/{BOARDS}/{name}.json": content for name, content in _boards(clusters).items()},
        f"{HERE}/datasources/smolmon.yml": header
        + _dump({"apiVersion": 1, "datasources": sources}),
        f"{HERE}/dashboards/smolmon.yml": header + _dump(_provider()),
    }


def _boards(clusters: Sequence[Cluster]) -> dict[str, str]:
    """The boards that come with smolmon, but Home with the picture of its cluster."""
    folder = files("smolmon.dashboards") / "json"
    shipped = {
        file.name.removesuffix(".json"): file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".json")
    }
    first, *others = clusters
    homes = {f"home-{each.name}": text(_home(each)) for each in others}
    return shipped | {"home": text(home.board(first))} | homes


def stale(directory: Path, written: Collection[Path]) -> list[Path]:
    """The Homes of clusters that an earlier run wrote below `directory`, and this one did not."""
    return [p for p in (directory / HERE / BOARDS).glob("home-*.json") if p not in written]


def _home(cluster: Cluster) -> Json:
    """One more Home. Grafana takes no identifier of more than 40 characters."""
    uid = f"{HOME}-{hashlib.sha256(cluster.name.encode()).hexdigest()[:12]}"
    return home.board(cluster) | {"uid": uid, "title": f"smolmon · Home of {cluster.name}"}


def _source(name: str, uid: str, url: str, interval: str) -> Json:
    return {
        "name": name,
        "uid": uid,
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "editable": False,
        "jsonData": {"timeInterval": interval, "httpMethod": "POST"},
    }


def _provider() -> Json:
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "smolmon",
                "folder": FOLDER,
                "folderUid": FOLDER,
                "type": "file",
                "allowUiUpdates": False,
                "updateIntervalSeconds": 30,
                "options": {"path": f"{THERE}/{BOARDS}"},
            }
        ],
    }


def _dump(config: Json) -> str:
    return yaml.safe_dump(config, sort_keys=False)

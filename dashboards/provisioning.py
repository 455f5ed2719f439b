"""Grafana's own files: the data source, the folder, and the boards, for one cluster.

Grafana reads them when it starts, from the folder /etc/grafana/provisioning of its machine or
container: mount or copy them there (grafana.com/docs/grafana/latest/administration/provisioning).
"""

from __future__ import annotations

from importlib.resources import files

import yaml

from smolmon.cluster import Cluster
from smolmon.dashboards.boards import home
from smolmon.dashboards.generate import text
from smolmon.dashboards.mend import Json

# Fixed, so that links and panels survive when the data source is set up anew.
DATASOURCE = "smolmon-prometheus"
FOLDER = "smolmon"
PROMETHEUS = "http://127.0.0.1:9090"
BOARDS = "dashboards/smolmon"  # below the provisioning folder
HERE, THERE = "grafana/provisioning", "/etc/grafana/provisioning"


def texts(cluster: Cluster, header: str, interval: str, url: str = PROMETHEUS) -> dict[str, str]:
    """Every file's text, by its path below the output folder.

    `interval` is how often Prometheus scrapes: Grafana asks for no finer steps. YAML files begin
    with `header`.
    """
    return {
        **{f"{HERE}/{BOARDS}/{name}.json": content for name, content in _boards(cluster).items()},
        f"{HERE}/datasources/smolmon.yml": header + _dump(_source(interval, url)),
        f"{HERE}/dashboards/smolmon.yml": header + _dump(_provider()),
    }


def _boards(cluster: Cluster) -> dict[str, str]:
    """The boards that come with smolmon, but Home with the picture of this cluster."""
    folder = files("smolmon.dashboards") / "json"
    shipped = {
        file.name.removesuffix(".json"): file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".json")
    }
    return shipped | {"home": text(home.board(cluster))}


def _source(interval: str, url: str) -> Json:
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "smolmon",
                "uid": DATASOURCE,
                "type": "prometheus",
                "access": "proxy",
                "url": url,
                "isDefault": True,
                "editable": False,
                "jsonData": {"timeInterval": interval, "httpMethod": "POST"},
            }
        ],
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

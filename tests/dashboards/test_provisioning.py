"""What `smolmon render` writes for Grafana."""

from __future__ import annotations

import json

import yaml

from smolmon.dashboards import provisioning
from smolmon.dashboards.generate import text
from tests.dashboards.made import BOARDS, EXAMPLES, HOMES

HEADER = "# ours\n"
TEXTS = provisioning.texts([EXAMPLES["guide"]], HEADER, "5s", "http://prometheus:9090")
HERE = "grafana/provisioning"


def read(name: str) -> dict[str, list[dict[str, object]]]:
    content = TEXTS[f"{HERE}/{name}"]
    assert content.startswith(HEADER)
    found: dict[str, list[dict[str, object]]] = yaml.safe_load(content)
    return found


def test_the_data_source_has_a_fixed_uid() -> None:
    (source,) = read("datasources/smolmon.yml")["datasources"]
    assert source["uid"] == "smolmon-prometheus"
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    # $__rate_interval is four times this.
    assert source["jsonData"] == {"timeInterval": "5s", "httpMethod": "POST"}


def test_the_boards_are_where_grafana_is_told_to_look() -> None:
    (provider,) = read("dashboards/smolmon.yml")["providers"]
    assert provider["options"] == {"path": "/etc/grafana/provisioning/dashboards/smolmon"}
    written = {name for name in TEXTS if name.startswith(f"{HERE}/dashboards/smolmon/")}
    assert written == {f"{HERE}/dashboards/smolmon/{name}.json" for name in BOARDS}


def test_home_shows_this_cluster_and_the_others_are_as_they_ship() -> None:
    for name, board in BOARDS.items():
        wanted = HOMES["guide"] if name == "home" else board
        assert TEXTS[f"{HERE}/dashboards/smolmon/{name}.json"] == text(wanted)


def test_home_begins_with_the_cluster_it_draws() -> None:
    home = json.loads(TEXTS[f"{HERE}/dashboards/smolmon/home.json"])
    (cluster,) = [v for v in home["templating"]["list"] if v["name"] == "cluster"]
    assert cluster["current"] == {"selected": True, "text": "guide", "value": "guide"}
    assert any(p["title"] == "Topology of guide" for p in home["panels"])

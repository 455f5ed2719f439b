"""What all boards share: variables, annotations, links, and the selectors of their queries."""

from __future__ import annotations

from typing import Any

from grafanalib import core

from smolmon.dashboards.grafana import SOURCE
from smolmon.dashboards.mend import Json

# Selectors: the cluster, the node, the pings of the node to its peer.
C = 'cluster="$cluster"'
N = f'{C},node="$node"'
P = f'{N},target="$peer"'

HOME, LINK, GATEWAYS, NODE, TRAINING, META = (
    f"smolmon-{name}" for name in ("home", "link", "gateways", "node", "training", "meta")
)
# Boards that are opened from a cell keep the data source, the cluster and the time.
_KEPT = "${datasource:queryparam}&${cluster:queryparam}&${__url_time_range}"


def link_to(board: str, title: str, **variables: str) -> list[Json]:
    """A data link to a board that sets `variables` there."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return [{"title": title, "url": f"/d/{board}?{_KEPT}{chosen}", "targetBlank": False}]


def variables(*used: str, cluster: str = "") -> list[Any]:
    """The four variables that every board has; those not `used` are kept, but not shown.

    They are passed on from board to board, so that the node stays chosen.
    """

    def chosen(name: str, label: str, labels: str, default: str = "") -> Any:  # noqa: ANN401
        return core.Template(
            name=name,
            label=label,
            type="query",
            dataSource=SOURCE,
            query=f"label_values({labels})",
            refresh=core.REFRESH_ON_TIME_RANGE_CHANGE,
            sort=core.SORT_ALPHA_ASC,
            hide=core.SHOW if name in used or name == "cluster" else core.HIDE_VARIABLE,
            default=default or None,
        )

    found = [
        core.Template(
            name="datasource", label="Data source", type="datasource", query="prometheus"
        ),
        chosen("cluster", "Cluster", 'up{job="smolmon"}, cluster', cluster),
        chosen("node", "Node", f'up{{job="smolmon",{C}}}, node'),
        chosen("peer", "Peer", f"smolmon_ping_up{{{N}}}, target"),
    ]
    if "probe" in used:
        found.append(chosen("probe", "Probe", f"smolmon_ping_up{{{P}}}, probe"))
    return found


def events() -> list[Json]:
    """What happened meanwhile, all asked of Prometheus."""
    return [
        _annotation(
            "Alerts",
            "red",
            f'ALERTS{{{C},alertstate="firing",severity!="none"}}',
            "{{alertname}}",
            "{{node}} {{target}} {{link}}",
        ),
        _annotation(
            "Bandwidth tests",
            "blue",
            f"max by (cluster, link) (smolmon_bandwidth_test_in_progress{{{C}}}) == 1",
            "Bandwidth test",
            "{{link}}",
        ),
        _annotation(
            "Setup runs",
            "purple",
            # An exporter reads its cluster file again when `smolmon setup` has written it.
            "1000 * max by (cluster) "
            f"(smolmon_config_last_reload_success_timestamp_seconds{{{C}}})",
            "Cluster file read",
            "as smolmon setup leaves it",
            at_value=True,
        ),
        _annotation(
            "Training",
            "green",
            f"max by (cluster) (smolmon_training_connections{{{C}}}) > 0",
            "Training",
            "connections to the server",
        ),
    ]


def _annotation(
    name: str, color: str, expr: str, title: str, text: str, *, at_value: bool = False
) -> Json:
    made: Json = {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "node,link",
        "step": "10s",
    }
    return {**made, "useValueForTime": "on"} if at_value else made

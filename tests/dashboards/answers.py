"""What a Prometheus answers to a cluster's boards, as a file for Grafana's own code to work on.

    python -m tests.dashboards.answers PROMETHEUS CLUSTER-FILE OUT [UNIX-TIME [--tables]]

`--tables` keeps only the panels whose results are transformed: the recording that
scripts/board-transforms works on.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from smolmon.cluster import derive, load
from smolmon.dashboards.boards import boards
from smolmon.dashboards.grafana import panels_of
from smolmon.dashboards.mend import Json
from tests.dashboards.questions import ask, filled

WINDOW, STEP, RATE = 150, 2, "20s"  # the recorded lab runs for minutes, and scrapes every second


def answers(prometheus: str, board: Json, values: dict[str, str], now: float) -> list[Json]:
    """Each panel of `board`, with what Prometheus says to each of its targets."""
    found = []
    for panel in panels_of(board):
        results = []
        for target in panel["targets"]:
            expr = filled(target["expr"], values)
            if target["instant"]:
                got = ask(prometheus, "query", query=expr, time=now)
            else:
                got = ask(
                    prometheus, "query_range", query=expr, start=now - WINDOW, end=now, step=STEP
                )
            results.append({"refId": target["refId"], "result": got["result"]})
        found.append({"panel": panel, "results": results})
    return found


def main(prometheus: str, cluster_file: str, out: str, *rest: str) -> int:
    """Ask, and write."""
    cluster = load(Path(cluster_file))
    now = float(rest[0]) if rest else time.time()
    workers = [n.name for n in cluster.nodes if derive.role(cluster, n.name) == "worker"]
    worker = max(workers, key=lambda n: len(derive.path(cluster, n, cluster.server.segment)))
    chosen = {
        "cluster": cluster.name,
        "node": worker,
        "peer": cluster.server.node,
        "probe": "server",
        "__rate_interval": RATE,
    }
    made: dict[str, Any] = {"time": now, "start": now - WINDOW, "boards": {}}
    for name, board in boards(cluster).items():
        node = cluster.server.node if name == "node" else worker
        panels = answers(prometheus, board, {**chosen, "node": node}, now)
        if "--tables" in rest:
            panels = [p for p in panels if p["panel"].get("transformations")]
            for panel in panels:
                panel["panel"].pop("description")
        rows = [[p["title"], p["gridPos"]["y"]] for p in board["panels"] if p["type"] == "row"]
        made["boards"][name] = {
            "title": board["title"],
            "panels": panels,
            "rows": rows,
            "node": node,
        }
    indent = 1 if "--tables" in rest else None
    Path(out).write_text(json.dumps(made, ensure_ascii=False, indent=indent) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The boards as they ship, and with the picture of each example cluster."""

from __future__ import annotations

from pathlib import Path

import yaml

from smolmon.cluster import Cluster, load
from smolmon.dashboards.boards import boards

ROOT = Path(__file__).parents[2]
EXAMPLES: dict[str, Cluster] = {
    path.stem: load(path) for path in sorted((ROOT / "examples").glob("*.yaml"))
}
BOARDS = boards()
HOMES = {name: boards(cluster)["home"] for name, cluster in EXAMPLES.items()}
ALL = BOARDS | {f"home of {name}": home for name, home in HOMES.items()}


def rules() -> list[dict[str, object]]:
    """All rules that ship."""
    return [
        rule
        for path in sorted((ROOT / "alerts" / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]

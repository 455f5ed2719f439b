"""A page for each board that draws it from what a Prometheus answers: scripts/board-pictures."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.dashboards import answers
from tests.dashboards.made import ROOT

NOTE = (
    "Not a screenshot of Grafana: real answers of the emulated cluster's Prometheus, drawn with "
    "Grafana's published components (graphs, tables, stats, bars); state timelines, heatmaps and "
    "the canvas are drawn by smolmon's tests. "
)
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css">
<div id="board"></div>
<script>window.grafanaBootData = {{settings: {{}}, user: {{}}}}; window.SMOLMON = {0};
const moment = 1000 * SMOLMON.answers.time; Date.now = () => moment; // "5 minutes ago"</script>
<script src="page.js"></script>
"""


def main(prometheus: str, folder: str, *times: str) -> int:
    """Write the pages; the second of `times` is that of Home."""
    work = Path(folder)
    guide = str(ROOT / "examples" / "guide.yaml")
    moments = list(times) or [str(time.time())]
    files = [work / f"answers-{index}.json" for index in range(len(moments))]
    for moment, file in zip(moments, files, strict=True):
        answers.main(prometheus, guide, str(file), moment)
    for name in json.loads(files[0].read_text())["boards"]:
        faulty = name == "home" and len(files) > 1
        said = json.loads(files[1 if faulty else 0].read_text())
        said["boards"] = {name: said["boards"][name]}
        note = NOTE + ("A return route is missing." if faulty else "The cluster is healthy.")
        shown = json.dumps({"answers": said, "board": name, "note": note}).replace("</", "<\\/")
        (work / f"{name}.html").write_text(PAGE.format(shown))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

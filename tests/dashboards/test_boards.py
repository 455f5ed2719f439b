"""Every board is well made: what Grafana needs is there, nothing overlaps, nothing is lost."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smolmon.dashboards import generate
from smolmon.dashboards.grafana import COLUMNS, TAG, panels_of
from smolmon.dashboards.mend import Json
from tests.dashboards.made import ALL, BOARDS, HOMES, ROOT

each_board = pytest.mark.parametrize("board", ALL.values(), ids=ALL)

VARIABLES = ["datasource", "cluster", "node", "peer"]


def test_what_is_committed_is_what_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert generate.main(["--check"]) == 0


def test_a_stale_or_left_over_file_is_found_and_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert generate.main([]) == 0
    (generate.FOLDER / "home.json").write_text("{}")
    (generate.FOLDER / "gone.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "home.json is out of date" in said
    assert "gone.json is out of date" in said
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert generate.main(["--chek"]) == 2


def test_boards_have_their_own_uids_and_titles() -> None:
    for key in ("uid", "title"):
        found = [board[key] for board in BOARDS.values()]
        assert len(set(found)) == len(found)
    assert {f"smolmon-{name}" for name in BOARDS} == {b["uid"] for b in BOARDS.values()}
    assert {home["uid"] for home in HOMES.values()} == {"smolmon-home"}


@each_board
class TestEveryBoard:
    def test_is_of_the_classic_model_that_grafana_11_to_13_read(self, board: Json) -> None:
        assert 39 <= board["schemaVersion"] <= 41
        dead = {"rows", "style", "sharedCrosshair", "hideControls", "__inputs", "gnetId"}
        assert not dead & board.keys()
        assert board["graphTooltip"] == 1
        assert board["editable"] is False
        assert board["tags"] == [TAG]
        assert board["description"]

    def test_has_the_variables_and_links_that_carry_them(self, board: Json) -> None:
        names = [v["name"] for v in board["templating"]["list"]]
        assert names[:4] == VARIABLES
        first, *rest = board["templating"]["list"]
        assert (first["label"], first["query"]) == ("Data source", "prometheus")
        for variable in rest:
            assert variable["datasource"]["uid"] == "${datasource}"
            assert variable["refresh"] == 2  # when the time range changes
        for link in board["links"]:
            assert link["includeVars"] is link["keepTime"] is True
            assert link["tags"] == [TAG]

    def test_says_what_happened_meanwhile(self, board: Json) -> None:
        notes = {note["name"] for note in board["annotations"]["list"]}
        assert notes == {"Alerts", "Bandwidth tests", "Setup runs", "Training"}

    def test_has_panels_that_say_what_they_show(self, board: Json) -> None:
        for panel in panels_of(board):
            assert panel["title"]
            assert panel["description"].endswith((".", ")")), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"], panel["title"]
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["unit"], panel["title"]
            assert defaults["thresholds"]["steps"][0]["value"] is None
            values = [step["value"] for step in defaults["thresholds"]["steps"][1:]]
            assert values == sorted(values), panel["title"]
            assert "maxDataPoints" not in panel
        titles = [panel["title"] for panel in panels_of(board)]
        assert len(set(titles)) == len(titles)

    def test_has_targets_that_can_be_told_apart(self, board: Json) -> None:
        for panel in panels_of(board):
            refs = [target["refId"] for target in panel["targets"]]
            assert len(set(refs)) == len(refs), panel["title"]
            for target in panel["targets"]:
                assert target["datasource"]["uid"] == "${datasource}"
                assert target["instant"] is not target["range"]

    def test_has_ids_of_their_own(self, board: Json) -> None:
        rows = [p["id"] for p in board["panels"] if p["type"] == "row"]
        ids = rows + [p["id"] for p in panels_of(board)]
        assert len(set(ids)) == len(ids)
        assert min(ids) > 0

    def test_overlaps_nowhere(self, board: Json) -> None:
        for panels in (board["panels"], *(p.get("panels", []) for p in board["panels"])):
            taken: dict[tuple[int, int], str] = {}
            for panel in panels:
                at = panel["gridPos"]
                assert at["x"] >= 0
                assert at["x"] + at["w"] <= COLUMNS
                for x in range(at["x"], at["x"] + at["w"]):
                    for y in range(at["y"], at["y"] + at["h"]):
                        assert (x, y) not in taken, (panel["title"], taken[x, y])
                        taken[x, y] = panel["title"]

    def test_links_to_boards_that_exist(self, board: Json) -> None:
        uids = {b["uid"] for b in BOARDS.values()}
        for url in _urls(board["panels"]):
            assert url.startswith("/d/")
            assert url.removeprefix("/d/").split("?")[0] in uids

    @pytest.mark.skipif(
        sys.version_info < (3, 11) and not os.environ.get("CI"),
        reason="Grafana's SDK needs Python 3.11",
    )
    def test_survives_grafanas_own_types(self, board: Json) -> None:
        """What comes back lacks only what the SDK's types leave out."""
        from grafana_foundation_sdk.cog import plugins  # noqa: PLC0415
        from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415
        from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415

        plugins.register_default_plugins()
        typed = Dashboard.from_json(json.loads(json.dumps(board)))
        back = json.loads(JSONEncoder(sort_keys=True).encode(typed))
        assert set(_lost(board, back)) <= KNOWN_LOST


ROOT_FRAME = ".panels.options.root"
# The SDK's types of the canvas stop at Grafana 10: they know no links of elements, and of the
# frame that holds them only name, type and elements. Grafana itself writes and reads them all.
KNOWN_LOST = {
    f"{ROOT_FRAME}.elements.links",
    *(f"{ROOT_FRAME}.{key}" for key in ("background", "border", "constraint", "placement")),
}


def _lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The paths of all that is in `before` and not, or not the same, in `after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            here = f"{path}.{key}"
            if key in after:
                yield from _lost(value, after[key], here)
            else:
                yield here
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from _lost(one, other, path)
    elif before != after:
        yield path


def _urls(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        for inner in value.values():
            yield from _urls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _urls(inner)

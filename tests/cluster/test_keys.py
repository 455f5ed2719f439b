"""The table of keys is what the loader accepts, and what the pages show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smolmon.cluster import reference, units
from smolmon.cluster.keys import KEYS
from smolmon.cluster.load import _Reader
from smolmon.cluster.load_notify import OF_KIND
from smolmon.cluster.places import Place, read
from tests.cluster.clusters import GUIDE

# Every section and every kind of receiver, so that the loader looks for each key that it knows.
WHOLE = (
    GUIDE.read_text(encoding="utf-8")
    .replace("internet:\n", "internet:\n  expect: {}\n")
    .replace("    kind:", "    expect: {}\n    kind:")
    + """
exporter: {}
isolation: report
bandwidth: {baseline: {edge50: {pi5->mini1: 900Mbit/s}}}
monitor: {remote_write: [{url: "https://store.example/write"}]}
notify:
  heartbeat: {}
  repeat: {}
  receivers:
"""
    + "".join(f"    {kind.value}: {{kind: {kind.value}}}\n" for kind in OF_KIND)
)
# Names that people choose, as the table writes them.
CHOSEN = (
    (r"^nodes\.[^.]+", "nodes.NAME"),
    (r"^segments\.[^.]+", "segments.NAME"),
    (r"^(segments\.NAME\.members)\.[^.]+", r"\1.NODE"),
    (r"^(notify\.receivers)\.[^.]+", r"\1.NAME"),
    (r"\[\d+\]", "[]"),
)
# Whose names the loader takes apart itself.
FREE = {"bandwidth.baseline.LINK.SRC->DST"}


def path_of(key: str) -> str:
    for pattern, name in CHOSEN:
        key = re.sub(pattern, name, key)
    return key


@pytest.fixture(scope="module")
def accepted() -> dict[str, bool]:
    """Every key that the loader knows, and whether it is required wherever it is known."""
    found: dict[str, bool] = {}

    class Recorder(_Reader):
        def mapping(
            self, place: Place | None, required: tuple[str, ...], optional: tuple[str, ...]
        ) -> dict[str, Place] | None:
            if place is not None:
                for name in required + optional:
                    path = path_of(f"{place.key}.{name}" if place.key else name)
                    found[path] = found.get(path, True) and name in required
            return super().mapping(place, required, optional)

    Recorder("cluster.yaml").cluster(read(WHOLE, "cluster.yaml"))
    return found


def test_the_table_has_every_key_that_the_loader_accepts(accepted: dict[str, bool]) -> None:
    above = {path[: dot.start()] for path in KEYS for dot in re.finditer(r"\.|\[\]", path)}
    assert accepted.keys() - KEYS.keys() - above == set()


def test_the_loader_accepts_every_key_of_the_table(accepted: dict[str, bool]) -> None:
    assert KEYS.keys() - accepted.keys() == FREE


def test_what_is_required_is_said_to_be(accepted: dict[str, bool]) -> None:
    of_kind = {"notify.receivers.NAME.url_file", "notify.receivers.NAME.token_file"}
    for path, key in KEYS.items():
        if path not in FREE | of_kind:
            assert key.required == accepted[path], path


@pytest.mark.parametrize("page", [reference.CLUSTER, *reference.PAGES.values()])
def test_the_pages_are_what_the_table_generates(page: str) -> None:
    text = (reference.DOCS / page).read_text(encoding="utf-8")
    assert reference.written(page, text) == text, "run scripts/generate"


def test_every_key_is_on_one_page() -> None:
    pages = [reference.table(page) for page in (reference.CLUSTER, *reference.PAGES.values())]
    for path in KEYS:
        section, _, rest = path.partition(".")
        name = rest if section in reference.PAGES else path
        assert sum(page.count(f"\n| `{name}` |") for page in pages) == 1, path


def test_generate_says_when_a_table_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for page in (reference.CLUSTER, *reference.PAGES.values()):
        (tmp_path / page).write_text(f"# Before\n\n{reference.MARK}\n<!-- /keys -->\n\nafter\n")
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().err.endswith("out of date; run scripts/generate\n")
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    written = (tmp_path / reference.CLUSTER).read_text()
    assert written.startswith("# Before\n")
    assert written.endswith("\nafter\n")
    assert reference.main(["--chekc"]) == 2


def test_a_page_without_marks_is_told_of() -> None:
    with pytest.raises(ValueError, match=r"docs/monitor\.md must have one table between"):
        reference.written("monitor.md", "# Nothing\n")


def test_the_page_says_how_quantities_are_written() -> None:
    text = (reference.DOCS / reference.CLUSTER).read_text(encoding="utf-8")
    for known in (units.DURATION_UNITS, units.RATE_UNITS, units.SIZE_UNITS):
        for unit in known:
            assert f"`{unit}`" in text, unit

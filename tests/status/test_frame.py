"""A frame fits its terminal, whatever the cluster and whatever happens to it."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from smolmon.cluster import Cluster, load
from smolmon.status.frame import aged, frame
from smolmon.status.ink import ASCII, plain
from smolmon.status.judge import picture
from smolmon.status.model import Picture, Word
from smolmon.status.screen import text_of
from tests.cluster.clusters import EXAMPLES, clusters, guide
from tests.status.scenes import NOW, alert, cut_off, down, samples, scenes, seen

SIZES = [(80, 24), (100, 30), (160, 50)]
FILES = sorted(EXAMPLES.glob("*.yaml"))


def scene(cluster: Cluster, name: str) -> Picture:
    """What is seen of `cluster` in one of four ways."""
    rows = samples(cluster)
    last = cluster.nodes[-1].name
    if name == "broken":
        cause = alert(cluster, "SmolmonForwardingDisabled", "critical", "cause", node=last)
        return picture(cluster, seen(cut_off(rows, last), cause))
    if name == "down":
        gone = alert(cluster, "SmolmonNodeDown", "critical", "cause", node=last)
        return picture(cluster, seen(down(cluster, rows, last), gone))
    if name == "unknown":
        return picture(cluster, seen([], rules=False))
    return picture(cluster, seen(rows))


def fits(cluster: Cluster, shown: Picture, columns: int, rows: int | None) -> list[str]:
    """The frame as text; fails if it is wider or higher, with or without colour."""
    lines = frame(cluster, shown, columns, rows, NOW + 2)
    text = plain(lines).split("\n")
    assert max(map(cell_len, text)) <= columns
    assert rows is None or len(text) <= rows
    assert all(c.isprintable() for one in text for c in one)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=columns, color_system="truecolor")
    console.print(text_of(lines, colour=True))
    bare = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert [one.rstrip() for one in bare.rstrip("\n").split("\n")] == plain(lines).rstrip(
        "\n"
    ).split("\n")
    assert ("\x1b[" in str(out.getvalue())) == any(s.style for one in lines for s in one)
    return text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["healthy", "broken", "down", "unknown"])
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_examples_have_all_that_matters(file, name: str, size: tuple[int, int]) -> None:
    cluster = load(file)
    shown = scene(cluster, name)
    lines = fits(cluster, shown, *size)
    text = "\n".join(lines)
    assert shown.verdict.word.value in lines[0]
    if name in ("broken", "down"):
        assert "sudo repair" in lines[1], "the second thing that one sees is what to run"
    drawing = text[text.index("┌") :]
    for node in cluster.nodes:
        assert re.search(rf"[✓!✗?] {node.name}\b", drawing)
    assert f"│ {cluster.nodes[-1].name}" not in text
    matrix = [one for one in lines if one.startswith(cluster.nodes[0].name)]
    assert matrix, "node by peer"
    assert any(one.startswith(("last test", "no bandwidth test")) for one in lines)
    assert re.search(r"(next|slot of) \w+ → ", text)


@settings(max_examples=60, deadline=None)
@given(clusters.flatmap(lambda c: st.tuples(st.just(c), scenes(c))), st.data())
def test_any_cluster_fits_any_terminal(made, data: st.DataObject) -> None:
    cluster, what = made
    shown = picture(cluster, what)
    for columns, rows in SIZES:
        fits(cluster, shown, columns, rows)
    columns = data.draw(st.integers(1, 200))
    rows = data.draw(st.one_of(st.none(), st.integers(1, 70)))
    fits(cluster, shown, columns, rows)


@settings(max_examples=40, deadline=None)
@given(clusters)
def test_with_room_every_node_is_drawn(cluster: Cluster) -> None:
    text = "\n".join(fits(cluster, picture(cluster, seen(samples(cluster))), 200, None))
    drawing = text.split("round trip")[0]
    for node in cluster.nodes:
        assert len(re.findall(rf"✓ {node.name}\b", drawing)) == 1


def test_the_guides_cluster_as_the_guide_draws_it() -> None:
    lines = fits(guide(), scene(guide(), "healthy"), 80, 24)
    assert (
        "\n".join(one.rstrip() for one in lines[3:11])
        == """\
┌ fabric 10.10.0.0/24 thunderbolt chain ───────────────────────────────────────┐
│  ✓ mini1 ─ ✓ 0.25ms 22G ── ✓ mini2 ─ ✓ 0.25ms 22G ── ✓ mini3                 │
│  server                    worker                    gateway                 │
└──┬───────────────────────────────────────────────────┬───────────────────────┘
   │ edge50 192.168.50.0/24                            │ edge51 192.168.51.0/24
   └─✓ 1ms 880M ─ ✓ pi5                                ├─✓ 1ms 880M ─ ✓ pi4
                                                       └─✓ 1ms 880M ─ ✓ jetson
"""
    )


def test_the_longest_names_do_not_wrap() -> None:
    names = [f"{letter * 40}" for letter in "abc"]
    text = (EXAMPLES / "guide.yaml").read_text()
    for old, new in zip(("mini1", "pi4", "jetson"), names, strict=True):
        text = re.sub(rf"\b{old}\b", new, text)
    from smolmon.cluster import parse  # noqa: PLC0415

    cluster = parse(text)
    for size in SIZES:
        fits(cluster, scene(cluster, "broken"), *size)


def test_what_is_old_answers_nothing_any_more() -> None:
    shown = scene(guide(), "healthy")
    assert aged(shown, NOW + 5, 16) == shown
    old = aged(shown, NOW + 60, 16)
    assert old.verdict.word is Word.UNKNOWN
    lines = frame(guide(), old, 100, 30, NOW + 60)
    assert "UNKNOWN" in plain(lines[:1])
    assert "stale, seen by Prometheus 60 s ago" in plain(lines)


def test_an_old_result_of_a_test_has_its_age() -> None:
    lines = frame(guide(), scene(guide(), "healthy"), 160, 50, NOW + 5 * 3600)
    text = plain(lines)
    assert "880 Mbit/s (5 h ago)" in text
    assert "880M 5h" in text


def test_every_sign_has_its_like_in_ascii() -> None:
    for name in ("healthy", "broken", "unknown"):
        lines = frame(guide(), scene(guide(), name), 80, 24, NOW)
        text = plain(lines).translate(ASCII)
        assert text.isascii()
        assert len(text) == len(plain(lines))

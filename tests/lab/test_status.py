"""`smolmon status` on a live cluster, healthy and broken, in real terminals.

With $SMOLMON_STATUS_CAPTURES the screens are kept there: `scripts/status-captures`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smolmon.dashboards.boards.home import VERDICT
from tests.lab.client import ROOT, Lab, refuse_to_replace_a_lab, smolmon, until
from tests.status.terminal import svg, terminal

pytestmark = pytest.mark.long

SIZES = ((80, 24), (160, 50))
# Tests that keep no processor busy, and of which each has a result after a minute and a half.
SECTION = "\nbandwidth: {period: 80s, duration: 1s, guard: 500ms, rate: 400Mbit/s}\n"
FIX = "sudo sysctl -w net.ipv4.ip_forward=1"
WORDS = ("READY", "DEGRADED", "BLOCKED")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("status") / "cluster.yaml"
    text = (ROOT / "examples" / "guide.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("platform: macos", "platform: linux") + SECTION)
    refuse_to_replace_a_lab()
    try:
        smolmon("lab", "up", "--cluster", str(path), "--speed", "10")
        yield Lab(path)
    finally:
        smolmon("lab", "down")


def asked(lab: Lab) -> dict[str, object]:
    """What --json says."""
    args = ["--cluster", str(lab.cluster_file), "--prometheus", lab.monitor["prometheus"]]
    done = smolmon("status", "--json", *args, check=False)
    found: dict[str, object] = json.loads(done.stdout)
    assert done.returncode == (0 if found["verdict"]["word"] == "READY" else 1)  # type: ignore[index]
    return found


def shown(lab: Lab, name: str, wanted: str, fix: str = "") -> None:
    """The live screen says so at each size, with and without colour, and fits."""
    options = ["--cluster", str(lab.cluster_file), "--prometheus", lab.monitor["prometheus"]]
    command = [sys.executable, "-m", "smolmon", "status", "--interval", "1", *options]
    for columns, rows in SIZES:
        for plain in (False, True):
            settings = {"PYTHONPATH": str(ROOT)} | ({"NO_COLOR": "1"} if plain else {})
            with terminal((columns, rows), command, settings) as screen:
                lines = screen.until(
                    lambda now: wanted in "".join(now[:1]) and "bit/s" in "".join(now)
                )
                assert fix in " ".join(lines[:4])
                assert len(lines) <= rows
                assert max(map(len, lines)) <= columns
                (top,) = [row for row in lines if row.startswith("┌")]
                assert top.endswith("┐"), "nothing is wrapped"
                assert len(top) == columns
                coloured = screen.coloured()
                assert ("\x1b[" in coloured) is not plain
                keep(f"{name}-{columns}x{rows}", lines, coloured, columns, plain=plain)
                screen.tmux("send-keys", "C-c")
                screen.until(lambda now: "ended 0" in "\n".join(now))
                assert screen.asks("alternate_on") == "0"


def keep(name: str, lines: list[str], coloured: str, columns: int, *, plain: bool) -> None:
    """The screen as a file of the documentation, where it is asked for."""
    folder = os.environ.get("SMOLMON_STATUS_CAPTURES")
    if folder and plain:
        text = "\n".join(line.rstrip() for line in lines).rstrip() + "\n"
        (Path(folder) / f"status-{name}.txt").write_text(text, encoding="utf-8")
    elif folder and columns == SIZES[0][0]:
        picture = svg(coloured, columns, "smolmon status")
        (Path(folder) / f"status-{name}.svg").write_text(picture, encoding="utf-8")


def test_healthy_then_broken_then_healthy(lab: Lab) -> None:
    def tested() -> bool:
        paths = asked(lab)["paths"]
        return all(p["rate"] is not None for p in paths if p["tested"])  # type: ignore[attr-defined]

    until("every bandwidth test has a result", tested, 240)
    until("no alert", lambda: asked(lab)["verdict"]["word"] == "READY", 120)  # type: ignore[index]
    shown(lab, "healthy", "✓ READY")

    smolmon("lab", "break", "forwarding-off", "--node", "mini3")
    until(
        "the cause is named",
        lambda: "Forwarding" in json.dumps(asked(lab)["troubles"]),
    )
    agreed(lab, "BLOCKED")
    shown(lab, "broken", "✗ BLOCKED", FIX)
    troubles = asked(lab)["troubles"]
    assert [t["node"] for t in troubles] == ["mini3"], "symptoms of it are not told"  # type: ignore[attr-defined]

    without = lab.run(
        "controller",
        "smolmon",
        "status",
        "--json",
        "--prometheus",
        "http://127.0.0.1:1",
        check=False,
    )
    straight = json.loads(without.stdout)
    assert straight["source"] == "the exporters"
    assert straight["seen"] == 6
    assert straight["verdict"]["word"] == "BLOCKED"
    assert "pi4" in straight["verdict"]["reason"]
    assert straight["troubles"][0]["fix"] == "smolmon doctor"
    assert any(p["rtt"] for p in straight["paths"])
    once = lab.run(
        "controller",
        "smolmon",
        "status",
        "--once",
        "--prometheus",
        "http://127.0.0.1:1",
        check=False,
    )
    assert "\x1b" not in once.stdout

    smolmon("lab", "heal")
    until("ready again", lambda: asked(lab)["verdict"]["word"] == "READY", 120)  # type: ignore[index]
    agreed(lab, "READY")
    quiet = lab.run(
        "controller",
        "smolmon",
        "status",
        "--json",
        "--prometheus",
        "http://127.0.0.1:1",
        check=False,
    )
    assert json.loads(quiet.stdout)["verdict"]["word"] == "READY"


def agreed(lab: Lab, word: str) -> None:
    """The home board's own query gives the same answer."""
    expr = VERDICT.replace('cluster="$cluster"', 'cluster="guide"')
    until(
        f"status and board both say {word}",
        lambda: (
            asked(lab)["verdict"]["word"] == word  # type: ignore[index]
            and [WORDS[int(s["value"])] for s in lab.query(expr)] == [word]
        ),
    )

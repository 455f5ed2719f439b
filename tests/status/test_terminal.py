"""The command in real terminals and pipes, with nobody to ask."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.clusters import EXAMPLES, GUIDE
from tests.status.terminal import terminal

ROOT = Path(__file__).parents[2]
NOBODY = ["--prometheus", "http://127.0.0.1:9"]
COMMAND = [sys.executable, "-m", "smolmon", "status", "--cluster", str(GUIDE), *NOBODY]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No certificates of a cluster that somebody really has."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    return kept | {"SMOLMON_CONFIG": str(tmp_path), "PYTHONPATH": str(ROOT), "TERM": "xterm"}


def on_a_terminal(args: list[str], environment: dict[str, str]) -> bytes:
    """All bytes that the command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    found = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # on Linux, how the end of a terminal shows
            break
        if not more:
            break
        found += more
    os.close(ours)
    assert process.wait(10) == 1
    return found


def test_colour_only_where_it_is_wanted(environment: dict[str, str]) -> None:
    assert b"\x1b[" in on_a_terminal(["--once"], environment)
    for args, extra in ((["--plain"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})):
        written = on_a_terminal(["--once", *args], environment | extra)
        assert b"\x1b" not in written
        assert b"? UNKNOWN" in written


def test_a_pipe_gets_one_frame_and_no_escape_codes(environment: dict[str, str]) -> None:
    done = subprocess.run(COMMAND, capture_output=True, env=environment, check=False, timeout=60)
    assert done.returncode == 1
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""
    text = done.stdout.decode()
    assert text.count("UNKNOWN") == 1
    assert "127.0.0.1:9 refuses the connection" in text
    assert "run this where `smolmon setup` was run" in " ".join(text.split())


def test_a_terminal_without_our_signs_gets_ascii(environment: dict[str, str]) -> None:
    done = subprocess.run(
        COMMAND,
        capture_output=True,
        env=environment | {"PYTHONIOENCODING": "ascii"},
        check=False,
        timeout=60,
    )
    assert done.stdout.isascii()
    assert b"+--" in done.stdout


def test_json_is_one_object(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "--json"], capture_output=True, env=environment, check=False, timeout=60
    )
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"]["word"], found["seen"]) == (1, "UNKNOWN", 0)


@pytest.mark.parametrize("plain", [False, True])
def test_it_fits_a_terminal_that_changes_and_leaves_it_as_it_was(
    environment: dict[str, str], *, plain: bool
) -> None:
    settings = {key: environment[key] for key in ("SMOLMON_CONFIG", "PYTHONPATH")}
    settings |= {"NO_COLOR": "1"} if plain else {}
    with terminal((80, 24), COMMAND, settings) as screen:
        screen.until(lambda now: "? UNK" in "".join(now[:1]))
        for columns, rows in ((41, 12), (160, 50), (10, 4)):
            screen.tmux("resize-window", "-x", str(columns), "-y", str(rows))
            # The last row of a frame reaches as far as it can; no row reaches beyond.
            lines = screen.until(
                lambda now, wide=columns: (
                    "? UNK" in "".join(now[:1])  # type: ignore[misc]
                    and max(map(len, now)) >= min(wide, 78) - 9
                )
            )
            assert len(lines) <= rows
            assert not [row for row in lines if row[:1] == "┐"], "a wrapped row"
        assert screen.asks("alternate_on") == "1"
        assert ("\x1b[" in screen.coloured()) is not plain
        screen.tmux("send-keys", "C-c")
        screen.until(lambda now: "ended 0" in "".join(now))
        assert (screen.asks("alternate_on"), screen.asks("cursor_flag")) == ("0", "1")


def test_it_ends_with_its_session(environment: dict[str, str]) -> None:
    settings = {key: environment[key] for key in ("SMOLMON_CONFIG", "PYTHONPATH")}
    with terminal((80, 24), COMMAND, settings) as screen:
        screen.until(lambda now: "UNKNOWN" in "".join(now))
        shell = screen.asks("pane_pid")
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text(encoding="ascii")
        os.kill(int(children.split()[0]), 15)
        screen.until(lambda now: "ended 0" in "".join(now))
        assert screen.asks("alternate_on") == "0"


def test_frames_follow_each_other_without_moving_the_cursor(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--plain", "--interval", "0.5"], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    seen = 0
    for row in process.stdout:
        assert b"\x1b" not in row
        seen += b"UNKNOWN" in row
        if seen == 2:
            break
    process.stdout.close()  # as `head` does
    assert process.wait(30) == 1


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND[:4], "--cluster", str(EXAMPLES / "none.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1

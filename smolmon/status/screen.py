"""Frames on a terminal or in a pipe. The only part that knows rich."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from smolmon.cluster import Cluster
from smolmon.status.ask import Look
from smolmon.status.frame import aged, frame
from smolmon.status.ink import ASCII, Line, line, plain
from smolmon.status.judge import picture
from smolmon.status.model import Picture

# Colours of the terminal's own palette: readable on light and on dark.
COLOURS = {
    "ok": "green",
    "degraded": "yellow",
    "broken": "bold red",
    "unknown": "magenta",
    "ok-badge": "bold black on green",
    "degraded-badge": "bold black on yellow",
    "broken-badge": "bold white on red",
    "unknown-badge": "bold white on magenta",
    "title": "cyan",
    "strong": "bold",
    "dim": "bright_black",
    "": "",
}
STEP = 0.1  # seconds until a key or a new size of the terminal is noticed
SLACK = 10.0  # seconds beyond three intervals after which nothing is believed any more
SMALL = (80, 24)


def text_of(lines: Iterable[Line], *, colour: bool) -> Text:
    """Lines for rich."""
    found = Text(no_wrap=True, overflow="crop", end="")
    for index, one in enumerate(lines):
        if index:
            found.append("\n")
        for span in one:
            found.append(span.text, COLOURS[span.style] if colour else "")
    return found


def width_of(out: TextIO) -> int:
    """Columns of the terminal; in a pipe $COLUMNS, or 100."""
    if out.isatty():
        return os.get_terminal_size(out.fileno()).columns or SMALL[0]
    return shutil.get_terminal_size((100, 24)).columns


def show_once(cluster: Cluster, look: Look, *, colour: bool, out: TextIO) -> Picture:
    """Print one frame, as high as it takes."""
    seen = picture(cluster, look())
    lines = frame(cluster, seen, width_of(out), None, time.time())
    if colour:
        console = Console(file=out, force_terminal=True, highlight=False, width=width_of(out))
        console.print(text_of(lines, colour=True))
    else:
        out.write(writable(plain(lines), out) + "\n")
        out.flush()
    return seen


def writable(text: str, out: TextIO) -> str:
    """`text`, or its like in ASCII where `out` has no other characters."""
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeError, LookupError):
        return text.translate(ASCII).encode("ascii", "replace").decode()
    return text


def show_frames(cluster: Cluster, look: Look, interval: float, out: TextIO) -> None:
    """Print one frame after the other, without ever moving the cursor, until interrupted."""
    while True:
        begun = time.monotonic()
        show_once(cluster, look, colour=False, out=out)
        out.write("\n")
        out.flush()
        time.sleep(max(0.0, begun + interval - time.monotonic()))


class _Watcher(threading.Thread):
    """Looks every `interval` seconds, so that the screen never waits for an answer."""

    def __init__(self, cluster: Cluster, look: Look, interval: float) -> None:
        super().__init__(daemon=True, name="status")
        self.latest: Picture | None = None
        self.failed: BaseException | None = None
        self._cluster, self._look, self._interval = cluster, look, interval

    def run(self) -> None:
        try:
            while True:
                begun = time.monotonic()
                self.latest = picture(self._cluster, self._look())
                time.sleep(max(0.0, begun + self._interval - time.monotonic()))
        except BaseException as error:
            self.failed = error


def live(cluster: Cluster, look: Look, interval: float, *, colour: bool) -> None:
    """The live screen, until interrupted; leaves the terminal as it was."""
    # An exported $COLUMNS would hold the size fast.
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    console = Console(no_color=not colour, highlight=False, _environ=kept)
    watcher = _Watcher(cluster, look, interval)
    watcher.start()

    def draw(size: tuple[int, int]) -> Text:
        now = time.time()
        if watcher.latest is None:
            return text_of([line(f" asking about {cluster.name} …")], colour=colour)
        shown = aged(watcher.latest, now, 3 * interval + SLACK)
        lines = frame(cluster, shown, *size, now)
        if console.encoding.lower().replace("-", "") != "utf8":
            return Text(writable(plain(lines), sys.stdout), no_wrap=True, overflow="crop")
        return text_of(lines, colour=colour)

    with _hung_up(), Live(console=console, screen=True, auto_refresh=False) as screen:
        drawn: object = None
        while watcher.failed is None:
            size = (console.size.width, console.size.height)
            # Every second, for the ages; at once for a new size or new results.
            state = (size, watcher.latest, int(time.time()))
            if state != drawn:
                screen.update(draw(size), refresh=True)
                drawn = state
            time.sleep(STEP)
    raise watcher.failed


@contextmanager
def _hung_up() -> Iterator[None]:
    """Let the end of the session or a kill leave the terminal as Ctrl-C does."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):
                signal.signal(number, handler)

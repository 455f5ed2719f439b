"""A real terminal of a chosen size: tmux, with a server of its own that ends with the test."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

# GitHub shows no fonts from elsewhere, and nobody who reads documentation should fetch some.
SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


@frozen
class Terminal:
    """A tmux session: what is on its screen, and its keys."""

    socket: Path

    def tmux(self, *args: str) -> str:
        """Run a tmux command; what it prints."""
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", str(self.socket), *args],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def screen(self) -> list[str]:
        """The lines, without colours."""
        return self.tmux("capture-pane", "-p").splitlines()

    def coloured(self) -> str:
        """The screen with the escape codes of its colours."""
        return self.tmux("capture-pane", "-p", "-e")

    def asks(self, what: str) -> str:
        """The value of one of tmux' formats, such as `alternate_on`."""
        return self.tmux("display-message", "-p", f"#{{{what}}}").strip()

    def until(self, holds: Callable[[list[str]], bool], deadline: float = 30) -> list[str]:
        """The screen as soon as it `holds`; fails, showing it, after `deadline` seconds."""
        end = time.monotonic() + deadline
        while not holds(screen := self.screen()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {deadline:g} s; now:\n" + "\n".join(screen))
            time.sleep(0.1)
        return screen


@contextmanager
def terminal(
    size: tuple[int, int], command: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator[Terminal]:
    """A terminal of so many columns and rows in which `command` runs; then its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        here = Terminal(Path(folder) / "tmux")
        settings = [f"{key}={value}" for key, value in (environment or {}).items()]
        inner = shlex.join(["env", "-u", "NO_COLOR", *settings, *command])
        script = f"{inner}; printf 'ended %s\\n' $?; exec cat"
        try:
            here.tmux(
                *("new-session", "-d", "-x", str(size[0]), "-y", str(size[1])),
                *("-e", f"PATH={os.environ['PATH']}", "-e", "LC_ALL=C.UTF-8", script),
                *(";", "set", "-g", "status", "off", ";", "set", "-g", "window-size", "manual"),
                *(";", "resize-window", "-x", str(size[0]), "-y", str(size[1])),
            )
            yield here
        finally:
            subprocess.run(
                ["tmux", "-S", str(here.socket), "kill-server"], capture_output=True, check=False
            )


def svg(coloured: str, columns: int, title: str) -> str:
    """A picture of a screen that was captured in colour."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=columns, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(coloured.rstrip("\n")), no_wrap=True, crop=True)
        return console.export_svg(title=title, code_format=SVG, unique_id="status")

"""The page that the benchmarks write their tables into."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `benchmarks/rtt`, `benchmarks/scrape` and `benchmarks/setup`; run them as root to have
your own numbers.
Compare rows of one run with each other, not with those of another machine.
"""


def write_section(name: str, title: str, lines: Sequence[str]) -> None:
    """Replace the section `name` of the page, or add it."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    body = "\n".join(lines)
    section = f"<!-- {name} -->\n\n## {title}\n\n{body}\n\n<!-- /{name} -->\n"
    old = re.compile(f"<!-- {name} -->.*<!-- /{name} -->\n", re.DOTALL)
    found = old.search(page)
    PAGE.write_text(
        page[: found.start()] + section + page[found.end() :] if found else f"{page}\n{section}",
        encoding="utf-8",
    )


def machine() -> str:
    """What it ran on."""
    kernel, python = platform.release().split("-")[0], platform.python_version()
    return f"{os.cpu_count()} CPUs ({platform.machine()}), Linux {kernel}, Python {python}"

"""`/bin/ps -o rss= -p PID`: the memory of a process."""

from __future__ import annotations

import re

from smolmon.macos.text import number

_RSS = re.compile(r"\s*([0-9]+)\s*")


def resident_memory(text: str) -> int | None:
    """Bytes in memory, from `ps -o rss= -p PID`: one number, in units of 1024 bytes (man)."""
    match = _RSS.fullmatch(text)
    value = number(match[1]) if match is not None else None
    return value * 1024 if value is not None else None

"""`/bin/ps -o rss= -p PID` and `-o etime=`: the memory of a process, and how long it runs."""

from __future__ import annotations

import re

from smolmon.macos.text import number

_ELAPSED = re.compile(r"\s*(?:(?:([0-9]{1,6})-)?([0-9]{1,2}):)?([0-9]{1,2}):([0-9]{1,2})\s*")
_RSS = re.compile(r"\s*([0-9]+)\s*")


def resident_memory(text: str) -> int | None:
    """Bytes in memory, from `ps -o rss= -p PID`: one number, in units of 1024 bytes (man)."""
    match = _RSS.fullmatch(text)
    value = number(match[1]) if match is not None else None
    return value * 1024 if value is not None else None


def elapsed(text: str) -> int | None:
    """Seconds since the start, from `ps -o etime= -p PID`: `[[dd-]hh:]mm:ss` (man, and POSIX)."""
    match = _ELAPSED.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds

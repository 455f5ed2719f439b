"""Recorded output of macOS' tools, under tests/macos/recordings.

Typed anew with addresses of our own, after published captures and the format strings in Apple's
source; docs/macos.md says which. Nobody ran these commands on a Mac for this project.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent / "recordings"


def recorded(name: str) -> str:
    """The text of a recording."""
    return (_HERE / name).read_text(encoding="utf-8")

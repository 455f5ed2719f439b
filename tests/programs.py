"""Where the programs of others are that tests run: what scripts/tools and newer-tools fetched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

OLDER, NEWER = "tools", "newer-tools"


def program(name: str, kept_in: str = OLDER) -> str:
    """The path of a program: where a script of that name puts it, or, for the older, on PATH.

    A test that lacks one fails. It must not pass for want of what it is about.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("SMOLMON_CACHE") or Path(cache) / "smolmon") / kept_in
    found = shutil.which(str(folder / name))
    if found is None and kept_in == OLDER:
        found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not in {folder}: run scripts/{kept_in}", False)
    return found

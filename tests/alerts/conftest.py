"""Where the programs are that these tests run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Find a program of Prometheus or Alertmanager: where scripts/tools puts it, or on PATH."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("SMOLMON_CACHE") or Path(cache) / "smolmon") / "tools"

    def find(name: str) -> str:
        found = shutil.which(str(folder / name)) or shutil.which(name)
        if found is None:
            pytest.fail(f"{name} is neither in {folder} nor on PATH: run scripts/tools", False)
        return found

    return find

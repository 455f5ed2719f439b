"""Tests on the emulated cluster need root; in CI they never count as skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands here; without root skip it, but let it fail in CI."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.lab)
        if os.geteuid() != 0 and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(reason="the emulated cluster needs root"))

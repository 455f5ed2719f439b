"""Where the programs are that these tests run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.programs import program


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Find a program of Prometheus or Alertmanager: where scripts/tools puts it, or on PATH."""
    return program

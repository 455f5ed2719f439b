"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("smolmon", deadline=None)
settings.load_profile("smolmon")


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Certificate authorities are made in a folder that is thrown away."""
    monkeypatch.setenv("SMOLMON_CONFIG", str(tmp_path_factory.mktemp("config")))

"""What every test must not touch: the configuration directory of whoever runs them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Certificate authorities are made in a folder that is thrown away."""
    monkeypatch.setenv("SMOLMON_CONFIG", str(tmp_path_factory.mktemp("config")))

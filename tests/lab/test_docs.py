"""The first of README's two commands, as printed; the other is the gate that runs these tests."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.lab.client import ROOT, refuse_to_replace_a_lab, smolmon

pytestmark = pytest.mark.long


def test_the_demonstration_breaks_and_heals_a_cluster() -> None:
    refuse_to_replace_a_lab()
    clean = {k: v for k, v in os.environ.items() if k != "SMOLMON_CLUSTER"}
    done = subprocess.run(
        ["scripts/demo"], cwd=ROOT, capture_output=True, text=True, check=False, env=clean
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "forwarding-off" in done.stdout
    assert "Sent in all: firing, resolved." in done.stdout
    assert smolmon("lab", "status", check=False).returncode != 0  # it is taken away

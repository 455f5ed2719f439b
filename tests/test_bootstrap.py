"""`scripts/bootstrap` asks of a machine only what is needed on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.alerts.scenarios import ROOT

# What every system has, and Python and ssh: neither apt-get nor what the lab needs.
PROGRAMS = ("bash", "env", "dirname", "id", "ssh")


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that is not Debian."""
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found, name
        (tmp_path / name).symlink_to(found)
    (tmp_path / "python3").symlink_to(Path(sys.executable).resolve())  # which may be a script
    return {**os.environ, "PATH": str(tmp_path)}


def bootstrap(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/bootstrap", *args],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_the_lab_a_mac_will_do(elsewhere: dict[str, str]) -> None:
    done = bootstrap(elsewhere)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_lab_needs_is_named_where_apt_is_not(elsewhere: dict[str, str]) -> None:
    done = bootstrap(elsewhere, "--lab")
    assert done.returncode == 2
    assert done.stderr.startswith("scripts/bootstrap: this is not Debian or Ubuntu; install ")
    assert " mmdebstrap " in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_labs_image_has_the_programs_that_the_lab_needs() -> None:
    script = (ROOT / "scripts/bootstrap").read_text(encoding="utf-8")
    needed = set(re.findall(r"^ *need \S+ (\S+)$|missing\+=\(([a-z]\S*)\)", script, re.MULTILINE))
    image = (ROOT / "deploy/lab.Dockerfile").read_text(encoding="utf-8")
    installed = image.split("--no-install-recommends")[1].split("&&")[0].replace("\\", "").split()
    # In the image curl asks after its health, and procps is for who looks inside.
    only_tests, only_image = {"dbus-daemon", "tmux"}, {"curl", "procps"}
    assert set(installed) == {a or b for a, b in needed} - only_tests | only_image


def test_another_word_is_told_of(elsewhere: dict[str, str]) -> None:
    done = bootstrap(elsewhere, "--lap")
    assert (done.returncode, done.stderr) == (2, "usage: scripts/bootstrap [--lab]\n")

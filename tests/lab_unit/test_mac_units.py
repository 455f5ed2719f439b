"""From launchd's property lists to systemd's units."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmon.lab.mac import units
from smolmon.lab.mac.units import UnsupportedError

JOB: units.Plist = {"Label": "dev.smolmon.x", "ProgramArguments": ["/bin/echo", "a b"]}


def service(job: units.Plist) -> dict[str, list[str]]:
    """The settings of a job's service unit."""
    text = dict(units.units(job, "/throttle"))[f"{units.unit_name(job['Label'])}.service"]
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(key, []).append(value)
    return found


def test_a_job_that_is_kept_alive() -> None:
    kept = service({**JOB, "KeepAlive": True, "UserName": "nobody", "GroupName": "wheel"})
    assert kept["Restart"] == ["always"]
    assert kept["User"] == ["nobody"]
    assert kept["Group"] == ["root"]  # wheel is 0, as root's group is on Linux
    assert kept["ExecStartPre"] == ['+/throttle "launchd-dev.smolmon.x" 10']
    assert kept["StandardOutput"] == ["null"]


@pytest.mark.parametrize(
    ("keep", "restart"),
    [
        (False, "no"),
        ({"SuccessfulExit": False}, "on-failure"),
        ({"SuccessfulExit": True}, "on-success"),
        ({"Crashed": True}, "on-abnormal"),
        ({"PathState": {"/x": True}}, "always"),
    ],
)
def test_conditions_of_keep_alive(keep: object, restart: str) -> None:
    assert service({**JOB, "KeepAlive": keep})["Restart"] == [restart]


def test_an_interval_is_a_timer() -> None:
    made = dict(units.units({**JOB, "StartInterval": 300}, "/throttle"))
    assert "OnActiveSec=300\nOnUnitActiveSec=300\n" in made["launchd-dev.smolmon.x.timer"]
    assert not units.starts_at_load({**JOB, "StartInterval": 300})
    assert units.starts_at_load({**JOB, "RunAtLoad": True})


def test_watched_paths() -> None:
    made = dict(units.units({**JOB, "WatchPaths": ["/etc/a b", "/100%"]}, "/throttle"))
    assert made["launchd-dev.smolmon.x.path"] == (
        "[Path]\nPathModified=/etc/a b\nPathModified=/100%%\n"
    )


def test_a_calendar() -> None:
    made = dict(units.units({**JOB, "StartCalendarInterval": {"Hour": 3, "Weekday": 0}}, "/t"))
    assert "OnCalendar=Sun *-*-* 3:*:00" in made["launchd-dev.smolmon.x.timer"]


@pytest.mark.parametrize(
    "job",
    [
        {},
        {"Label": "x"},
        {"Label": "", "Program": "/bin/true"},
        {"Label": "x", "ProgramArguments": ["echo"]},
        {"Label": "x", "ProgramArguments": [1]},
    ],
)
def test_what_launchd_would_not_take(job: units.Plist) -> None:
    with pytest.raises(UnsupportedError):
        units.check(job)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
def test_any_label_is_the_name_of_a_unit(label: str) -> None:
    assert re.fullmatch(r"launchd-[A-Za-z0-9.:_\\-]+", units.unit_name(label))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    words = ["/bin/echo", "a b", "$HOME", "%n", 'q"q', "\\", "x\ny"]
    job = {**JOB, "ProgramArguments": words, "EnvironmentVariables": {"A": 'b "c" %n'}}
    for name, text in units.units({**job, "StartInterval": 5}, "/bin/true"):
        (tmp_path / name).write_text(text)
    names = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(
        ["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False
    )
    assert str(tmp_path) not in done.stderr, done.stderr

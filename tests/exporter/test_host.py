"""Which operating system it is: asked in one place."""

import re
from pathlib import Path

import pytest

from smolmon.exporter import host
from smolmon.exporter.echo_linux import LinuxEcho
from smolmon.exporter.echo_macos import MacEcho
from smolmon.exporter.process_macos import Process
from smolmon.exporter.system_linux import LinuxSystem, free_bind
from smolmon.exporter.system_macos import MacSystem
from smolmon.exporter.trace_linux import LinuxTracer


def test_linux() -> None:
    here = host.this_host()
    assert isinstance(here.system, LinuxSystem)
    names = {family.name for family in here.process()}
    assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= names
    here.system.close()


def test_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.sys, "platform", "darwin")
    mac = host.this_host()
    assert mac.open_echo is MacEcho
    assert isinstance(mac.system, MacSystem)
    assert isinstance(mac.process, Process)
    assert mac.open_tracer is None
    names = {family.name for family in mac.process()}
    assert {"process_cpu_seconds", "process_start_time_seconds", "process_open_fds"} <= names


def test_apples_tools_on_a_linux_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "networksetup"
    tool.touch()
    monkeypatch.setattr(host, "NETWORKSETUP", tool)
    stand_in = host.this_host()
    assert isinstance(stand_in.system, MacSystem)
    assert stand_in.open_echo is LinuxEcho
    assert stand_in.open_tracer is LinuxTracer
    assert stand_in.free_bind is free_bind
    # A socket of that number opens there for root, and would never say anything.
    with pytest.raises(OSError, match="no routing socket"):
        stand_in.system.changes()


def test_nothing_else_asks() -> None:
    room = Path(host.__file__).resolve().parent
    asks = re.compile(r"sys\.platform|platform\.system\(|os\.uname\(")
    assert [p.name for p in room.glob("*.py") if asks.search(p.read_text("utf-8"))] == ["host.py"]

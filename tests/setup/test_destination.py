"""What the real `ssh -G` says about where it would connect to."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest
from attrs import evolve

from smolmon.cluster import Node, Platform
from smolmon.setup.destination import Way, behind, here, jump_words, refusals, ways
from tests.setup.material import guide

CONFIG = """\
Host pi5
    HostName 192.168.50.2
    User pi
Host pi4
    HostName 10.0.0.4
    Port 2222
    ProxyJump mini1,far@mini3:2022
Host mini1
    HostName 192.168.1.11
Host mini3
    HostName 192.168.1.13
Host inner
    HostName inner.invalid
    ProxyCommand nc %h %p
"""


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The real ssh with a configuration of the test's own, for which it looks only in $HOME."""
    file = tmp_path / "config"
    file.write_text(CONFIG)
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {file} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def ask(*names: str) -> dict[str, Way]:
        nodes = [Node(name, Platform.LINUX, name, name) for name in names]
        return asyncio.run(ways(nodes))

    return ask


def test_aliases_ports_and_jump_hosts(told):
    found = told("pi5", "pi4", "mini1", "inner")
    assert found["pi5"] == Way("192.168.50.2", 22, "pi", (), (IPv4Address("192.168.50.2"),))
    jumps = (("192.168.1.11", 22), ("192.168.1.13", 2022))
    assert found["pi4"].jumps == jumps
    assert (found["pi4"].port, found["pi4"].addresses) == (2222, (IPv4Address("10.0.0.4"),))
    assert found["inner"].addresses == ()  # a name that only the far end knows
    assert behind(found) == {
        "pi5": frozenset(),
        "pi4": frozenset({"mini1"}),  # another port of mini3 may be another machine
        "mini1": frozenset(),
        "inner": frozenset(),
    }


def test_a_destination_inside_a_segment_is_refused_with_the_remedy(told):
    node = evolve(guide().node("pi5"), ssh="pi5")
    (line,) = refusals(guide(), node, told("pi5")["pi5"])
    assert "its SSH connection goes to 192.168.50.2, inside edge50 (192.168.50.0/24)" in line
    assert "`HostName` for `Host pi5` in ~/.ssh/config" in line
    assert list(refusals(guide(), node, told("mini1")["mini1"])) == []


def test_a_jump_host_inside_a_segment_is_refused_too():
    way = Way("192.168.1.14", 22, "pi", (("10.10.0.1", 22),), (IPv4Address("192.168.1.14"),))
    (line,) = refusals(guide(), guide().node("pi5"), way)
    assert "10.10.0.1, inside fabric" in line


def test_only_this_machine_is_here():
    addresses = {"own": "127.0.0.1", "other": "192.0.2.1"}
    found = {n: Way(a, 22, "", (), (IPv4Address(a),)) for n, a in addresses.items()}
    assert here(found) == {"own"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("host", ["host"]),
        ("me@host:2222", ["-p", "2222", "-l", "me", "host"]),
        ("[fe80::1%en0]:22", ["-p", "22", "fe80::1%en0"]),
        ("ssh://me@host:22/", ["-p", "22", "-l", "me", "host"]),
    ],
)
def test_entries_of_proxyjump(spec, words):
    assert jump_words(spec) == words


def test_without_ssh_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(ways(guide().nodes)) == {}

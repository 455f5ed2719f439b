"""The runner, over a stand-in for ssh that runs scripts right here, and what ssh's errors mean."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from smolmon.cluster import Node, Platform
from smolmon.setup.ssh import SshError, connections, explain

NODE = Node("pi5", Platform.LINUX, "pi@192.168.1.14", "192.168.1.14")


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Put a program called ssh in front of the real one; returns its log of arguments."""

    def install(body: str) -> Path:
        log = tmp_path / "log"
        program = tmp_path / "ssh"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {log}\n'
            f'while [ "$1" != -- ]; do shift; done\nshift 2\n{body}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return log

    return install


def run(script: str, timeout: float = 10.0, *, fresh: bool = False):
    with connections([NODE]) as runners:
        return asyncio.run(runners["pi5"].run(script, timeout, fresh=fresh))


def test_status_and_both_outputs(ssh):
    log = ssh('exec sh -c "$*"')
    result = run("echo out; echo err >&2; exit 255")
    assert (result.status, result.out, result.err) == (255, "out\n", "err")
    words = log.read_text().split()
    assert words[-4:] == ["--", "pi@192.168.1.14", "/bin/sh", "-s"]
    assert "BatchMode=yes" in words
    assert "ControlMaster=auto" in words
    assert not any("StrictHostKeyChecking" in word for word in words)


def test_a_fresh_connection_shares_nothing(ssh):
    log = ssh('exec sh -c "$*"')
    assert run("true", fresh=True).status == 0
    assert "ControlPath=none" in log.read_text()
    assert "ControlMaster=auto" not in log.read_text()


def test_what_never_reached_its_end_is_an_error_not_a_status(ssh):
    ssh("echo half; echo 'pi@192.168.1.14: Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(SshError) as error:
        run("true")
    assert str(error.value) == (
        "pi5: it does not accept your SSH key; `ssh-copy-id pi@192.168.1.14` installs it"
    )


def test_a_script_that_hangs_is_given_up(ssh):
    ssh("exec sleep 60")
    began = time.monotonic()
    with pytest.raises(SshError, match="no answer to a command within 0 s"):
        run("true", timeout=0.2)
    assert time.monotonic() - began < 5


def test_nothing_is_left_behind(ssh):
    ssh('exec sh -c "$*"')
    with connections([NODE]) as runners:
        socket = runners["pi5"]._socket
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert len(str(socket)) + 17 < 104  # ssh adds 17 characters to a name of its own
    assert not socket.parent.exists()


def test_without_ssh(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SshError, match="install the OpenSSH client"):
        run("true")


@pytest.mark.parametrize(
    ("err", "said"),
    [
        ("Host key verification failed.", "host key is not known here; log in once by hand"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "ssh-keygen -R 192.168.1.14",
        ),
        ("ssh: connect to host x port 22: Connection timed out", "it does not answer"),
        ("ssh: connect to host x port 22: No route to host", "no way to it from here"),
        ("ssh: connect to host x port 22: Connection refused", "enable --now ssh"),
        ("ssh: Could not resolve hostname pi5: Name or service not known", "~/.ssh/config"),
        ("Connection closed by 192.168.1.14 port 22", "journalctl -u ssh"),
        ("banner\nsomething new", "ssh failed: something new"),
        ("", "the connection broke"),
    ],
)
def test_what_ssh_means(err, said):
    what, remedy = explain(err, "pi@192.168.1.14")
    assert said in f"{what}; {remedy}"


def test_a_mac_that_keeps_the_terminal_from_the_network_is_told(monkeypatch):
    err = "ssh: connect to host mini1 port 22: No route to host"
    assert "Local Network" not in explain(err, "mini1")[1]
    monkeypatch.setattr("smolmon.setup.ssh.sys.platform", "darwin")
    assert "Privacy & Security > Local Network" in explain(err, "mini1")[1]


def master(path: Path, answer: bytes) -> tuple[socket.socket, threading.Thread, list[bytes]]:
    """A stand-in for ssh's multiplexing master (PROTOCOL.mux); what it was sent."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    sent: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as packets:
            connection.sendall(struct.pack(">III", 8, 1, 4))
            for _ in range(2):
                sent.append(packets.read(*struct.unpack(">I", packets.read(4))))
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return server, thread, sent


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (struct.pack(">III", 8, 0x80000001, 0), False),
        (struct.pack(">III", 8, 0x80000003, 0), True),
        (b"", True),
    ],
)
def test_a_master_is_told_to_end_and_asked_by_ssh_where_that_fails(ssh, answer, asked):
    log = ssh("exit 0")
    log.touch()
    with connections([NODE]) as runners:
        server, thread, sent = master(runners["pi5"]._socket, answer)
    thread.join(5)
    server.close()
    assert sent == [struct.pack(">II", 1, 4), struct.pack(">II", 0x10000005, 0)]
    assert ("-O exit" in log.read_text()) == asked

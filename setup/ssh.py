"""Running scripts on a node: the boundary, and the real one over the system's `ssh`.

The user's own ssh configuration decides how a node is reached (jump hosts, keys, agent, host-key
policy); nothing here weakens it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from attrs import frozen

from smolmon.cluster import Node
from smolmon.setup.shell import framed, unframed
from smolmon.setup.together import ended_by

CONNECT_TIMEOUT = 8  # seconds
PERSIST = 60  # seconds without use, after which a shared connection ends by itself


@frozen
class Result:
    """What a script left: its exit status and both outputs."""

    status: int
    out: str
    err: str


class SshError(Exception):
    """A node cannot be reached, or a script did not run to its end. One line, with the remedy."""

    def __init__(self, node: str, what: str, remedy: str) -> None:
        super().__init__(f"{node}: {what}; {remedy}")
        self.node = node


class Runner(Protocol):
    """Runs a shell script on one node."""

    async def run(self, script: str, timeout: float = 30.0, *, fresh: bool = False) -> Result:
        """Run `script` by /bin/sh, for at most `timeout` seconds.

        `fresh` uses a connection of its own, made for this script: the only proof that the node
        can still be reached. Raises SshError; a script that fails is a Result, not an error.
        """


class SshRunner:
    """The Runner over ssh(1). The first script opens a connection that the others share."""

    def __init__(self, node: str, destination: str, socket: Path) -> None:
        self._node = node
        self._destination = destination
        self._socket = socket

    async def run(self, script: str, timeout: float = 30.0, *, fresh: bool = False) -> Result:
        """See Runner."""
        token = f"@@status-{secrets.token_hex(8)}"
        # Not a pipe: the master that ssh leaves behind may keep it open.
        with tempfile.TemporaryFile() as errors:
            try:
                process = await asyncio.create_subprocess_exec(
                    "ssh",
                    *(_FRESH if fresh else _shared(self._socket)),
                    *_OPTIONS,
                    "--",
                    self._destination,
                    "/bin/sh -s",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is ours to handle, not ssh's
                )
            except FileNotFoundError:
                raise SshError(
                    self._node, "there is no `ssh` here", "install the OpenSSH client"
                ) from None
            try:
                out, _ = await asyncio.wait_for(
                    process.communicate(framed(script, token).encode()), timeout
                )
            except asyncio.TimeoutError:
                raise SshError(
                    self._node,
                    f"no answer to a command within {timeout:.0f} s",
                    f"try `ssh {self._destination} true`",
                ) from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                    # Its pipes may be open at the far end still, held by the master.
                    transport = getattr(process, "_transport", None)
                    if transport is not None:
                        transport.close()
            errors.seek(0)
            err = errors.read().decode(errors="replace").strip()
        found = unframed(out.decode(errors="replace"), token)
        if found is None:
            what, remedy = explain(err, self._destination)
            raise SshError(self._node, what, remedy)
        return Result(found[1], found[0], err)

    def closing(self) -> subprocess.Popen[bytes] | None:
        """Begin to end the shared connection; None where there is none any more."""
        if not self._socket.exists() or _told_to_end(self._socket):
            return None
        return subprocess.Popen(
            ["ssh", "-o", f"ControlPath={self._socket}", "-O", "exit", "--", self._destination],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


# From OpenSSH's PROTOCOL.mux: each packet is its length, its type, and two numbers or none.
_HELLO = struct.pack(">III", 8, 1, 4)  # of protocol version 4, that of OpenSSH 5.4 and newer
_TERMINATE = struct.pack(">III", 8, 0x10000005, 0)
_OK = struct.pack(">II", 0x80000001, 0)


def _told_to_end(path: Path) -> bool:
    """What `ssh -O exit` does, without a process for each node. False where it must be asked."""
    try:
        with socket.socket(socket.AF_UNIX) as master, master.makefile("rb") as answers:
            master.settimeout(1.0)
            master.connect(str(path))
            master.sendall(_HELLO + _TERMINATE)
            for _ in range(2):  # its own greeting comes first
                answer = answers.read(*struct.unpack(">I", answers.read(4)))
            return answer == _OK
    except (OSError, struct.error):
        return False


_OPTIONS = (
    *("-T", "-a", "-x"),
    *("-o", "BatchMode=yes"),
    *("-o", f"ConnectTimeout={CONNECT_TIMEOUT}"),
    *("-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3"),
    # What a user's configuration may hold for logging in by hand, and would break a script.
    *("-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no"),
)
_FRESH = ("-o", "ControlMaster=no", "-o", "ControlPath=none")


def _shared(socket: Path) -> tuple[str, ...]:
    # It ends by itself, should we be killed before we end it.
    return (
        *("-o", "ControlMaster=auto", "-o", f"ControlPersist={PERSIST}"),
        *("-o", f"ControlPath={socket}"),
    )


@contextlib.contextmanager
def connections(nodes: Iterable[Node]) -> Iterator[dict[str, Runner]]:
    """A Runner for each node, by name. Leaves no process and no file behind.

    Raises KeyboardInterrupt in its body for every signal of together.SIGNALS.
    """
    with ended_by(signal.default_int_handler):
        # Not $TMPDIR: a Unix socket's path has at most 104 bytes on macOS, whose own is long.
        directory = Path(tempfile.mkdtemp(prefix="smolmon-", dir="/tmp"))
        runners = {
            node.name: SshRunner(node.name, node.ssh, directory / str(number))
            for number, node in enumerate(nodes)
        }
        try:
            yield dict(runners)
        finally:
            # It takes a moment, and half of it leaves connections open.
            with ended_by(signal.SIG_IGN):
                for process in [runner.closing() for runner in runners.values()]:
                    if process is not None:
                        try:
                            process.wait(5)
                        except subprocess.TimeoutExpired:
                            process.kill()
                shutil.rmtree(directory, ignore_errors=True)


# What OpenSSH says, what it means, and what to do; {0} is the destination, {1} the bare host.
_EXPLAINED = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one known here",
        "if you reinstalled it: `ssh-keygen -R {1}`, then `ssh {0}` and compare the new key",
    ),
    (
        r"Host key verification failed|host key is known",
        "its host key is not known here",
        "log in once by hand and compare it: `ssh {0}`",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "it does not accept your SSH key",
        "`ssh-copy-id {0}` installs it",
    ),
    (
        r"Could not resolve hostname",
        "the name {1} is not known",
        "give it a `Host` entry in ~/.ssh/config, or write its address in the cluster file",
    ),
    (
        r"Connection refused",
        "nothing listens for SSH there",
        "start the SSH server on it: `sudo systemctl enable --now ssh`",
    ),
    (
        r"No route to host|Network is unreachable",
        "there is no way to it from here",
        "is it switched on, and on the same network as this machine?",
    ),
    (
        r"[Tt]imed out|Timeout, server",
        "it does not answer",
        "is it switched on, and on the same network as this machine?",
    ),
    (
        r"Connection closed|Connection reset|Broken pipe|closed by remote",
        "it closed the connection",
        "look at its SSH server's log: `journalctl -u ssh`",
    ),
)


def explain(err: str, destination: str) -> tuple[str, str]:
    """What happened and what to do about it, from what ssh wrote to its standard error."""
    host = destination.rpartition("@")[2]
    if sys.platform == "darwin" and "No route to host" in err:
        # macOS 15 and newer; Apple's Terminal and its own ssh are let through (TN3179).
        return (
            "there is no way to it from here",
            "if it is switched on, this Mac keeps your terminal from the local network: allow it "
            "in System Settings > Privacy & Security > Local Network, or use Terminal",
        )
    for pattern, what, remedy in _EXPLAINED:
        if re.search(pattern, err):
            return what.format(destination, host), remedy.format(destination, host)
    if not err:
        return "the connection broke", f"try `ssh {destination} true`"
    return f"ssh failed: {err.splitlines()[-1].strip()}", f"try `ssh {destination} true`"

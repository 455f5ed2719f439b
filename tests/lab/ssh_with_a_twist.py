#!/usr/bin/python3
"""Stands in front of the real ssh on the controller, and does something to whoever called it.

$WHEN says at which moment: `send PATTERN` (a script with that in it is about to be sent), `line
PATTERN` (the script answers such a line), `done PATTERN` (such a script has ended, and nobody has
been told yet). $THEN says what: `kill` (SIGKILL to the caller, and to this connection), `interrupt`
(SIGINT to the caller), `cut` (the controller and that node lose each other).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

REAL = "/usr/bin/ssh"


def main() -> int:
    """Pass everything on, but for that moment."""
    if "-G" in sys.argv or "-O" in sys.argv:
        os.execv(REAL, [REAL, *sys.argv[1:]])  # noqa: S606
    moment, _, pattern = os.environ["WHEN"].partition(" ")
    script = sys.stdin.buffer.read()
    ours = re.search(pattern.encode(), script) is not None
    if moment == "send" and ours:
        act(None)
    real = subprocess.Popen([REAL, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    real.stdin.write(script)
    real.stdin.close()
    kept = []
    for line in real.stdout:
        if moment == "line" and re.search(pattern.encode(), line):
            act(real)
        if moment == "done":
            kept.append(line)
        else:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    status = real.wait()
    if moment == "done" and ours:
        act(None)
    sys.stdout.buffer.write(b"".join(kept))
    return status


def act(real: subprocess.Popen[bytes] | None) -> None:
    """What $THEN says; once."""
    then = os.environ["THEN"]
    with Path("/root/twisted").open("a") as log:
        log.write(f"{then}\n")
    if then == "kill":
        os.kill(os.getppid(), signal.SIGKILL)
        if real is not None:
            real.kill()
        os.kill(os.getpid(), signal.SIGKILL)
    os.environ["WHEN"] = "never"
    if then == "interrupt":
        os.kill(os.getppid(), signal.SIGINT)
    if then == "cut":
        rule = "add table ip cut; add chain ip cut o { type filter hook output priority 0; }; "
        rule += f"add rule ip cut o ip daddr {os.environ['NODE']} drop"
        subprocess.run(["/usr/sbin/nft", rule], check=True)


if __name__ == "__main__":
    sys.exit(main())

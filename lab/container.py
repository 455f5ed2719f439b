"""The first program of the lab's container: brings the lab up, shows its monitor, takes it down.

The lab's own ports are on loopback, which in a container is the container's alone.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from types import FrameType

from smolmon.lab.controller import ALERTMANAGER_PORT, PROMETHEUS_PORT
from smolmon.lab.forward import relay, wide

CLUSTER_FILE = "/etc/smolmon/cluster.yaml"
# By port of the container: the lab's own.
SHOWN = {19090: PROMETHEUS_PORT, 19093: ALERTMANAGER_PORT}


def lab(*arguments: str) -> int:
    """Run `smolmon lab`; its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "smolmon", "lab", *arguments], check=False
    ).returncode


def stop(_signal: int, _frame: FrameType | None) -> None:
    """Docker says SIGTERM."""
    raise KeyboardInterrupt


def main() -> int:
    """Until the container is stopped."""
    signal.signal(signal.SIGTERM, stop)
    try:
        if code := lab("up", "--cluster", CLUSTER_FILE):
            return code
        asyncio.run(relay([(wide(port), own) for port, own in SHOWN.items()]))
    except KeyboardInterrupt:
        pass
    finally:
        lab("down")
    return 0


if __name__ == "__main__":
    sys.exit(main())

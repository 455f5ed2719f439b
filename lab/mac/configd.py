"""What macOS' configd does for a node: settings into the kernel at boot, and when a link returns.

Between those moments it leaves the kernel alone: a route that somebody deletes stays deleted.
Listens to the kernel (rtnetlink(7)); polls nothing.
"""

from __future__ import annotations

import compileall
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from smolmon.lab.mac import kernel, services, state

RTMGRP_LINK = 1
SETTLE = 0.02  # seconds without news; one pulled cable is several events
_BUFFER = 1 << 16


def main(argv: list[str]) -> int:
    """Run until killed."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as news:
        news.bind((0, RTMGRP_LINK))
        links: dict[str, bool] = {}
        look(links)
        _ready()
        # Everybody reads them then, and only root may write them.
        compileall.compile_dir(Path(__file__).parent, quiet=2)
        while True:
            news.settimeout(None)
            with suppress(OSError):  # ENOBUFS: events were dropped, which is news too
                news.recv(_BUFFER)
            news.settimeout(SETTLE)
            with suppress(TimeoutError, OSError):
                while news.recv(_BUFFER):
                    pass
            look(links)


def look(links: dict[str, bool]) -> None:
    """Apply every service whose link has come or gone since `links` was noted; note it."""
    with state.locked():
        seen = kernel.links()
        for service in services.stored()["services"]:
            port = services.port_of(service)
            now = port is not None and kernel.active(port, seen)
            if links.get(service["device"]) != now:
                links[service["device"]] = now
                with suppress(kernel.KernelError):
                    services.apply(service)


def _ready() -> None:
    """Tell systemd (sd_notify(3))."""
    where = os.environ.get("NOTIFY_SOCKET")
    if where:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", where.replace("@", "\0", 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

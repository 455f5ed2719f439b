"""Which operating system this is: the only place in the exporter that asks."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from attrs import frozen

from smolmon.exporter.echo import OpenEcho
from smolmon.exporter.system import System


class UnsupportedPlatformError(RuntimeError):
    """The exporter does not run on this operating system."""


@frozen
class Host:
    """What the exporter needs of an operating system."""

    open_echo: OpenEcho
    system: System
    free_bind: Callable[[socket.socket], None]


def this_host() -> Host:
    """The operating system this runs on. Raises UnsupportedPlatformError."""
    if sys.platform == "linux":
        from smolmon.exporter.echo_linux import LinuxEcho  # noqa: PLC0415
        from smolmon.exporter.system_linux import LinuxSystem, free_bind  # noqa: PLC0415

        return Host(LinuxEcho, LinuxSystem(), free_bind)
    name = {"darwin": "macOS"}.get(sys.platform, sys.platform)
    raise UnsupportedPlatformError(f"the exporter does not run on {name} yet; it runs on Linux")

"""Which operating system this is: the only place in the exporter that asks."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable

from attrs import frozen
from prometheus_client import PROCESS_COLLECTOR
from prometheus_client.metrics_core import Metric

from smolmon.exporter.echo import OpenEcho
from smolmon.exporter.system import System
from smolmon.exporter.tcp import PLAIN, Handshakes
from smolmon.exporter.trace import OpenTracer


class UnsupportedPlatformError(RuntimeError):
    """The exporter does not run on this operating system."""


@frozen
class Host:
    """What the exporter needs of an operating system."""

    open_echo: OpenEcho
    system: System
    free_bind: Callable[[socket.socket], None]
    open_tracer: OpenTracer | None = None  # None: no unprivileged traceroute
    handshakes: Handshakes = PLAIN
    process: Callable[[], Iterable[Metric]] = PROCESS_COLLECTOR.collect


def this_host() -> Host:
    """The operating system this runs on. Raises UnsupportedPlatformError."""
    if sys.platform == "linux":
        from smolmon.exporter.echo_linux import LinuxEcho  # noqa: PLC0415
        from smolmon.exporter.system_linux import LinuxSystem, free_bind  # noqa: PLC0415
        from smolmon.exporter.tcp_linux import HANDSHAKES  # noqa: PLC0415
        from smolmon.exporter.trace_linux import LinuxTracer  # noqa: PLC0415

        return Host(LinuxEcho, LinuxSystem(), free_bind, LinuxTracer, HANDSHAKES)
    if sys.platform == "darwin":
        from smolmon.exporter.echo_macos import MacEcho  # noqa: PLC0415
        from smolmon.exporter.process_macos import Process  # noqa: PLC0415
        from smolmon.exporter.system_macos import MacSystem, free_bind  # noqa: PLC0415

        return Host(MacEcho, MacSystem(), free_bind, process=Process())
    raise UnsupportedPlatformError(f"the exporter runs on Linux and macOS, not on {sys.platform}")

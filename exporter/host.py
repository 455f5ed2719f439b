"""Which operating system this is: the only place in the exporter that asks.

It asks twice. What is the kernel's (ICMP sockets, tracing, TCP's stamps, binding, the figures of
the process) goes by the kernel; what is the userland's (the tools that tell the network's state) by
whether Apple's networksetup is there: the lab's stand-in Macs have Apple's tools on a Linux kernel,
and only so does the code that reads those tools run end to end anywhere but on a Mac.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import Factory, field, frozen
from prometheus_client import PROCESS_COLLECTOR
from prometheus_client.metrics_core import Metric

from smolmon.exporter.echo import OpenEcho
from smolmon.exporter.system import System
from smolmon.exporter.tcp import PLAIN, Handshakes
from smolmon.exporter.trace import OpenTracer

NETWORKSETUP = Path("/usr/sbin/networksetup")


class UnsupportedPlatformError(RuntimeError):
    """The exporter does not run on this operating system."""


@frozen
class Host:
    """What the exporter needs of an operating system.

    `system` belongs to the thread that puts scrapes together. `another` makes one more, for a
    thread that must not wait for those.
    """

    open_echo: OpenEcho
    system: System
    free_bind: Callable[[socket.socket], None]
    open_tracer: OpenTracer | None = None  # None: no unprivileged traceroute
    handshakes: Handshakes = PLAIN
    process: Callable[[], Iterable[Metric]] = PROCESS_COLLECTOR.collect
    another: Callable[[], System] = field(
        default=Factory(lambda self: lambda: self.system, takes_self=True)
    )


def this_host() -> Host:
    """The operating system this runs on. Raises UnsupportedPlatformError."""
    if sys.platform == "linux":
        from smolmon.exporter.echo_linux import LinuxEcho  # noqa: PLC0415
        from smolmon.exporter.system_linux import free_bind  # noqa: PLC0415
        from smolmon.exporter.tcp_linux import HANDSHAKES  # noqa: PLC0415
        from smolmon.exporter.trace_linux import LinuxTracer  # noqa: PLC0415

        return Host(LinuxEcho, _system(), free_bind, LinuxTracer, HANDSHAKES, another=_system)
    if sys.platform == "darwin":
        from smolmon.exporter.echo_macos import MacEcho  # noqa: PLC0415
        from smolmon.exporter.process_macos import Process  # noqa: PLC0415
        from smolmon.exporter.system_macos import free_bind as mac_free_bind  # noqa: PLC0415

        return Host(MacEcho, _system(), mac_free_bind, process=Process(), another=_system)
    raise UnsupportedPlatformError(f"the exporter runs on Linux and macOS, not on {sys.platform}")


def _system() -> System:
    """The network's state, as this machine's own tools tell it."""
    if sys.platform == "darwin" or NETWORKSETUP.exists():
        from smolmon.exporter.system_macos import MacSystem, no_routing_socket  # noqa: PLC0415

        if sys.platform == "darwin":
            return MacSystem()
        return MacSystem(routing_socket=no_routing_socket)
    from smolmon.exporter.system_linux import LinuxSystem  # noqa: PLC0415

    return LinuxSystem()

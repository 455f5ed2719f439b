"""Wait until the programs in the containers answer, each at its port on loopback."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from smolmon.compose.engine import ComposeError

DEADLINE = 180.0  # seconds; a Raspberry Pi takes one minute for Grafana's first start
LAB_DEADLINE = 900.0  # it makes a root file system first
LOOK = 5.0  # seconds, between two looks at what has fallen
PATHS = {
    "prometheus": "/-/ready",
    "alertmanager": "/-/ready",
    "grafana": "/api/health",
    "long-term": "/health",
    "lab": "/-/ready",
}


def url(port: int) -> str:
    """What to type into a browser."""
    return f"http://127.0.0.1:{port}"


def check_free(ports: Mapping[str, tuple[str, int]], again: str) -> None:
    """Whether each service's port (by service: its variable, the port) can be had.

    `again` is the command that would start them. Raises ComposeError.
    """
    for service, (variable, port) in ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # one below 1024 is the engine's to open
                    continue
                raise ComposeError(
                    f"port {port} on 127.0.0.1, for {service}, is taken by another program; stop "
                    f"that, or choose another: {variable}={port + 10000 if port < 50000 else 3001}"
                    f" {again}"
                ) from error


def wait(
    services: Iterable[str],
    ports: Mapping[str, int],
    say: Callable[[str], None],
    running: Callable[[], Iterable[str]],
    logs: str,
) -> None:
    """Wait until all answer.

    `running` gives the services that run; of one that has ended nothing more comes, and one that
    is started again and again gets nowhere. `logs` is the command that shows a service's own
    words, but its name. Raises ComposeError.
    """
    waiting = [service for service in services if service in PATHS]
    end = time.monotonic() + (LAB_DEADLINE if "lab" in waiting else DEADLINE)
    look = time.monotonic() + LOOK
    while True:
        for service in list(waiting):
            if answers(f"{url(ports[service])}{PATHS[service]}"):
                waiting.remove(service)
                say(f"{service} is ready")
        if not waiting:
            return
        if time.monotonic() > look:
            look = time.monotonic() + LOOK
            for service in set(waiting) - set(running()):
                raise ComposeError(f"{service} does not stay up; see why: {logs} {service}")
        if time.monotonic() > end:
            raise ComposeError(f"{waiting[0]} does not get ready; see why: {logs} {waiting[0]}")
        time.sleep(0.3)


def answers(address: str) -> bool:
    """Whether there is an answer that is no error. Proxies are not for the loopback address."""
    try:
        with build_opener(ProxyHandler({})).open(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, URLError, ValueError):
        return False

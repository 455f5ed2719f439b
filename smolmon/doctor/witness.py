"""Whether a machine is there though its exporter says nothing.

Two witnesses: it answers a ping, or its ssh port answers, be it with a refusal.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from icmplib import ICMPLibError, ping

from smolmon.observe.exporters import AT_ONCE, Scrape, Why

COUNT, INTERVAL, PATIENCE = 3, 0.2, 1.0  # requests, seconds, seconds
SSH = 22


def present(silent: Iterable[tuple[Scrape, str]]) -> dict[str, bool]:
    """By node: whether its machine answers at its management address, which stands beside.

    Who refuses a connection, or answers it with something else, is there. The others are asked.
    """
    asked = list(silent)
    with ThreadPoolExecutor(max_workers=max(1, min(AT_ONCE, len(asked)))) as pool:
        found = pool.map(lambda one: one[0].why is not Why.TIMEOUT or answers(one[1]), asked)
        return {scrape.node: there for (scrape, _), there in zip(asked, found, strict=True)}


def answers(address: str) -> bool:
    """Whether the machine at `address` gives any sign of life."""
    return pings(address) or knocks(address)


def knocks(address: str, port: int = SSH) -> bool:
    """Whether a TCP connection is accepted or refused there: somebody answers."""
    try:
        socket.create_connection((address, port), PATIENCE).close()
    except ConnectionError:
        return True
    except OSError:
        return False
    return True


def pings(address: str) -> bool:
    """Whether `address` answers one of a few pings; false also where we may not ask."""
    try:
        return bool(ping(address, COUNT, INTERVAL, PATIENCE, privileged=False).is_alive)
    except (ICMPLibError, OSError):
        return False

"""Whether the training server takes connections: one TCP handshake now and then.

The handshake is measured and thrown away; nothing is ever sent over it. Where the operating system
allows it the server's program never sees it: see :mod:`smolmon.exporter.tcp_linux`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from attrs import frozen

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds from handshake to handshake
TIMEOUT = 2.0  # seconds: a lost SYN is sent again after one, so one lost packet is no failure
OWN_PORTS = 8  # so many of our latest local ports are remembered
# Upper ends of the histogram's buckets, in seconds: from the fabric to a SYN that was sent twice.
EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class Outcome(str, Enum):
    """What came of a handshake."""

    OPEN = "open"
    REFUSED = "refused"  # nobody listens there, or a firewall answers in their place
    TIMEOUT = "timeout"  # no answer: a firewall that drops, or packets that are lost
    UNREACHABLE = "unreachable"  # no route, or an ICMP error says there is no way
    DENIED = "denied"  # this machine's own firewall forbids it
    ERROR = "error"  # no handshake was tried: out of ports, descriptors or memory


FAILURES = tuple(o for o in Outcome if o is not Outcome.OPEN)

_OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.REFUSED,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETDOWN: Outcome.UNREACHABLE,
    errno.EHOSTDOWN: Outcome.UNREACHABLE,
    errno.EPERM: Outcome.DENIED,
    errno.EACCES: Outcome.DENIED,
}


@frozen
class Handshakes:
    """What the operating system offers: `prepare` a socket before it connects, and the duration of
    its handshake by the kernel's clock, in seconds (None: unknown)."""

    prepare: Callable[[socket.socket], None]
    duration: Callable[[socket.socket], float | None]


PLAIN = Handshakes(lambda _: None, lambda _: None)


@frozen
class Tally:
    """What is known of one address. `state` is None before the first handshake ended.

    `counts` are the successful ones in each bucket of EDGES, and above the last; `total` is the sum
    of their durations, in seconds.
    """

    failures: Mapping[Outcome, int]
    counts: Sequence[int]
    total: float
    state: Outcome | None

    @property
    def attempts(self) -> int:
        """The handshakes that have ended, well or not."""
        return sum(self.counts) + sum(self.failures.values())


class TcpCheck:
    """Tries one address and port, for ever. Lives on one event loop.

    `own_ports` are the local ports of its latest handshakes, also of one under way.
    """

    def __init__(self, address: str, port: int, handshakes: Handshakes = PLAIN) -> None:
        self.address = address
        self.port = port
        self._handshakes = handshakes
        self._failures: dict[Outcome, int] = dict.fromkeys(FAILURES, 0)
        self._counts = [0] * (len(EDGES) + 1)
        self._total = 0.0
        self._state: Outcome | None = None
        self._own_ports: deque[int] = deque(maxlen=OWN_PORTS)

    @property
    def own_ports(self) -> frozenset[int]:
        """May be asked for from any thread."""
        return frozenset(self._own_ports.copy())

    def take_over(self, other: TcpCheck) -> None:
        """Go on counting where `other`, which tried the same address, left off."""
        self._failures = other._failures
        self._counts = other._counts
        self._total = other._total
        self._state = other._state

    def tally(self) -> Tally:
        """What is known now."""
        return Tally(dict(self._failures), tuple(self._counts), self._total, self._state)

    async def run(self, interval: float = INTERVAL, timeout: float = TIMEOUT) -> None:
        """One handshake every `interval` seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + interval
            await self.once(timeout)
            await asyncio.sleep(due - loop.time())

    async def once(self, timeout: float = TIMEOUT) -> Outcome:
        """One handshake, counted."""
        trouble = ""
        try:
            duration = await self._connect(timeout)
        except asyncio.TimeoutError:
            outcome = Outcome.TIMEOUT
        except OSError as error:
            outcome = _OUTCOMES.get(error.errno or 0, Outcome.ERROR)
            trouble = f": {error.strerror}" if outcome is Outcome.ERROR else ""
        else:
            outcome = Outcome.OPEN
            self._counts[bisect_left(EDGES, duration)] += 1
            self._total += duration
        if outcome is not Outcome.OPEN:
            self._failures[outcome] += 1
        if outcome is not self._state:
            log.info("tcp %s:%d: %s%s", self.address, self.port, outcome.value, trouble)
        self._state = outcome
        return outcome

    async def _connect(self, timeout: float) -> float:
        """The duration of a handshake, in seconds."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            self._handshakes.prepare(sock)
            # Bound first, so that its port is known before anybody can see the connection.
            sock.bind(("", 0))
            self._own_ports.append(sock.getsockname()[1])
            start = time.perf_counter()
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(sock, (self.address, self.port)), timeout)
            elapsed = time.perf_counter() - start
            return self._handshakes.duration(sock) or elapsed

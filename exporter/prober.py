"""Sends the pings and listens for what comes back, whatever happens to the network meanwhile.

Requests leave in small bursts, and what they brought is taken in now and then, before the next one:
the kernel keeps the times, so neither costs any accuracy. (Waking up, and reading for the first
time since, cost more than a ping does.) Only where the kernel does not stamp replies, each is read
as it comes. Whoever wants to know more in between calls `settle`.

All of it happens in a thread that sleeps in between, since the timer of an event loop takes twice
as long to wake up.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
import threading
import time
from bisect import bisect_left
from collections import deque
from contextlib import suppress

from smolmon.exporter.clock import StepWatch
from smolmon.exporter.echo import Clock, Echo, OpenEcho
from smolmon.exporter.pinger import Pinger

log = logging.getLogger(__name__)

# The socket itself is of no more use: closed, or bound to an interface that is gone.
BROKEN = (errno.EBADF, errno.ENOTSOCK, errno.ENODEV, errno.ENXIO)

BURST = 20  # requests that leave together at most
UNREAD = 40  # requests whose replies may wait to be read: what any receive buffer has room for
PATIENCE = 5.0  # seconds that they wait at most
LAG_EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LAGS = 60  # bursts over which the worst lag is remembered


class Lateness:
    """How late bursts left, in seconds: `counts` for each bucket of LAG_EDGES and above."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LAG_EDGES) + 1)
        self.total = 0.0
        self._recent: deque[float] = deque(maxlen=LAGS)

    def add(self, lag: float) -> None:
        """One more burst."""
        self.counts[bisect_left(LAG_EDGES, lag)] += 1
        self.total += lag
        self._recent.append(lag)

    @property
    def worst(self) -> float:
        """The worst of late."""
        return max(self._recent, default=0.0)


class Prober:
    """Joins a pinger's accounts to echo sockets, which it opens and opens again as needed.

    May be used from any thread; who wants several facts of one moment holds `lock` meanwhile, and
    briefly, for no ping leaves until then. `trouble` says why a socket is missing; None while there
    is none missing. `overruns` counts the bursts that were left out because this process or its
    machine was held up for too long.
    """

    def __init__(self, pinger: Pinger, open_echo: OpenEcho) -> None:
        self.lock = threading.RLock()
        self.pinger = pinger
        self.trouble: str | None = None
        self.lateness = Lateness()
        self.overruns = 0
        self.clock = StepWatch()
        self._open_echo = open_echo
        self._echoes: dict[bool, Echo] = {}  # by whether it is for IPv6
        self._unread = 0  # requests that were sent since the accounts were last settled
        self._ipv6 = [":" in address for address in pinger.addresses]

    def open(self, ipv6: bool = False) -> Echo:
        """The socket for that family, opened if there is none. Raises OSError."""
        with self.lock:
            echo = self._echoes.get(ipv6)
            if echo is None:
                echo = self._echoes[ipv6] = self._open_echo(None, ipv6)
            return echo

    def close(self) -> None:
        """Close the sockets. Requests in flight are forgotten, not counted."""
        with self.lock:
            for ipv6 in list(self._echoes):
                self._close(ipv6)

    def send(self, index: int) -> None:
        """Send one request to that address. Without a socket nothing is sent, and none counted."""
        with self.lock:
            self._send(index)

    def settle(self) -> None:
        """Bring the accounts up to now. What has come is heard before anything times out."""
        with self.lock:
            self._unread = 0
            self._listen()
            self.pinger.lag = self.lateness.worst
            self.pinger.expire()

    async def run(self, interval: float) -> None:
        """Ping every address (there is one) once per `interval` seconds, in bursts evenly spread.

        Goes on until cancelled; should the thread that does it fail, so does this.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        here, stop = socket.socketpair()

        def fail(error: Exception) -> None:
            if not over.done():
                over.set_exception(error)

        def body() -> None:
            try:
                self._ping(interval, stop)
            except Exception as error:
                with suppress(RuntimeError):  # the loop is closed: nobody is interested
                    loop.call_soon_threadsafe(fail, error)

        thread = threading.Thread(target=body, name="ping", daemon=True)
        thread.start()
        try:
            await over
        finally:
            here.close()  # which makes `stop` readable
            thread.join()  # at the most it is in the middle of a burst
            stop.close()

    def _ping(self, interval: float, stop: socket.socket) -> None:
        """Ping until `stop` becomes readable."""
        bursts = shares(len(self.pinger.addresses))
        count = len(bursts)
        spacing = interval / count
        start, slot = time.monotonic(), 0
        settled = start
        while self._rest(start + slot * spacing, stop):
            burst = bursts[slot % count]
            with self.lock:
                now = time.monotonic()
                self.lateness.add(max(0.0, now - start - slot * spacing))
                if self._unread + len(burst) > UNREAD or now - settled >= PATIENCE:
                    self.settle()
                    settled = now
                for index in burst:
                    self._send(index)
                following = next_slot(slot, count, (time.monotonic() - start) / spacing)
                self.overruns += following - slot - 1
                slot = following
        self.settle()

    def _rest(self, until: float, stop: socket.socket) -> bool:
        """Whether to go on at `until`, in monotonic time. Replies nobody else stamps are read."""
        end = stop.fileno()
        while True:
            with self.lock:
                hurried = [e.fileno() for e in self._echoes.values() if e.rx is Clock.USER]
            try:
                # Unlike a lock's, its timeout is of the monotonic clock everywhere.
                left = max(0.0, until - time.monotonic())
                ready, _, _ = select.select([end, *hurried], (), (), left)
            except OSError as error:
                if error.errno != errno.EBADF:  # closed meanwhile, by whoever called settle()
                    raise
                continue
            if not ready:
                return True
            if end in ready:
                return False
            with self.lock:
                self._listen()

    def _send(self, index: int) -> None:
        ipv6 = self._ipv6[index]
        echo = self._echoes.get(ipv6)
        if echo is None:
            try:
                echo = self.open(ipv6)
            except OSError as error:
                self._note(f"no ICMP socket: {error.strerror or error}")
                return
        if self.trouble is not None:
            self._note(None)
        self._unread += 1
        request = self.pinger.begin(index)
        try:
            echo.send(request.address, request.sequence, request.payload)
        except OSError as error:
            self.pinger.refused(request, error)
            if error.errno in BROKEN:
                self._close(ipv6)

    def _listen(self) -> None:
        """Take in what has come."""
        for ipv6, echo in tuple(self._echoes.items()):
            try:
                events = echo.receive()
            except OSError as error:
                self._note(f"the ICMP socket broke: {error.strerror or error}")
                self._close(ipv6)
                continue
            # After reading, so that a step before any of the stamps in hand is noticed.
            if step := self.clock.check():
                self.pinger.stepped(step)
                log.warning("ping: the clock was set")
            for event in events:
                self.pinger.heard(event)

    def _close(self, ipv6: bool) -> None:
        self._echoes.pop(ipv6).close()
        self.pinger.abandon(i for i, six in enumerate(self._ipv6) if six is ipv6)

    def _note(self, trouble: str | None) -> None:
        """Remember `trouble`, and log it when it is news."""
        if trouble != self.trouble:
            self.trouble = trouble
            log.warning("ping: %s", trouble or "sending again")


def shares(count: int) -> list[range]:
    """The indices below `count`, in as few bursts as BURST allows, all of nearly one size."""
    bursts = max(1, -(-count // BURST))
    return [range(i * count // bursts, (i + 1) * count // bursts) for i in range(bursts)]


def next_slot(slot: int, count: int, now: float) -> int:
    """The slot after `slot`, where `now` is the time in slots since the start.

    Slots never move, so the schedule cannot drift. After a pause (a suspended machine) whole
    rounds of `count` slots are left out: nobody is pinged twice to make up, and each keeps its
    place.
    """
    late = int(now) - (slot + 1)
    return slot + 1 + max(0, late // count) * count

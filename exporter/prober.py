"""Sends the pings and listens for what comes back, whatever happens to the network meanwhile.

Requests leave in small bursts, and before each, one wake-up takes in what the last one brought: the
kernel keeps the times, so neither costs any accuracy. (Waking up costs more than a ping does.) Only
where the kernel does not stamp replies, each is read as it comes. Whoever wants to know more in
between calls `settle`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from bisect import bisect_left
from collections import deque

from smolmon.exporter.clock import StepWatch
from smolmon.exporter.echo import Clock, Echo, OpenEcho
from smolmon.exporter.pinger import Pinger

log = logging.getLogger(__name__)

# The socket itself is of no more use: closed, or bound to an interface that is gone.
BROKEN = (errno.EBADF, errno.ENOTSOCK, errno.ENODEV, errno.ENXIO)

BURST = 20  # requests that leave together at most
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

    Lives on one event loop. `trouble` says why a socket is missing; None while there is none
    missing. With `eager`, replies are read as they come, and set `heard`. `overruns` counts the
    bursts that were left out because this process or its machine was held up for too long.
    """

    def __init__(
        self, pinger: Pinger, open_echo: OpenEcho, device: str | None = None, *, eager: bool = False
    ) -> None:
        self.pinger = pinger
        self.trouble: str | None = None
        self.heard = asyncio.Event()  # set whenever something came in
        self.lateness = Lateness()
        self.overruns = 0
        self.clock = StepWatch()
        self._open_echo = open_echo
        self._device = device
        self._eager = eager
        self._echoes: dict[bool, Echo] = {}  # by whether it is for IPv6
        self._read: set[bool] = set()  # those that the event loop watches
        self._ipv6 = [":" in address for address in pinger.addresses]

    def open(self, ipv6: bool = False) -> Echo:
        """The socket for that family, opened if there is none. Raises OSError."""
        echo = self._echoes.get(ipv6)
        if echo is None:
            echo = self._echoes[ipv6] = self._open_echo(self._device, ipv6)
            self._watch(ipv6, echo)
        return echo

    def close(self) -> None:
        """Close the sockets. Requests in flight are forgotten, not counted."""
        for ipv6 in list(self._echoes):
            self._close(ipv6)

    def send(self, index: int) -> None:
        """Send one request to that address. Without a socket nothing is sent, and none counted."""
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
        request = self.pinger.begin(index)
        try:
            echo.send(request.address, request.sequence, request.payload)
        except OSError as error:
            self.pinger.refused(request, error)
            if error.errno in BROKEN:
                self._close(ipv6)

    def listen(self) -> None:
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
            if echo.rx is Clock.USER:
                self._watch(ipv6, echo)
        self.heard.set()

    def settle(self) -> None:
        """Bring the accounts up to now. What has come is heard before anything times out."""
        self.listen()
        self.pinger.lag = self.lateness.worst
        self.pinger.expire()

    async def run(self, interval: float) -> None:
        """Ping every address (there is one) once per `interval` seconds, in bursts evenly spread.

        Goes on until cancelled.
        """
        loop = asyncio.get_running_loop()
        bursts = shares(len(self.pinger.addresses))
        count = len(bursts)
        spacing = interval / count
        start, slot = loop.time(), 0
        over: asyncio.Future[None] = loop.create_future()
        timer: asyncio.Handle

        # A plain callback: a task that sleeps would cost as much as a ping.
        def tick() -> None:
            nonlocal slot, timer
            try:
                self.lateness.add(max(0.0, loop.time() - start - slot * spacing))
                self.settle()
                for index in bursts[slot % count]:
                    self.send(index)
                following = next_slot(slot, count, (loop.time() - start) / spacing)
                self.overruns += following - slot - 1
                slot = following
                timer = loop.call_at(start + slot * spacing, tick)
            except Exception as error:
                over.set_exception(error)

        timer = loop.call_soon(tick)
        try:
            await over
        finally:
            timer.cancel()

    def _watch(self, ipv6: bool, echo: Echo) -> None:
        """Have replies read as they come, where that is wanted or nobody else stamps them."""
        if ipv6 not in self._read and (self._eager or echo.rx is Clock.USER):
            asyncio.get_running_loop().add_reader(echo.fileno(), self.listen)
            self._read.add(ipv6)

    def _close(self, ipv6: bool) -> None:
        echo = self._echoes.pop(ipv6)
        if ipv6 in self._read:
            self._read.remove(ipv6)
            asyncio.get_running_loop().remove_reader(echo.fileno())
        echo.close()
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

"""Sends the pings and listens for what comes back, whatever happens to the network meanwhile."""

from __future__ import annotations

import asyncio
import errno
import logging

from smolmon.exporter.echo import Echo, OpenEcho
from smolmon.exporter.pinger import Pinger

log = logging.getLogger(__name__)

# The socket itself is of no more use: closed, or bound to an interface that is gone.
BROKEN = (errno.EBADF, errno.ENOTSOCK, errno.ENODEV, errno.ENXIO)


class Prober:
    """Joins a pinger's accounts to an echo socket, which it opens and opens again as needed.

    Lives on one event loop. `trouble` says why there is no socket; None while there is one.
    """

    def __init__(self, pinger: Pinger, open_echo: OpenEcho, device: str | None = None) -> None:
        self.pinger = pinger
        self.trouble: str | None = None
        self.heard = asyncio.Event()  # set whenever something came in
        self._open_echo = open_echo
        self._device = device
        self._echo: Echo | None = None

    def open(self) -> Echo:
        """The socket, opened if there is none. Raises OSError."""
        if self._echo is None:
            self._echo = self._open_echo(self._device)
            asyncio.get_running_loop().add_reader(self._echo.fileno(), self.listen)
        return self._echo

    def close(self) -> None:
        """Close the socket. Requests in flight are forgotten, not counted."""
        if self._echo is not None:
            asyncio.get_running_loop().remove_reader(self._echo.fileno())
            self._echo.close()
            self._echo = None
            self.pinger.abandon()

    def send(self, index: int) -> None:
        """Send one request to that address. Without a socket nothing is sent, and none counted."""
        try:
            echo = self.open()
        except OSError as error:
            self._note(f"no ICMP socket: {error.strerror or error}")
            return
        self._note(None)
        request = self.pinger.begin(index)
        try:
            echo.send(request.address, request.sequence, request.payload)
        except OSError as error:
            self.pinger.refused(request, error)
            if error.errno in BROKEN:
                self.close()

    def listen(self) -> None:
        """Take in what has come."""
        if self._echo is None:
            return
        try:
            events = self._echo.receive()
        except OSError as error:
            self._note(f"the ICMP socket broke: {error.strerror or error}")
            self.close()
            return
        for event in events:
            self.pinger.heard(event)
        self.heard.set()

    def settle(self) -> None:
        """Bring the accounts up to now. What has come is heard before anything times out."""
        self.listen()
        self.pinger.expire()

    async def run(self, interval: float) -> None:
        """Ping every address (there is one) once per `interval` seconds, evenly spread.

        Goes on until cancelled.
        """
        count = len(self.pinger.addresses)
        loop = asyncio.get_running_loop()
        spacing = interval / count
        start, slot = loop.time(), 0
        while True:
            await asyncio.sleep(start + slot * spacing - loop.time())
            self.settle()
            self.send(slot % count)
            slot = next_slot(slot, count, (loop.time() - start) / spacing)

    def _note(self, trouble: str | None) -> None:
        """Remember `trouble`, and log it when it is news."""
        if trouble != self.trouble:
            self.trouble = trouble
            log.warning("ping: %s", trouble or "sending again")


def next_slot(slot: int, count: int, now: float) -> int:
    """The slot after `slot`, where `now` is the time in slots since the start.

    Slots never move, so the schedule cannot drift. After a pause (a suspended machine) whole
    rounds of `count` slots are left out: nobody is pinged twice to make up, and each keeps its
    place.
    """
    late = int(now) - (slot + 1)
    return slot + 1 + max(0, late // count) * count

"""Looks again whenever the kernel says that something changed, and now and then in any case."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

from prometheus_client.metrics_core import Metric

from smolmon.exporter.system import Changes, NotAvailableError, Topic
from smolmon.exporter.vocabulary import metric

log = logging.getLogger(__name__)

RESYNC = 30.0  # seconds after which everything is looked at, whatever was heard
POLL = 5.0  # the same, while nothing can be heard
SPACING = 0.02  # seconds between two looks: a burst of events is one change

Subscribe = Callable[[], Changes]
Look = Callable[[frozenset[Topic]], Awaitable[None]]


class Watch:
    """Calls `look` with what may have changed. Lives on one event loop.

    `trouble` says why changes are not heard of; they are then only found by looking.
    """

    def __init__(self, subscribe: Subscribe, look: Look) -> None:
        self.trouble: str | None = None
        self.events = dict.fromkeys(Topic, 0)
        self.overflows = 0
        self._subscribe = subscribe
        self._look = look
        self._changes: Changes | None = None
        self._pending: set[Topic] = set()
        self._news = asyncio.Event()

    async def run(self, resync: float = RESYNC) -> None:
        """Go on until cancelled."""
        try:
            while True:
                self._listen()
                self._news.clear()
                # All of it the first time, and whenever nothing was heard for long.
                topics = frozenset(self._pending or Topic)
                self._pending.clear()
                await self._look(topics)
                await asyncio.sleep(SPACING)
                try:
                    await asyncio.wait_for(self._news.wait(), resync if self._changes else POLL)
                except asyncio.TimeoutError:
                    self._pending.update(Topic)
        finally:
            self._stop()

    def take_over(self, other: Watch) -> None:
        """Go on counting where `other` left off."""
        self.events = other.events
        self.overflows = other.overflows

    def collect(self) -> Iterator[Metric]:
        """What was heard since the start."""
        yield metric(
            "smolmon_network_events_total",
            [({"topic": topic.value}, count) for topic, count in self.events.items()],
        )
        yield metric("smolmon_network_event_overflows_total", [({}, self.overflows)])

    def _listen(self) -> None:
        """Subscribe, unless that is done or cannot be."""
        if self._changes is not None:
            return
        try:
            self._changes = self._subscribe()
        except (OSError, NotAvailableError) as error:
            self._note(str(error))
            return
        self._note(None)
        asyncio.get_running_loop().add_reader(self._changes.fileno(), self._take)

    def _take(self) -> None:
        if self._changes is None:
            return
        try:
            news = self._changes.receive()
        except OSError as error:
            self._note(error.strerror or str(error))
            self._stop()
            self._pending.update(Topic)
            self._news.set()
            return
        self.overflows += news.lost
        for topic in news.topics:
            self.events[topic] += 1
        self._pending |= news.topics
        if self._pending:
            self._news.set()

    def _stop(self) -> None:
        if self._changes is not None:
            asyncio.get_running_loop().remove_reader(self._changes.fileno())
            self._changes.close()
            self._changes = None

    def _note(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            log.warning("changes of the network: %s", trouble or "heard again")

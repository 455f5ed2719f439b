"""The slots of the timetable as they come, whatever the clock does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from smolmon.cluster.timetable import Slot, Test, Timetable
from smolmon.exporter.bandwidth.local import BEFORE

LONGEST_SLEEP = 10.0  # seconds: the wall clock may be set meanwhile, or the machine sleep


async def due(
    table: Timetable, wanted: Callable[[Test], bool], now: Callable[[], float]
) -> AsyncIterator[tuple[Slot, bool]]:
    """One slot of a wanted test at a time, BEFORE seconds before it starts, and for ever.

    With it, whether that is too late: then the other end would wait in vain. Of slots that start
    together only the first comes; of those that passed while nobody asked, none is left out that
    is younger than a period.
    """
    if not any(wanted(test) for tests in table.rounds for test in tests):
        await asyncio.Event().wait()
    since = now()
    while True:
        moment = now()
        if moment < since - table.window:  # the clock was set back
            since = moment
        # There is one in every period.
        slots = table.slots(since, since + 2 * table.period)
        slot = next(s for s in slots if wanted(s.test))
        wait = slot.start - BEFORE - moment
        if wait > 0:
            await asyncio.sleep(min(wait, LONGEST_SLEEP))
            continue
        # At most one period's: after a long sleep nothing more is to be learned of older ones.
        since = max(slot.start + table.window / 2, moment - table.period)
        yield slot, moment > slot.start + table.guard

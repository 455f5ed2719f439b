"""Notices when somebody sets the clock, on which the kernel's time stamps are."""

from __future__ import annotations

import time
from collections.abc import Callable

# What an honest pair of clocks may drift apart: the noise of reading both, and what an operating
# system that disciplines only one of them makes of it (Linux disciplines both alike).
NOISE = 500_000  # nanoseconds
DRIFT = 0.0005  # seconds per second
READ_WITHIN = 100_000  # nanoseconds that reading both clocks may take, else they are read again
ATTEMPTS = 5


class StepWatch:
    """Compares the wall clock with the monotonic one, both in nanoseconds.

    A machine that was suspended counts too: its monotonic clock stood still meanwhile.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.steps = 0
        self._wall = wall
        self._monotonic = monotonic
        self._offset, self._at = self._read()

    def check(self) -> float:
        """By how many seconds the clock was set since the last call; 0 if it was not."""
        offset, now = self._read()
        moved = offset - self._offset
        honest = abs(moved) <= NOISE + DRIFT * (now - self._at)
        self._offset, self._at = offset, now
        if honest:
            return 0.0
        self.steps += 1
        return moved / 1e9

    def _read(self) -> tuple[int, int]:
        for _ in range(ATTEMPTS):
            before = self._monotonic()
            wall = self._wall()
            after = self._monotonic()
            if after - before <= READ_WITHIN:
                break
        return wall - before, after

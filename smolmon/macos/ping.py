"""`/sbin/ping -n -c 3 -i 0.2 -W 1000 ADDRESS` (-W in milliseconds): the guide's own checks."""

from __future__ import annotations

import re

from attrs import frozen

_SENT = re.compile(
    r"([0-9]{1,9}) packets transmitted, ([0-9]{1,9}) packets received,"
    r"(?: \+([0-9]{1,9}) duplicates,)?.*"
)
_TIMES = re.compile(r"round-trip min/avg/max/stddev = ([0-9.]+)/([0-9.]+)/([0-9.]+)/([0-9.]+) ms")
_MILLISECONDS = re.compile(r"[0-9]{1,9}\.[0-9]{3}")


@frozen
class PingResult:
    """What came back. Times in seconds, None if nothing did."""

    transmitted: int
    received: int
    duplicates: int = 0
    minimum: float | None = None
    average: float | None = None
    maximum: float | None = None

    @property
    def loss(self) -> float | None:
        """The share of requests without an answer; None if none was sent."""
        if not self.transmitted:
            return None
        return max(0.0, 1 - self.received / self.transmitted)


def parse(text: str) -> PingResult | None:
    """The two closing lines; None without them (source: ping.tproj/ping.c, finish): the tool was
    killed, or the address was not understood. Sequence numbers begin at 0; a request that is still
    in flight at the end counts as lost."""
    sent: re.Match[str] | None = None
    times: re.Match[str] | None = None
    for line in text.split("\n"):
        sent = _SENT.fullmatch(line.strip()) or sent
        times = _TIMES.fullmatch(line.strip()) or times
    if sent is None:
        return None
    low, mean, high = (_seconds(times[i]) if times is not None else None for i in (1, 2, 3))
    return PingResult(int(sent[1]), int(sent[2]), int(sent[3] or 0), low, mean, high)


def _seconds(milliseconds: str) -> float | None:
    return float(milliseconds) / 1000 if _MILLISECONDS.fullmatch(milliseconds) else None

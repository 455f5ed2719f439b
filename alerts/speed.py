"""Divide the durations of rules and configuration, so that slow alerts can be proven quickly.

Durations are those of Prometheus and Alertmanager: `1h30m`, `5s`, `250ms`
(prometheus.io/docs/prometheus/latest/querying/basics, "Float literals and time durations").
"""

from __future__ import annotations

import re

# Milliseconds in each unit, the longest first.
UNITS = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
DURATION = "(?:[0-9]+(?:ms|[smhdwy]))+"

# Seconds at speed 1: how often nodes are scraped, and rules evaluated.
INTERVAL = 5.0
# Nodes probe once a second whatever the speed: a shorter interval would show nothing new.
MIN_INTERVAL = 1.0
# An alert must not start from one scrape, nor must a lost one leave a range empty.
MIN_FOR_SCRAPES = 2
MIN_RANGE_SCRAPES = 4

# The lines of a rule file that carry a duration of their own, and ranges within expressions. Either
# may end in a comment `# at least 7s`, for what nodes do at their own pace whatever the speed.
_LEAST = rf"(?:(?P<rest>[^\n#]*# at least )(?P<least>{DURATION}))?"
_KEY = re.compile(
    rf"^(?P<key>\s*(?P<which>for|keep_firing_for): *)(?P<value>{DURATION})\b{_LEAST}", re.MULTILINE
)
_RANGE = re.compile(rf"\[(?P<value>{DURATION})\]{_LEAST}")


def seconds(duration: str) -> float:
    """Seconds of a Prometheus duration. Raises ValueError."""
    if not re.fullmatch(DURATION, duration):
        raise ValueError(f"{duration!r} is not a duration such as 5s or 1h30m")
    parts = re.findall(r"([0-9]+)(ms|[smhdwy])", duration)
    return sum(int(number) * UNITS[unit] for number, unit in parts) / 1000


def duration(value: float) -> str:
    """A Prometheus duration of `value` seconds, to the millisecond, in one unit."""
    milliseconds = round(value * 1000)
    unit = next(u for u in ("h", "m", "s", "ms") if milliseconds % UNITS[u] == 0)
    return f"{milliseconds // UNITS[unit]}{unit}"


def interval(speed: float) -> float:
    """Seconds between two scrapes, and between two evaluations."""
    return max(INTERVAL / speed, MIN_INTERVAL)


def scaled(text: str, speed: float, at_least: float) -> str:
    """The duration `text` divided by `speed`, but not below `at_least` seconds."""
    return duration(max(seconds(text) / speed, at_least))


def scale_rules(text: str, speed: float) -> str:
    """A rule file with each `for`, `keep_firing_for` and `[range]` divided by `speed`.

    All else, comments included, stays as it is.
    """
    if speed == 1:
        return text
    floors = {
        "for": MIN_FOR_SCRAPES * interval(speed),
        "keep_firing_for": MIN_RANGE_SCRAPES * interval(speed),
        "range": MIN_RANGE_SCRAPES * interval(speed),
    }

    def shorter(found: re.Match[str], floor: float) -> str:
        least = found["least"]
        at_least = max(floor, min(seconds(least), seconds(found["value"]))) if least else floor
        return scaled(found["value"], speed, at_least)

    def key(found: re.Match[str]) -> str:
        return found["key"] + shorter(found, floors[found["which"]]) + _comment(found)

    text = _KEY.sub(key, text)
    return _RANGE.sub(lambda m: f"[{shorter(m, floors['range'])}]{_comment(m)}", text)


def _comment(found: re.Match[str]) -> str:
    return f"{found['rest']}{found['least']}" if found["least"] else ""

"""Numbers as people read them, long and short."""

from __future__ import annotations

from smolmon.commands.rates import rate

__all__ = ["ago", "percent", "rate", "short_rate", "span", "trip", "trip_ms"]


def span(seconds: float) -> str:
    """A time as one number, such as `5 s` or `3 h`."""
    if seconds < 99.5:
        return f"{max(0, seconds):.0f} s"
    for size, unit in ((60, "min"), (3600, "h")):
        if seconds / size < 99.5:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def ago(seconds: float) -> str:
    """How long since; a clock that is ahead of ours makes it now."""
    return f"{span(seconds)} ago"


def trip(seconds: float) -> str:
    """A round-trip time with its unit, two digits at least: `0.21 ms`, `12 ms`, `1.2 s`."""
    if seconds >= 0.9995:
        return f"{seconds:.1f} s"
    return f"{trip_ms(seconds)} ms"


def trip_ms(seconds: float) -> str:
    """The same in milliseconds, at most four characters long below ten seconds."""
    ms = seconds * 1000
    for limit, digits in ((0.995, 2), (99.5, 1)):
        if ms < limit:
            return f"{ms:.{digits}f}".removesuffix(".0")
    return f"{ms:.0f}"


def percent(ratio: float) -> str:
    """A share; what is not nothing is not shown as nothing, nor almost all as all."""
    if 0 < ratio < 0.005:
        return "<1%"
    if 0.995 <= ratio < 1:
        return "99%"
    return f"{ratio * 100:.0f}%"


def short_rate(bytes_per_second: float) -> str:
    """Bits per second in at most four characters: `941M`, `9.4G`, `19G`."""
    number, unit = rate(bytes_per_second).split(" ")
    value = float(number)
    return f"{f'{value:.1f}'.removesuffix('.0') if value < 9.95 else f'{value:.0f}'}{unit[0]}"

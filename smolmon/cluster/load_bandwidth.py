"""The section `bandwidth` of a cluster file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smolmon.bounds import DURATIONS, STREAMS
from smolmon.cluster import units
from smolmon.cluster.model import DEFAULT_BANDWIDTH_PORT, Bandwidth, Baseline
from smolmon.cluster.places import Place

if TYPE_CHECKING:
    from smolmon.cluster.load import _Reader

GUARDS = (0.1, 60.0)  # seconds
DAY = 86400.0

KEYS = (
    *("enabled", "period", "duration", "streams", "rate", "daily_budget"),
    *("guard", "busy", "tolerance", "port", "baseline"),
)
ARROW = "->"


def bandwidth(reader: _Reader, place: Place | None) -> Bandwidth:
    """What the section says; the defaults for what it does not."""
    usual = Bandwidth()
    if place is None or place.value is None:
        return usual
    keys = reader.mapping(place, required=(), optional=KEYS) or {}
    enabled = "enabled" not in keys or reader.flag(keys["enabled"])
    period = reader.quantity(keys.get("period"), units.DURATION_UNITS, usual.period, most=DAY)
    guard = reader.quantity(keys.get("guard"), units.DURATION_UNITS, usual.guard)
    if not GUARDS[0] <= guard <= GUARDS[1]:
        reader.wrong(keys["guard"], f"must be from {GUARDS[0]:g}s to {GUARDS[1]:g}s")
    return Bandwidth(
        enabled=enabled,
        period=period,
        duration=_duration(reader, keys.get("duration"), usual.duration),
        streams=_streams(reader, keys.get("streams"), usual.streams),
        guard=guard,
        busy=reader.quantity(keys.get("busy"), units.RATIO_UNITS, usual.busy, most=1.0),
        tolerance=reader.quantity(
            keys.get("tolerance"), units.RATIO_UNITS, usual.tolerance, most=0.99
        ),
        port=reader.port(keys.get("port"), default=DEFAULT_BANDWIDTH_PORT),
        rate=_optional(reader, keys.get("rate"), units.RATE_UNITS),
        daily_budget=_optional(reader, keys.get("daily_budget"), units.SIZE_UNITS),
        baseline=_baseline(reader, keys.get("baseline")),
    )


def _optional(reader: _Reader, place: Place | None, unit: dict[str, float]) -> float | None:
    return None if place is None else reader.quantity(place, unit, 1.0)


def _duration(reader: _Reader, place: Place | None, usual: int) -> int:
    seconds = reader.quantity(place, units.DURATION_UNITS, usual)
    if place is not None and seconds > 0 and seconds not in DURATIONS:  # 0 is told already
        reader.wrong(place, f"must be whole seconds, from {DURATIONS[0]}s to {DURATIONS[-1]}s")
        return usual
    return int(seconds)


def _streams(reader: _Reader, place: Place | None, usual: int) -> int:
    if place is None:
        return usual
    text = place.value if isinstance(place.value, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) in STREAMS):
        reader.wrong(place, f"must be a number from {STREAMS[0]} to {STREAMS[-1]}")
        return usual
    return int(text)


def _baseline(reader: _Reader, place: Place | None) -> tuple[Baseline, ...]:
    if place is None or place.value is None:
        return ()
    found = []
    for link, entries in reader.entries(place, "segment"):
        if not isinstance(entries.value, dict):
            reader.wrong(entries, "must be a mapping such as `mini1->mini2: 9Gbit/s`")
            continue
        for name, entry in entries.value.items():
            source, arrow, target = name.partition(ARROW)
            if not arrow:
                reader.wrong(entry, "must be named `SOURCE->TARGET`, after two nodes")
                continue
            value = reader.quantity(entry, units.RATE_UNITS, 1.0)
            found.append(Baseline(link, source, target, value))
    return tuple(found)

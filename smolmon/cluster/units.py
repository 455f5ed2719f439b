"""Quantities as people write them, in base units."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z/%µ]*)\s*")

DURATION_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
RATE_UNITS = {"kbit/s": 1e3 / 8, "Mbit/s": 1e6 / 8, "Gbit/s": 1e9 / 8}
SIZE_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
RATIO_UNITS = {"%": 0.01, "": 1.0}


def quantity(text: str, units: dict[str, float]) -> float:
    """Read a number with one of `units` behind it. Raises ValueError that says what is expected.

    >>> quantity("0.5 ms", DURATION_UNITS)
    0.0005
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        known = ", ".join(unit or "no unit" for unit in units)
        raise ValueError(f"{text!r} is not a number with a unit ({known})")
    return float(match[1]) * units[match[2]]

"""Rates as people write them."""

from __future__ import annotations

_UNITS = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))


def rate(bytes_per_second: float, gap: str = " ") -> str:
    """Three digits and a unit, such as `941 Mbit/s`; with `gap` "" as in a cluster file."""
    bits = bytes_per_second * 8
    for size, unit in _UNITS:
        # 999.7 Mbit/s is 1000 in three digits.
        if float(f"{bits / size:.3g}") >= 1 or unit == "kbit/s":
            return f"{float(f'{bits / size:.3g}'):g}{gap}{unit}"
    raise AssertionError

"""Bars, as plain SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

WIDTH, LABEL, ROW, TOP = 760, 290, 22, 56
INK, BAR, OURS = "#333333", "#9aa7b4", "#2e7d32"


def bars(
    title: str,
    unit: str,
    rows: Sequence[tuple[str, float]],
    *,
    limit: float | None = None,
    ours: str = "smolmon",
) -> str:
    """A bar for each (label, value above 0), on a logarithmic scale; `limit` is a dashed line."""
    values = [v for _, v in rows if v > 0] + ([limit] if limit else [])
    low, high = min(values) / 2, max(values)
    room = WIDTH - LABEL - 90

    def x(value: float) -> float:
        return LABEL + room * log10(max(value, low) / low) / log10(high / low)

    height = TOP + ROW * len(rows) + 16
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="40">{escape(unit)}, logarithmic; shorter is better</text>',
    ]
    for i, (label, value) in enumerate(rows):
        y = TOP + i * ROW
        colour = OURS if label.startswith(ours) else BAR
        out += [
            f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABEL}" y="{y + 3}" width="{max(2.0, x(value) - LABEL):.1f}" '
            f'height="{ROW - 7}" fill="{colour}"/>',
            f'<text x="{max(LABEL + 2.0, x(value)) + 6:.1f}" y="{y + 14}">{value:,.3g}</text>',
        ]
    if limit:
        out.append(
            f'<line x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="{TOP - 6}" y2="{height - 10}" '
            f'stroke="{INK}" stroke-dasharray="4 3"/>'
        )
    return "\n".join([*out, "</svg>", ""])

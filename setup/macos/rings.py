"""Closed rings of Thunderbolt cables: what is wrong only when several Macs are seen together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smolmon.macos.cabling import cabling, rings
from smolmon.macos.thunderbolt import Bus


def ring_refusals(reports: Mapping[str, Sequence[Bus]]) -> dict[str, list[str]]:
    """One line for each ring, for each node on it, from the buses of all nodes by name."""
    found: dict[str, list[str]] = {}
    for ring in rings(cabling(reports).cables):
        way = " - ".join([*ring, ring[0]])
        for node in dict.fromkeys(ring):
            found.setdefault(node, []).append(
                f"the Thunderbolt cables make a ring ({way}), and macOS has no spanning tree: one "
                "broadcast would circle in it for ever and take the network down; pull one cable"
            )
    return found

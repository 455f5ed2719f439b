"""Whether the kernel has, and would use, the routes that were declared."""

from __future__ import annotations

from collections.abc import Iterable

from smolmon.cluster import Member
from smolmon.cluster.derive import Route
from smolmon.exporter.system import KernelRoute, System


def device(member: Member, system: System) -> str:
    """The interface that `member` names, by name or by hardware address; "" if there is none."""
    if member.interface is not None:
        return member.interface
    return system.interface(member.mac) if member.mac is not None else ""


def is_present(route: Route, device: str, table: Iterable[KernelRoute]) -> bool:
    """Whether packets to the destination of `route` leave by its gateway, on `device` (or any, "").

    Of several routes to one destination the kernel uses the one with the lowest metric, the first
    in the table where they are equal, and passes over the dead. It does use one whose interface has
    no carrier, in vain: such a route counts as missing.
    """
    candidates = [r for r in table if r.destination == route.destination and not r.dead]
    used = min(candidates, key=lambda r: r.metric, default=None)
    return (
        used is not None
        and used.gateway == route.via
        and not used.linkdown
        and device in ("", used.device)
    )

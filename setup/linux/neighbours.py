"""`static_neighbors` on Linux: MAC addresses of a segment's members, kept by the kernel. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from attrs import frozen


@frozen
class StaticNeighbour:
    """A peer on one of the node's own interfaces."""

    address: IPv4Address
    mac: str
    interface: str


def batch(neighbours: Iterable[StaticNeighbour]) -> bytes:
    """A file for `ip -batch`; ip-neighbour(8).

    It is run again and again: the kernel forgets permanent entries too when an interface is taken
    down (net/core/neighbour.c, neigh_ifdown).
    """
    lines = [
        f"neigh replace {n.address} lladdr {n.mac} nud permanent dev {n.interface}\n"
        for n in neighbours
    ]
    return "".join(["# Written by `smolmon setup`.\n", *lines]).encode()

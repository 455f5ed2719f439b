"""The boundary between the checks and the operating system's network state."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from attrs import frozen


@frozen
class KernelRoute:
    """An IPv4 route of the main table.

    `gateway` is None where packets go to the destination itself, nowhere, or several ways. `dead`:
    the kernel does not use it, its interface is down. `linkdown`: it is used, but the interface has
    no carrier.
    """

    destination: IPv4Network
    gateway: IPv4Address | None
    device: str
    metric: int = 0
    dead: bool = False
    linkdown: bool = False


class System(Protocol):
    """What the operating system says of its network. Every method raises OSError."""

    def routes(self) -> Sequence[KernelRoute]:
        """The main table, in the kernel's order."""

    def forwarding(self) -> bool:
        """Whether IPv4 packets are passed on between interfaces."""

    def interface(self, mac: str) -> str:
        """The name of the interface with that hardware address (lower case); "" without one."""

    def close(self) -> None:
        """Give back what is held open."""

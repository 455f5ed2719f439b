"""Network state on Linux, from netlink. Of the process's own network namespace, unprivileged."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from smolmon.exporter.system import KernelRoute

if TYPE_CHECKING:
    from pyroute2 import IPRoute

T = TypeVar("T")

RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RTNH_F_DEAD, RTNH_F_LINKDOWN = 1, 16  # include/uapi/linux/rtnetlink.h
IP_FREEBIND = 15  # include/uapi/linux/in.h
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


class LinuxSystem:
    """A :class:`~smolmon.exporter.system.System`. Belongs to one thread, which runs no event loop:
    pyroute2 runs one of its own."""

    def __init__(self) -> None:
        self._netlink: IPRoute | None = None

    def routes(self) -> Sequence[KernelRoute]:
        """The main table. Routes for other types of service than the normal one are left out."""
        messages = self._ask(
            lambda netlink: netlink.get_routes(family=socket.AF_INET, table=RT_TABLE_MAIN)
        )
        return [parse_route(m, _device) for m in messages if not m["tos"]]

    def forwarding(self) -> bool:
        """net.ipv4.ip_forward."""
        return IP_FORWARD.read_text(encoding="ascii").strip() == "1"

    def interface(self, mac: str) -> str:
        """The first interface with that address; a bridge may share its port's."""
        for message in self._ask(lambda netlink: netlink.get_links()):
            if message.get_attr("IFLA_ADDRESS") == mac:
                return str(message.get_attr("IFLA_IFNAME"))
        return ""

    def close(self) -> None:
        """Close the netlink socket."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _ask(self, question: Callable[[IPRoute], Iterable[T]]) -> list[T]:
        """The whole answer to a netlink question, on a socket that is kept as long as it works."""
        # Half of the exporter's memory, a third of a second: not before it is needed.
        from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

        try:
            if self._netlink is None:
                self._netlink = IPRoute()
            return list(question(self._netlink))
        except NetlinkError as error:
            self.close()
            raise OSError(error.code, f"netlink: {error}") from error
        except OSError:
            self.close()
            raise


def free_bind(listener: socket.socket) -> None:
    """Let `listener` bind to an address that the machine does not have yet."""
    listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def parse_route(message: Any, device: Callable[[int], str]) -> KernelRoute:  # noqa: ANN401
    """A route from pyroute2's form of an RTM_NEWROUTE message (rtnetlink(7))."""
    gateway = message.get_attr("RTA_GATEWAY") if message["type"] == RTN_UNICAST else None
    destination = message.get_attr("RTA_DST") or "0.0.0.0"  # noqa: S104 - the default route
    index = message.get_attr("RTA_OIF")
    return KernelRoute(
        destination=IPv4Network((destination, message["dst_len"])),
        gateway=IPv4Address(gateway) if gateway else None,
        device=device(index) if index else "",
        metric=message.get_attr("RTA_PRIORITY") or 0,
        dead=bool(message["flags"] & RTNH_F_DEAD),
        linkdown=bool(message["flags"] & RTNH_F_LINKDOWN),
    )


def _device(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return ""  # gone since the question
        raise

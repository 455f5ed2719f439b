"""Where a node's exporter listens. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, ip_address
from typing import Protocol


class _Wanted(Protocol):
    @property
    def management(self) -> str: ...
    @property
    def port(self) -> int: ...


class _Port(Protocol):
    @property
    def addresses(self) -> Sequence[IPv4Interface]: ...


class _Facts(Protocol):
    @property
    def ssh_address(self) -> str | None: ...
    @property
    def ssh_interface(self) -> str | None: ...
    def interface(self, name: str | None, /) -> _Port | None: ...


def listen_address(wanted: _Wanted, facts: _Facts) -> str:
    """Where the exporter listens: the management address, never all of them.

    Where that is a name, the address at which the SSH session arrived: for an IPv6 one, the IPv4
    address beside it if there is one, since a link-local address means nothing elsewhere.
    """
    host = wanted.management
    try:
        ip_address(host)
    except ValueError:
        host = facts.ssh_address or "127.0.0.1"
        if ":" in host and (port := facts.interface(facts.ssh_interface)) and port.addresses:
            host = str(port.addresses[0].ip)
    return f"[{host}]:{wanted.port}" if ":" in host else f"{host}:{wanted.port}"

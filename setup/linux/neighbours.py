"""`static_neighbors` on Linux: MAC addresses of a segment's members, kept by the kernel. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from attrs import frozen

from smolmon.setup.shell import quote

# In pre-up.d, since NetworkManager waits for what is there: whoever waits for an activation finds
# the entries, and no packet goes before they are there; NetworkManager-dispatcher(8).
NAME = "90-smolmon-neighbors"
FILE = f"/etc/NetworkManager/dispatcher.d/pre-up.d/{NAME}"


@frozen
class StaticNeighbour:
    """A peer on one of the node's own interfaces."""

    address: IPv4Address
    mac: str
    interface: str


def is_mac(text: str) -> bool:
    """Whether `text` is the hardware address of one interface: lower case, with colons.

    Each comes from another node, which may have said anything.
    """
    if not re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        return False
    return not int(text[:2], 16) & 1 and text != "00:00:00:00:00:00"


def replace(neighbour: StaticNeighbour) -> list[str]:
    """The command that makes the kernel keep it, whatever it knew before; ip-neighbour(8)."""
    return [
        *("ip", "neigh", "replace", str(neighbour.address), "lladdr", neighbour.mac),
        *("nud", "permanent", "dev", neighbour.interface),
    ]


def delete(address: IPv4Address, interface: str) -> list[str]:
    """The command that makes the kernel forget it, and ask by ARP again."""
    return ["ip", "neigh", "del", str(address), "dev", interface]


def dispatcher(neighbours: Mapping[str, Iterable[StaticNeighbour]]) -> bytes:
    """A script for NetworkManager's dispatcher: the entries of each profile, by its UUID.

    It runs at every activation: the kernel forgets permanent entries too when an interface is
    taken down (net/core/neighbour.c, neigh_ifdown).
    """
    text = [
        "#!/bin/sh\n",
        "# Written by `smolmon setup`: static neighbours, kept at every activation.\n",
        # Not its copies, which lie beside it while it is replaced.
        f'[ "${{0##*/}}" = {NAME} ] || exit 0\n',
        'case "$CONNECTION_UUID" in\n',
    ]
    for uuid, entries in neighbours.items():
        text.append(f"{quote(uuid)})\n")
        text += [f"  {' '.join(map(quote, replace(entry)))}\n" for entry in entries]
        text.append("  ;;\n")
    return "".join([*text, "esac\n", "exit 0\n"]).encode()


_ENTRY = re.compile(
    r"\s*ip neigh replace (?P<address>[\d.]+) lladdr (?P<mac>[0-9a-f:]{17}) "
    r"nud permanent dev (?P<interface>\S+)"
)


def entries(script: str) -> tuple[StaticNeighbour, ...]:
    """The entries of such a script, as far as its lines are as written."""
    found = []
    for line in script.splitlines():
        match = _ENTRY.fullmatch(line)
        if match and is_mac(match["mac"]):
            try:
                address = IPv4Address(match["address"])
            except ValueError:
                continue
            found.append(StaticNeighbour(address, match["mac"], match["interface"]))
    return tuple(found)

"""`/usr/sbin/netstat -i -b -d -n` (or `-I en5 -b -d -n`): counters of the interfaces."""

from __future__ import annotations

import re

from attrs import frozen

from smolmon.macos.text import device, mac, number

_LINK = re.compile(r"<Link#([0-9]{1,9})>")


@frozen
class InterfaceCounters:
    """What passed since the interface was made. A column that is missing or `-` is None.

    `transmit_drops` are packets lost in the send queue (source: `ifm_snd_drops`); receive drops
    are not printed anywhere.
    """

    name: str
    up: bool
    index: int
    mtu: int | None
    mac: str | None
    receive_packets: int | None
    receive_errors: int | None
    receive_bytes: int | None
    transmit_packets: int | None
    transmit_errors: int | None
    transmit_bytes: int | None
    collisions: int | None
    transmit_drops: int | None


def parse(text: str) -> tuple[InterfaceCounters, ...]:
    """The rows of the interfaces themselves (`<Link#21>`); those of their addresses repeat the
    packets and have `-` for the errors.

    Source (netstat.tproj/if.c, intpr): `*` after the name for an interface that is not up; the
    column Address is empty for those without a hardware address (lo0, gif0, utun0): a row must have
    a number for each column of the header, with or without an address before them. The counters are
    64 bits wide. Seen: since macOS
    13.2 the kernel cuts the byte counters to 32 bits for programs that are not Apple's
    (prometheus/node_exporter#3333, exelban/stats#3493, where netstat still printed the whole
    number): this is why the tool is asked and not the kernel.
    """
    columns: list[str] = []
    found: list[InterfaceCounters] = []
    for line in text.split("\n"):
        words = line.split()
        if words[:4] == ["Name", "Mtu", "Network", "Address"]:
            columns = words[4:]
        elif columns and (row := _row(words, columns)) is not None:
            found.append(row)
    return tuple(found)


def _row(words: list[str], columns: list[str]) -> InterfaceCounters | None:
    # Name, Mtu, Network, perhaps Address, then the numbers. An address always has a colon.
    link = _LINK.fullmatch(words[2]) if len(words) > 3 else None
    if link is None:
        return None
    has_address = ":" in words[3]
    numbers = words[4:] if has_address else words[3:]
    # Old releases leave the last column, Drop, empty in these rows (seen, macOS 10).
    if len(numbers) == len(columns) - 1 and columns[-1] == "Drop":
        numbers.append("-")
    name = device(words[0].removesuffix("*"))
    if name is None or len(numbers) != len(columns):
        return None
    counts = {column: number(word) for column, word in zip(columns, numbers, strict=True)}
    return InterfaceCounters(
        name=name,
        up=not words[0].endswith("*"),
        index=int(link[1]),
        mtu=number(words[1]),
        mac=mac(words[3]) if has_address else None,
        receive_packets=counts.get("Ipkts"),
        receive_errors=counts.get("Ierrs"),
        receive_bytes=counts.get("Ibytes"),
        transmit_packets=counts.get("Opkts"),
        transmit_errors=counts.get("Oerrs"),
        transmit_bytes=counts.get("Obytes"),
        collisions=counts.get("Coll"),
        transmit_drops=counts.get("Drop"),
    )

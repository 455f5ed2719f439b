"""`/usr/sbin/sysctl NAME...`: values of the kernel."""

from __future__ import annotations

import re

from smolmon.macos.text import number

FORWARDING = "net.inet.ip.forwarding"
_BOOT = re.compile(r"sec = ([0-9]{1,18}), usec = ([0-9]{1,6})")


def parse(text: str) -> dict[str, str]:
    """The values by name, of lines `name: value` (man: the form without `-n`).

    A name that does not exist is reported on stderr and is missing here. The answer to `-w`,
    `net.inet.ip.forwarding: 0 -> 1`, counts as its new value.
    """
    values: dict[str, str] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(": ")
        if colon and " " not in name:
            values[name] = value.rpartition(" -> ")[2].strip()
    return values


def forwarding(text: str) -> bool | None:
    """Whether IPv4 packets are passed on; None if `text` does not say so.

    Source (xnu, bsd/netinet/ip_input.c): an integer, 0 or not.
    """
    value = number(parse(text).get(FORWARDING, ""))
    return bool(value) if value is not None else None


def boot_time(text: str) -> float | None:
    """When the machine was started, in Unix seconds, from `kern.boottime: { sec = 1, usec = 0 }`
    (seen)."""
    match = _BOOT.search(parse(text).get("kern.boottime", ""))
    return int(match[1]) + int(match[2]) / 1e6 if match is not None else None

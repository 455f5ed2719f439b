"""The kernel of the node, as the stand-ins need it: read and changed with ip(8)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmon.lab.mac.state import Table, machine

# On a node the tools that a Mac does not have are put away here; elsewhere they are on the PATH.
LINUX = Path("/usr/lib/smolmon-mac/linux")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class KernelError(Exception):
    """The kernel refused; one line."""


def tool(name: str) -> str:
    """Where the Linux tool `name` is."""
    path = LINUX / name
    return str(path) if path.exists() else name


def run(argv: Sequence[str], text: str = "") -> str:
    """Run a Linux tool; what it prints. Raises KernelError."""
    done = subprocess.run(
        [tool(argv[0]), *argv[1:]], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise KernelError((done.stderr.strip() or f"exit {done.returncode}").splitlines()[0])
    return done.stdout


def ip(*words: str) -> None:
    """Change something. Raises KernelError."""
    run(["ip", *words])


def ask(*words: str) -> list[Table]:
    """The answer of `ip -json`. Raises KernelError."""
    text = run(["ip", "-json", *words])
    found: list[Table] = json.loads(text) if text.strip() else []
    return [entry for entry in found if entry]


@dataclass(frozen=True)
class Address:
    """An IPv4 or IPv6 address of an interface; `scope` as ip(8) has it."""

    family: int
    address: str
    length: int
    broadcast: str | None
    scope: str


@dataclass(frozen=True)
class Link:
    """A network device. `carrier`: switched on, and somebody at the other end."""

    name: str
    index: int
    up: bool
    carrier: bool
    mtu: int
    mac: str
    addresses: tuple[Address, ...]
    counters: dict[str, dict[str, int]]


def links() -> dict[str, Link]:
    """Every device by name, also those that only the lab knows about."""
    return {entry["ifname"]: _link(entry) for entry in ask("-s", "address", "show")}


def _link(entry: dict[str, Any]) -> Link:
    up = "UP" in entry["flags"]
    return Link(
        name=entry["ifname"],
        index=entry["ifindex"],
        up=up,
        carrier=up and "LOWER_UP" in entry["flags"],
        mtu=entry["mtu"],
        mac=entry.get("address", ""),
        addresses=tuple(
            Address(
                4 if a["family"] == "inet" else 6,
                a["local"],
                a["prefixlen"],
                a.get("broadcast"),
                a.get("scope", "global"),
            )
            for a in entry.get("addr_info", ())
            if "local" in a
        ),
        counters=entry.get("stats64") or entry.get("stats") or {},
    )


def ports() -> list[Table]:
    """The hardware ports of this Mac, as the lab describes them."""
    found: list[Table] = machine().get("ports", [])
    return found


def active(port: Table, seen: dict[str, Link]) -> bool:
    """Whether there is a link. A bridge has one while any of its members has."""
    device = seen.get(port["device"])
    if device is None or not device.carrier:
        return False
    members = port.get("members")
    return not members or any(member_active(member, seen) for member in members)


def member_active(member: Table, seen: dict[str, Link]) -> bool:
    """Whether the cable of a bridge's member leads to somebody."""
    carrier = seen.get(member["carrier"] or "")
    return carrier is not None and carrier.carrier


def routes() -> list[Table]:
    """The IPv4 routes of the main table, as `ip -json` has them, without those out of use."""
    return [r for r in ask("-4", "route", "show", "table", "main") if "dead" not in r["flags"]]


def neighbours(family: str = "-4") -> list[Table]:
    """The neighbour table: `dst`, `dev`, `lladdr`, `state`."""
    return ask(family, "neighbor", "show")

"""`/usr/sbin/system_profiler SPThunderboltDataType -json`: who is at the other end of each cable.

Takes seconds. Not open source: seen on Macs with Thunderbolt 3, 4 and 5.
"""

from __future__ import annotations

from attrs import frozen

from smolmon.macos.json import dictionaries, load, string


@frozen
class Peer:
    """Another computer on a cable. `domain` is the UUID of its end's Thunderbolt domain."""

    name: str | None
    domain: str


@frozen
class Bus:
    """One of the machine's Thunderbolt controllers. `domain` is its UUID; `receptacle` the number
    of the socket, as in the hardware port `Thunderbolt 1`; `speed` the tool's own text. Each is
    None if the tool does not say it."""

    domain: str | None
    receptacle: str | None
    connected: bool | None
    speed: str | None
    peers: tuple[Peer, ...]


def parse(text: str) -> tuple[Bus, ...]:
    """The buses. A bus without anything plugged in has no `_items`; drives and hubs have items
    without a `domain_uuid_key`, and are no peers."""
    return tuple(_bus(entry) for entry in dictionaries(load(text), "SPThunderboltDataType"))


def _bus(entry: dict[str, object]) -> Bus:
    tag = entry.get("receptacle_1_tag")
    receptacle = tag if isinstance(tag, dict) else {}
    status = string(receptacle, "receptacle_status_key")
    peers = [
        Peer(string(item, "device_name_key") or string(item, "_name"), domain)
        for item in dictionaries(entry, "_items")
        if (domain := string(item, "domain_uuid_key")) is not None
    ]
    return Bus(
        domain=string(entry, "domain_uuid_key"),
        receptacle=string(receptacle, "receptacle_id_key"),
        connected={
            "receptacle_connected": True,
            "receptacle_no_devices_connected": False,
        }.get(status or ""),
        speed=string(receptacle, "current_speed_key"),
        peers=tuple(peers),
    )

"""The commands that make NetworkManager do something, as words. Pure."""

from __future__ import annotations

from attrs import evolve

from smolmon.setup.linux.facts import NM, NM_PATH, Profile

_TYPES = {"802-3-ethernet": "ethernet"}
# D-Bus flags of CheckpointCreate: delete new profiles, disconnect new devices. Never 1, which
# destroys everybody else's checkpoints; without it NetworkManager refuses where there is one.
_CHECKPOINT_FLAGS = 2 | 4


def add(profile: Profile) -> list[str]:
    """Store a new profile, without autoconnect: else it is activated at once, and `up` then takes
    it down to activate it again.
    """
    return [
        *("nmcli", "connection", "add", "type", _TYPES[profile.kind]),
        *("con-name", profile.name, "ifname", profile.interface or "*"),
        *("connection.uuid", profile.uuid),
        *(("802-3-ethernet.mac-address", profile.mac) if profile.mac else ()),
        *_properties(evolve(profile, autoconnect=False)),
    ]


def autoconnect(uuid: str) -> list[str]:
    """Let a stored profile be activated at boot, and whenever its cable is plugged in."""
    return ["nmcli", "connection", "modify", "uuid", uuid, "connection.autoconnect", "yes"]


def modify(profile: Profile) -> list[str]:
    """Make the stored profile of the same UUID this one."""
    return [
        *("nmcli", "connection", "modify", "uuid", profile.uuid),
        *("connection.id", profile.name),
        *("connection.interface-name", profile.interface or ""),
        *("802-3-ethernet.mac-address", profile.mac or ""),
        *_properties(profile),
    ]


def _properties(profile: Profile) -> list[str]:
    return [
        *("connection.autoconnect", _yes(profile.autoconnect)),
        *("connection.autoconnect-priority", str(profile.priority)),
        *("ipv4.method", profile.method),
        *("ipv4.addresses", ", ".join(map(str, profile.addresses))),
        *("ipv4.gateway", profile.gateway),
        *("ipv4.routes", ", ".join(f"{r.destination} {r.via}" for r in profile.routes)),
        *("ipv4.never-default", _yes(profile.never_default)),
        *("ipv4.dns", ""),
        *("ipv6.method", profile.ipv6_method),
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def delete(uuid: str) -> list[str]:
    """Delete a stored profile."""
    return ["nmcli", "connection", "delete", "uuid", uuid]


def up(uuid: str, interface: str) -> list[str]:
    """Activate a profile, and wait for it. Success proves nothing on a link without carrier."""
    return [*_NMCLI, "connection", "up", "uuid", uuid, "ifname", interface]


def reapply(interface: str) -> list[str]:
    """Make the kernel what the stored profile says, without taking the link down.

    Puts back deleted addresses and routes, and removes foreign ones of that interface.
    """
    return [*_NMCLI, "device", "reapply", interface]


def checkpoint_create(seconds: int | str) -> list[str]:
    """Arm a rollback of all devices that NetworkManager itself does after `seconds`.

    It lives in NetworkManager, so it outlasts this connection and whoever made it. By busctl:
    nmcli's own is interactive, and newer than many a node.
    """
    flags = str(_CHECKPOINT_FLAGS)
    return [*_CALL, "CheckpointCreate", "aouu", "0", str(seconds), flags]


def checkpoint_destroy(path: str) -> list[str]:
    """Commit: disarm the checkpoint at `path`, and no other."""
    return [*_CALL, "CheckpointDestroy", "o", path]


def checkpoint_rollback(path: str) -> list[str]:
    """Roll back to the checkpoint at `path` now."""
    return [*_CALL, "CheckpointRollback", "o", path]


# Longer than the 25 s that D-Bus gives a dispatcher which does not start, before NetworkManager
# goes on without it.
_NMCLI = ("nmcli", "--wait", "30")
_CALL = ("busctl", "call", NM, NM_PATH, NM)

"""What of a Linux node beside its network profiles setup depends on: the script, and its reading.

Files, kernel settings, services, the rules that keep segments apart, and static neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from attrs import frozen

from smolmon.setup.linux import fence, neighbours
from smolmon.setup.linux.neighbours import StaticNeighbour
from smolmon.setup.shell import command, lines, quote

UNIT = "smolmon-exporter.service"


@frozen
class File:
    """A file: SHA-256 (hex), modification time in seconds since the epoch, permissions, owner."""

    sha256: str
    changed: int
    mode: int = 0o644
    owner: int = 0  # UID


@frozen
class Service:
    """The exporter's unit. `started` is in seconds since the epoch, None while it does not run."""

    active: bool = False
    enabled: bool = False
    reload_needed: bool = False
    started: int | None = None
    listening: tuple[str, ...] = ()  # ADDRESS:PORT


@frozen
class Fence:
    """The unit that keeps segments apart, and its rules as the node's own nft(8) prints them.

    `live` is what the kernel has, `made` is what the stored file makes of an empty one: what nft
    prints is not what it was given, and differs between its versions, but not between these two.
    """

    active: bool = False
    enabled: bool = False
    reload_needed: bool = False
    live: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


# What a file must say to ask for each (sysctl.d(5)): forwarding counts only where it is turned on.
SYSCTLS = {
    "net.ipv4.ip_forward": "(ip_forward|conf[./]all[./]forwarding)[[:space:]]*=[[:space:]]*1",
    "net.ipv4.ping_group_range": "ping_group_range[[:space:]]*=",
}
# Where sysctl(8), systemd-sysctl(8) and ufw(8) look.
_SYSCTL_FILES = (
    "/etc/sysctl.conf /etc/ufw/sysctl.conf /etc/sysctl.d/*.conf /run/sysctl.d/*.conf "
    "/usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf"
)
# What runs as root; a sudoers file wants their paths.
PROGRAMS = (
    *("nmcli", "busctl", "systemctl", "journalctl", "sysctl", "ip"),
    *("install", "mv", "rm", "ln", "rmdir", "basename", "sha256sum"),
    *("nft", "unshare"),
)


@frozen
class Places:
    """Where to look: `files` of which only root can read the `private` ones, our own `folder`,
    our sysctl file `kept`, listeners on `port`.

    `permit` is an argument with which sudo allows basename(1) to whom it allows all that setup
    does. `enforced`: whether the rules that keep segments apart are looked for in any case.
    Without the `exporter`, what it alone depends on is left out.
    """

    files: tuple[str, ...]
    private: tuple[str, ...]
    port: int
    folder: str
    kept: str
    permit: str
    enforced: bool = False
    exporter: bool = True


def system_script(places: Places) -> str:
    """The part of the facts script that tells of everything but the network."""
    network = (places.kept, fence.RULES, fence.UNIT_FILE)
    return lines(
        [
            "echo @@sudo; if [ $(id -u) = 0 ]; then echo yes; else "
            f"sudo -n basename {quote(places.permit)} >/dev/null 2>&1 && echo yes; fi",
            *(
                f"echo {quote('@@sysctl ' + key)}; cat /proc/sys/{key.replace('.', '/')}"
                for key in SYSCTLS
            ),
            *(
                f"echo {quote('@@setters ' + key)}; "
                f"grep -lsE {quote('^[[:space:]]*-?net[./]ipv4[./]' + pattern)} {_SYSCTL_FILES}"
                for key, pattern in SYSCTLS.items()
            ),
            f"echo @@kept; cat {quote(places.kept)} 2>/dev/null",
            f"echo @@programs; for one in {command(*PROGRAMS)}; do command -v $one; done",
            _exporter_script(places) if places.exporter else _files_script(network),
            _fence_script(places),
            "true",
        ]
    )


# What dlopen(3) goes by. Unprivileged users often have no sbin in their PATH; a libc without such a
# cache tells nothing.
_LIBIPERF = (
    "echo @@libiperf; PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | "
    "{ seen=; while read -r name _; do seen=${seen:-no}; "
    '[ "$name" = libiperf.so.0 ] && seen=yes; done; echo "$seen"; }'
)


def _exporter_script(places: Places) -> str:
    return lines(
        [
            f"echo @@folder; find {quote(places.folder)} 2>/dev/null",
            "echo @@python; python3 -c "
            "'import sys; print(sys.executable, *sys.version_info[:2], sep=\"\\n\")' 2>/dev/null",
            "echo @@systemd; systemctl --version",
            "echo @@clock; date +%s",
            _LIBIPERF,
            _files_script(places.files, places.private),
            f"unit=$(systemctl show -p ActiveState,UnitFileState,NeedDaemonReload,MainPID {UNIT})",
            'echo @@unit; echo "$unit"',
            "pid=${unit#*MainPID=}; pid=${pid%%[!0-9]*}",
            'echo @@started; [ "${pid:-0}" = 0 ] || { ps -o etimes= -p "$pid"; date +%s; }',
            f"echo @@listening; ss -Hltn {quote(f'( sport = :{places.port} )')}",
            f"echo @@static; cat {quote(neighbours.FILE)} 2>/dev/null",
            "echo @@permanent; ip -j -4 neigh show nud permanent 2>/dev/null",
        ]
    )


def _files_script(files: Collection[str], private: Collection[str] = ()) -> str:
    public = [path for path in files if path not in private]
    return lines(
        [
            f"echo @@files; stat -c '%Y %a %u %n' {command(*files)} 2>/dev/null",
            f"echo @@sha256; sha256sum {command(*public)} 2>/dev/null",
            *(_as_root(command("sha256sum", path)) for path in private),
        ]
    )


def _fence_script(places: Places) -> str:
    """Only root sees rules, so nobody is asked for them who needs none and has none."""
    either = f"[ -e {quote(fence.RULES)} ] || [ -e {quote(fence.UNIT_FILE)} ]"
    unit = (
        f"echo @@fence; systemctl show -p ActiveState,UnitFileState,NeedDaemonReload {fence.UNIT}"
    )
    always = places.enforced or places.exporter
    return lines(
        [
            *([unit] if always else ()),
            "{" if places.enforced else f"{{ {either}; }} && {{",
            *(() if always else [f"  {unit}"]),
            f"  echo @@fence-live; {_as_root(command(*fence.live()))}",
            f"  echo @@fence-made; {_as_root(command(*fence.made()))}",
            "}",
        ]
    )


def _as_root(line: str) -> str:
    return f"if [ $(id -u) = 0 ]; then {line}; else sudo -n {line}; fi 2>/dev/null"


def read_files(listed: str, sha256: str) -> dict[str, File]:
    """The files that are there, by path."""
    digests = {line[66:]: line[:64] for line in sha256.splitlines()}
    found = {}
    for line in listed.splitlines():
        changed, mode, owner, path = line.split(" ", 3)
        if path in digests:
            found[path] = File(digests[path], int(changed), int(mode, 8), int(owner))
    return found


def read_settings(text: str) -> dict[str, str]:
    """The settings of a sysctl file."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith(("#", ";")))
    return {key.strip(): " ".join(value.split()) for key, mark, value in pairs if mark}


def read_service(unit: str, started: list[str], listening: str) -> Service:
    """The exporter's unit."""
    active, enabled, reload_needed = _unit(unit)
    return Service(
        active=active,
        enabled=enabled,
        reload_needed=reload_needed,
        started=int(started[1]) - int(started[0]) if len(started) == 2 else None,
        listening=tuple(line.split()[3] for line in listening.splitlines()),
    )


def read_fence(unit: str, live: str, made: str) -> Fence:
    """The unit that keeps segments apart, and its rules."""
    return Fence(*_unit(unit), live=fence.listed(live), made=fence.listed(made))


def _unit(text: str) -> tuple[bool, bool, bool]:
    properties: Mapping[str, str] = dict(
        line.split("=", 1) for line in text.splitlines() if "=" in line
    )
    return (
        properties.get("ActiveState") == "active",
        properties.get("UnitFileState") == "enabled",
        properties.get("NeedDaemonReload") == "yes",
    )


def read_permanent(text: str) -> tuple[StaticNeighbour, ...]:
    """The kernel's permanent IPv4 neighbours: the JSON of ip-neighbour(8)."""
    return tuple(
        StaticNeighbour(IPv4Address(entry["dst"]), entry["lladdr"], entry["dev"])
        for entry in json.loads(text or "[]")
        if "lladdr" in entry and "dev" in entry
    )

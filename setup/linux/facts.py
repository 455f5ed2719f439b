"""What a Linux node is like, read from what the facts script (asking.py) printed. Pure.

A network profile has three states that can differ from one another: *stored* (what NetworkManager
would do next time), *applied* (what it did), and what the *kernel* has. All three are gathered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from attrs import field, frozen

from smolmon.setup.errors import FactsError
from smolmon.setup.linux import neighbours
from smolmon.setup.linux.facts_system import (
    Fence,
    File,
    Service,
    read_fence,
    read_files,
    read_permanent,
    read_service,
    read_settings,
)
from smolmon.setup.linux.neighbours import StaticNeighbour
from smolmon.setup.shell import command, sections

NM = "org.freedesktop.NetworkManager"
NM_PATH = "/org/freedesktop/NetworkManager"


@frozen
class Interface:
    """A network interface as the kernel has it."""

    name: str
    mac: str
    up: bool  # administratively
    carrier: bool
    addresses: tuple[IPv4Interface, ...]
    ipv6: tuple[str, ...] = ()
    master: str | None = None  # the bridge, bond or the like that it is a port of
    link: str | None = None  # what it is stacked on: a VLAN's or macvlan's interface


@frozen
class KernelRoute:
    """A route of the kernel's main table. `destination` is 0.0.0.0/0 for a default route."""

    destination: IPv4Network
    gateway: IPv4Address | None
    device: str | None  # None for a blackhole and its like
    kind: str = "unicast"


@frozen
class ProfileRoute:
    """A route that a profile asks for. `metric` None: the device's own."""

    destination: IPv4Network
    via: IPv4Address | None
    metric: int | None = None


@frozen
class Profile:
    """What smolmon sets of a NetworkManager profile, in one canonical form."""

    uuid: str
    name: str
    kind: str  # 802-3-ethernet, bridge, ...
    interface: str | None
    mac: str | None
    autoconnect: bool
    priority: int
    method: str
    addresses: tuple[IPv4Interface, ...]
    gateway: str
    routes: tuple[ProfileRoute, ...]
    never_default: bool
    dns: bool  # whether it brings name servers of its own
    ipv6_method: str


@frozen
class Device:
    """A network device as NetworkManager has it."""

    name: str
    kind: str
    state: str


@frozen
class Connection:
    """A stored profile in NetworkManager's list."""

    uuid: str
    name: str
    device: str
    kind: str  # 802-3-ethernet, bridge, ...


@frozen
class Facts:
    """Everything that the plan for one Linux node depends on."""

    user: str
    uid: int
    sudo: bool  # without a password
    ssh_address: str | None  # at which this very session arrived
    interfaces: tuple[Interface, ...]
    routes: tuple[KernelRoute, ...]
    nm_running: bool
    devices: tuple[Device, ...] = ()
    connections: tuple[Connection, ...] = ()
    stored: dict[str, Profile] = field(factory=dict)  # by UUID
    applied: dict[str, Profile] = field(factory=dict)  # by device
    sysctl: dict[str, str] = field(factory=dict)
    python: str | None = None
    python_version: tuple[int, int] | None = None
    files: dict[str, File] = field(factory=dict)  # by path; only those that exist
    service: Service = field(factory=Service)
    systemd: int | None = None  # its version
    clock: int | None = None  # seconds since the epoch
    folder: tuple[str, ...] = ()  # what is in our folder, itself first; empty where it is not there
    setters: dict[str, tuple[str, ...]] = field(factory=dict)  # files that ask for a sysctl, by key
    kept: dict[str, str] = field(factory=dict)  # what our sysctl file asks for, by key
    programs: dict[str, str] = field(factory=dict)  # paths by name
    fence: Fence = field(factory=Fence)
    static: tuple[StaticNeighbour, ...] = ()  # those that are put there at every activation
    permanent: tuple[StaticNeighbour, ...] = ()  # those that the kernel has
    libiperf: bool | None = None  # which bandwidth tests need; None: not known
    exporter_asked: bool = True  # whether it was asked what the exporter needs

    def interface(self, name: str | None, mac: str | None = None) -> Interface | None:
        """The interface of that MAC address if one is given, else of that name."""
        for found in self.interfaces:
            if (found.mac == mac) if mac else (found.name == name):
                return found
        return None

    def device(self, name: str) -> Device | None:
        """NetworkManager's device of that name."""
        return next((d for d in self.devices if d.name == name), None)

    def as_root(self, *words: str) -> str:
        """The command line that runs `words` as root on this node."""
        return command(*([] if self.uid == 0 else ["sudo", "-n"]), *words)

    def below(self, name: str) -> tuple[str, ...]:
        """The interfaces that this one is stacked on, nearest first; not itself."""
        found: list[str] = []
        here = self.interface(name)
        while here and here.link and here.link not in (name, *found):  # veth pairs go in circles
            found.append(here.link)
            here = self.interface(here.link)
        return tuple(found)

    @property
    def ssh_interface(self) -> str | None:
        """The interface that carries this SSH session, None if its address is on none."""
        for found in self.interfaces:
            if self.ssh_address in found.ipv6 or any(
                str(a.ip) == self.ssh_address for a in found.addresses
            ):
                return found.name
        return None

    @property
    def default_interfaces(self) -> tuple[str, ...]:
        """The interfaces with a default route, the preferred one first."""
        return tuple(r.device for r in self.routes if r.destination.prefixlen == 0 and r.device)


def parse(text: str) -> Facts:
    """Read the output of the facts script. Raises FactsError."""
    found = {(name, argument): block for name, argument, block in sections(text)}

    def words(name: str, argument: str = "") -> list[str]:
        return found.get((name, argument), "").split()

    try:
        user, uid = words("user")
        python = found.get(("python", ""), "").split("\n")
        session = words("ssh")
        return Facts(
            user=user,
            uid=int(uid),
            sudo=words("sudo") == ["yes"],
            ssh_address=session[2].partition("%")[0] if len(session) == 4 else None,
            interfaces=_interfaces(found[("addresses", "")]),
            routes=_routes(found[("routes", "")]),
            nm_running=("nm-running", "") in found,
            devices=tuple(
                Device(parts[0], parts[1], parts[2].partition(" (")[0])  # "connected (externally)"
                for line in found.get(("devices", ""), "").splitlines()
                if len(parts := _terse(line, 3)) == 3
            ),
            connections=tuple(
                Connection(uuid=parts[0], kind=parts[1], device=parts[2], name=parts[3])
                for line in found.get(("connections", ""), "").splitlines()
                if len(parts := _terse(line, 4)) == 4
            ),
            stored={
                key: profile(block) for (name, key), block in found.items() if name == "stored"
            },
            applied={
                key: profile(block) for (name, key), block in found.items() if name == "applied"
            },
            sysctl={
                key: " ".join(block.split())
                for (name, key), block in found.items()
                if name == "sysctl"
            },
            python=python[0] if len(python) >= 3 else None,
            python_version=(int(python[1]), int(python[2])) if len(python) >= 3 else None,
            files=read_files(found.get(("files", ""), ""), found.get(("sha256", ""), "")),
            service=read_service(
                found.get(("unit", ""), ""), words("started"), found.get(("listening", ""), "")
            ),
            systemd=int(version[1]) if len(version := words("systemd")) > 1 else None,
            clock=int(clock[0]) if (clock := words("clock")) else None,
            folder=tuple(found.get(("folder", ""), "").splitlines()),
            setters={
                key: tuple(block.split())
                for (name, key), block in found.items()
                if name == "setters"
            },
            kept=read_settings(found.get(("kept", ""), "")),
            programs={path.rpartition("/")[2]: path for path in words("programs")},
            fence=read_fence(
                *(found.get((name, ""), "") for name in ("fence", "fence-live", "fence-made"))
            ),
            static=neighbours.entries(found.get(("static", ""), "")),
            permanent=read_permanent(found.get(("permanent", ""), "")),
            libiperf={"yes": True, "no": False}.get(found.get(("libiperf", ""), "").strip()),
            exporter_asked=("python", "") in found,
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise FactsError(
            f"its facts cannot be read ({type(error).__name__}: {error}); "
            "smolmon needs systemd, iproute2 4.13 or newer and NetworkManager on it"
        ) from error


def _interfaces(text: str) -> tuple[Interface, ...]:
    return tuple(
        Interface(
            name=link["ifname"],
            mac=link.get("address", ""),
            up="UP" in link["flags"],
            carrier="LOWER_UP" in link["flags"],
            addresses=tuple(
                IPv4Interface(f"{a['local']}/{a['prefixlen']}")
                for a in link["addr_info"]
                if a.get("family") == "inet"
            ),
            ipv6=tuple(a["local"] for a in link["addr_info"] if a.get("family") == "inet6"),
            master=link.get("master"),
            link=link.get("link"),
        )
        for link in json.loads(text)
        if link  # iproute2 before 5.0 leaves empty objects for what it filtered
    )


def _routes(text: str) -> tuple[KernelRoute, ...]:
    """In order of preference: the kernel lists equal destinations by metric."""
    return tuple(
        KernelRoute(
            destination=IPv4Network("0.0.0.0/0" if r["dst"] == "default" else r["dst"]),
            gateway=IPv4Address(r["gateway"]) if "gateway" in r else None,
            device=r.get("dev"),
            kind=r.get("type", "unicast"),
        )
        for r in json.loads(text or "[]")
        if r
    )


def _terse(line: str, count: int) -> list[str]:
    """The fields of a line of `nmcli -t`, which puts a backslash before `:` and `\\`."""
    fields = [""]
    characters = iter(line)
    for character in characters:
        if character == "\\":
            fields[-1] += next(characters, "")
        elif character == ":" and len(fields) < count:
            fields.append("")
        else:
            fields[-1] += character
    return fields


def profile(text: str) -> Profile:
    """A profile from the JSON that `busctl` makes of GetSettings or GetAppliedConnection."""
    settings: dict[str, dict[str, dict[str, Any]]] = json.loads(text)["data"][0]

    def get(setting: str, key: str, default: Any) -> Any:  # noqa: ANN401 - D-Bus variants
        return settings.get(setting, {}).get(key, {}).get("data", default)

    mac = get("802-3-ethernet", "mac-address", None)
    return Profile(
        uuid=get("connection", "uuid", ""),
        name=get("connection", "id", ""),
        kind=get("connection", "type", ""),
        interface=get("connection", "interface-name", None),
        mac=":".join(f"{octet:02x}" for octet in mac) if mac else None,
        autoconnect=get("connection", "autoconnect", True),
        priority=get("connection", "autoconnect-priority", 0),
        method=get("ipv4", "method", ""),
        addresses=tuple(
            sorted(
                IPv4Interface(f"{a['address']['data']}/{a['prefix']['data']}")
                for a in get("ipv4", "address-data", [])
            )
        ),
        gateway=get("ipv4", "gateway", ""),
        routes=sorted_routes(
            ProfileRoute(
                destination=IPv4Network(f"{r['dest']['data']}/{r['prefix']['data']}"),
                via=IPv4Address(r["next-hop"]["data"]) if "next-hop" in r else None,
                metric=r["metric"]["data"] if "metric" in r else None,
            )
            for r in get("ipv4", "route-data", [])
        ),
        never_default=get("ipv4", "never-default", False),
        dns=bool(get("ipv4", "dns", []) or get("ipv4", "dns-data", [])),
        ipv6_method=get("ipv6", "method", ""),
    )


def sorted_routes(routes: Iterable[ProfileRoute]) -> tuple[ProfileRoute, ...]:
    """The routes in canonical order."""
    return tuple(sorted(routes, key=lambda r: (r.destination, str(r.via), r.metric or 0)))

"""What a Mac is like, read from the output of the facts script. Pure.

A network service has two states that can differ: *stored* (networksetup: what macOS would do) and
*live* (ifconfig and netstat: what the kernel has). Both are gathered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from attrs import field, frozen

from smolmon.macos import (
    arp,
    ifconfig,
    launchctl,
    netstat_routes,
    netstat_tcp,
    networksetup,
    pf,
    pmset,
    ps,
    socketfilterfw,
    sysctl,
    thunderbolt,
)
from smolmon.macos.arp import ArpEntry
from smolmon.macos.ifconfig import Interface
from smolmon.macos.launchctl import Job
from smolmon.macos.netstat_routes import NetstatRoute
from smolmon.macos.networksetup import AdditionalRoute, HardwarePort, Info
from smolmon.macos.pmset import Power
from smolmon.macos.socketfilterfw import AppRule, FirewallState
from smolmon.macos.text import device, ipv4, mac
from smolmon.macos.thunderbolt import Bus
from smolmon.setup.errors import FactsError
from smolmon.setup.macos.tools import PREFIX
from smolmon.setup.shell import command, sections

ANYWHERE = IPv4Network("0.0.0.0/0")


@frozen
class StoredService:
    """A network service and its settings. `info` and `routes` None: they could not be read."""

    name: str
    device: str
    enabled: bool
    info: Info | None
    routes: tuple[AdditionalRoute, ...] | None


@frozen
class Python:
    """An interpreter. `program` is the file that really runs, which the firewall goes by."""

    path: str
    version: tuple[int, int]
    program: str


@frozen
class File:
    """A file's SHA-256 (hex), its permissions, and when it changed, in seconds since the epoch."""

    sha256: str
    mode: int
    changed: int


@frozen
class Firewall:
    """The application firewall. None: not known."""

    state: FirewallState | None = None
    stealth: bool | None = None
    apps: tuple[AppRule, ...] = ()

    def allows(self, program: str) -> bool:
        """Whether there is a rule for `program`, or the application that it is part of."""
        return any(
            app.allowed and (program == app.path or program.startswith(f"{app.path}/"))
            for app in self.apps
        )


@frozen
class Neighbour:
    """The MAC address of a peer on one of the node's own interfaces."""

    address: IPv4Address
    mac: str
    interface: str


@frozen
class PacketFilter:
    """pf, and our part in it: the rules in our anchor, and our reference if it still holds."""

    enabled: bool
    rules: tuple[str, ...]  # as smolmon.macos.pf has them
    token: str | None = None


@frozen
class Facts:
    """Everything that the plan for one Mac depends on."""

    user: str
    uid: int
    sudo: bool  # without a password
    ssh_address: str | None  # at which this very session arrived
    ssh_zone: str | None  # the interface, where the address is a link-local one
    group: str  # of the user `nobody`
    location: str
    services: tuple[StoredService, ...]
    ports: tuple[HardwarePort, ...]
    interfaces: tuple[Interface, ...]
    routes: tuple[NetstatRoute, ...]
    forwarding: bool | None
    sysctl_conf: bool  # whether /etc/sysctl.conf asks for forwarding
    daemons: tuple[str, ...]  # the names of all files in /Library/LaunchDaemons
    jobs: Mapping[str, Job]  # ours, by label
    disabled: frozenset[str]  # labels that are not loaded at boot
    started: int | None  # the exporter, in seconds since the epoch
    listening: bool
    firewall: Firewall
    power: Power
    pythons: tuple[Python, ...]
    files: Mapping[str, File] = field(factory=dict)  # by path; only those that exist
    directories: tuple[str, ...] = ()
    firewall_rule: str | None = None  # the program that setup let through the firewall
    buses: tuple[Bus, ...] = ()  # Thunderbolt
    neighbours: tuple[ArpEntry, ...] = ()
    kept_neighbours: tuple[Neighbour, ...] = ()  # stored, for the daemon that sets them
    pf: PacketFilter | None = None  # None: not asked

    def as_root(self, *words: str) -> str:
        """The command line that runs `words` as root on this node."""
        return command(*([] if self.uid == 0 else ["sudo", "-n"]), *words)

    def interface(self, name: str | None) -> Interface | None:
        """The interface of that name."""
        return next((i for i in self.interfaces if i.name == name), None)

    def service_on(self, device: str) -> StoredService | None:
        """The service of a device; of several, one that smolmon did not make and that is on."""
        mine = [s for s in self.services if s.device == device]
        return min(mine, key=lambda s: (s.name.startswith(PREFIX), not s.enabled), default=None)

    def service(self, name: str) -> StoredService | None:
        """The service of that name."""
        return next((s for s in self.services if s.name == name), None)

    def hardware_port(self, device: str) -> HardwarePort | None:
        """The port of a device; bridges may have none."""
        return next((p for p in self.ports if p.device == device), None)

    @property
    def ssh_interface(self) -> str | None:
        """The interface that carries this SSH session, None if its address is on none."""
        if self.ssh_zone:
            return self.ssh_zone
        for found in self.interfaces:
            if any(str(a.ip) == self.ssh_address for a in found.addresses):
                return found.name
            if any(str(six) == self.ssh_address for six in found.ipv6):
                return found.name
        return None

    @property
    def default_interfaces(self) -> tuple[str, ...]:
        """The interfaces with a default route for everybody, in netstat's order."""
        return tuple(r.device for r in self.routes if r.destination == ANYWHERE and not r.scoped)

    @property
    def session(self) -> str | None:
        """The interface that must stay as it is; where it cannot be told, the default route's."""
        return self.ssh_interface or next(iter(self.default_interfaces), None)

    @property
    def python(self) -> Python | None:
        """The first interpreter that is new enough, else the newest."""
        enough = [p for p in self.pythons if p.version >= OLDEST_PYTHON]
        newest = sorted(self.pythons, key=lambda p: p.version, reverse=True)
        return next(iter([*enough, *newest]), None)


OLDEST_PYTHON = (3, 10)


def parse(text: str, port: int) -> Facts:
    """Read the output of the facts script; `port` is the exporter's. Raises FactsError."""
    found = {(name, argument): block for name, argument, block in sections(text)}

    def part(name: str, argument: str = "") -> str:
        return found.get((name, argument), "")

    def arguments(name: str) -> list[str]:
        return [argument for n, argument in found if n == name]

    try:
        user, uid = part("user").split()
        session = part("ssh").split()
        address, _, zone = session[2].partition("%") if len(session) == 4 else ("", "", "")
        order = networksetup.service_order(part("order"))
        interfaces = ifconfig.parse(part("interfaces"))
        if not interfaces or not order:
            raise ValueError("it names no interface" if order else "it names no network service")
        jobs = {label: launchctl.parse(part("job", label)) for label in arguments("job")}
        pythons, files = _pythons(found)
        return Facts(
            user=user,
            uid=int(uid),
            sudo=part("sudo") == "yes",
            ssh_address=address or None,
            ssh_zone=zone or None,
            group=part("group").strip() or "nobody",
            location=part("location").strip(),
            services=tuple(
                StoredService(
                    name=s.name,
                    device=s.device,
                    enabled=s.enabled,
                    info=networksetup.info(part("info", s.name)),
                    routes=networksetup.additional_routes(part("routes", s.name)),
                )
                for s in order
                if s.device
            ),
            ports=networksetup.hardware_ports(part("ports")),
            interfaces=interfaces,
            routes=netstat_routes.parse(part("netstat")),
            forwarding=sysctl.forwarding(part("forwarding")),
            sysctl_conf=bool(part("sysctl.conf").strip()),
            daemons=tuple(part("daemons").splitlines()),
            jobs={label: job for label, job in jobs.items() if job is not None},
            disabled=launchctl.disabled(part("disabled")),
            started=_started(part("started")),
            listening=any(
                s.state == "LISTEN" and s.local.port == port
                for s in netstat_tcp.parse(part("listening"))
            ),
            firewall=Firewall(
                socketfilterfw.global_state(part("firewall")),
                socketfilterfw.stealth_mode(part("firewall")),
                socketfilterfw.apps(part("apps")),
            ),
            power=pmset.parse(part("power")),
            pythons=pythons,
            files=_files(part("sha256"), files),
            directories=tuple(part("directories").splitlines()),
            firewall_rule=part("firewall-rule").strip() or None,
            buses=thunderbolt.parse(part("thunderbolt")),
            neighbours=arp.parse(part("arp")),
            kept_neighbours=_kept_neighbours(part("neighbors")),
            pf=_packet_filter(found),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise FactsError(
            f"its facts cannot be read ({type(error).__name__}: {error}); is it a Mac with macOS "
            "11 or newer?"
        ) from error


def _kept_neighbours(script: str) -> tuple[Neighbour, ...]:
    """The table in the script that sets them."""
    found = []
    for row in map(str.split, script.splitlines()):
        if len(row) == 3:
            address, owner, name = ipv4(row[0]), mac(row[1]), device(row[2])
            if address and owner and name:
                found.append(Neighbour(address, owner, name))
    return tuple(found)


def _packet_filter(found: Mapping[tuple[str, str], str]) -> PacketFilter | None:
    if ("pf-info", "") not in found:
        return None
    held = pf.references(found.get(("pf-references", ""), ""))
    token = found.get(("pf-token", ""), "").strip()
    return PacketFilter(
        enabled=pf.enabled(found["pf-info", ""]) is True,
        rules=pf.rules(found.get(("pf-rules", ""), "")),
        token=token if token in held else None,
    )


def _pythons(
    found: Mapping[tuple[str, str], str],
) -> tuple[tuple[Python, ...], dict[str, tuple[int, int]]]:
    """The interpreters, and what the last of them said of files: mode and time, by path."""
    pythons: list[Python] = []
    files: dict[str, tuple[int, int]] = {}
    for (name, path), block in found.items():
        if name == "python":
            said = json.loads(block)
            major, minor = said["version"]
            pythons.append(Python(path, (int(major), int(minor)), str(said["program"])))
            files = {p: (int(mode), int(time)) for p, (mode, time) in said["files"].items()}
    return tuple(pythons), files


def _files(sha256: str, known: Mapping[str, tuple[int, int]]) -> dict[str, File]:
    digests = {line[66:]: line[:64] for line in sha256.splitlines()}
    return {path: File(digests.get(path, ""), *known[path]) for path in known}


def _started(text: str) -> int | None:
    """From what `ps` and `date` print, one each."""
    words = text.split()
    ago = ps.elapsed(words[0]) if len(words) == 2 else None
    return int(words[1]) - ago if ago is not None else None

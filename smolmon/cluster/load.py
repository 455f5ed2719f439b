"""Read a cluster file: every problem is found, and told with its line, its key and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import TypeVar

from attrs import evolve

from smolmon.cluster import load_bandwidth, load_monitor, load_notify, units
from smolmon.cluster.model import (
    DEFAULT_EXPORTER_PORT,
    DEFAULT_SERVER_PORT,
    EXPECTATIONS,
    Apart,
    Cabling,
    Cluster,
    Expectation,
    Internet,
    Kind,
    Member,
    Node,
    Platform,
    Segment,
    Server,
)
from smolmon.cluster.places import Place, Problem, YamlError, read
from smolmon.cluster.rules import problems_of

T = TypeVar("T")

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")  # Linux' IFNAMSIZ is 16 with the NUL
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
# What ssh(1) takes as a destination, less everything a shell could stumble over.
DESTINATION = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
WHICH_PORT = "which port is it? Write {address: ADDRESS, interface: NAME} or {..., mac: MAC}"
# The emulated cluster adds these two machines of its own.
RESERVED = ("controller", "internet")


class ClusterError(ValueError):
    """The file does not declare a cluster. One line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: p.line))
        super().__init__("\n".join(map(str, self.problems)))


def load(path: Path) -> Cluster:
    """Read the cluster file at `path`. Raises ClusterError."""
    return parse(text_of(path), str(path))


def text_of(path: Path, writes: str = "`smolmon init`") -> str:
    """What stands in the file at `path`, which `writes` would make. Raises ClusterError."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        message = f"is not there; {writes} writes one, or name yours with --cluster FILE"
    except OSError as error:
        why = error.strerror or str(error)
        message = f"cannot be read: {why}; name the cluster file with --cluster FILE"
    except UnicodeDecodeError:
        message = "is not UTF-8 text; is it a cluster file?"
    raise ClusterError([Problem(str(path), 0, "", message)])


def parse(text: str, file: str = "cluster.yaml") -> Cluster:
    """Make a cluster from the text of a cluster file; `file` is its name in messages."""
    try:
        top = read(text, file)
    except YamlError as error:
        raise ClusterError([error.problem]) from error
    reader = _Reader(file)
    cluster = reader.cluster(top)
    if not reader.problems and cluster is not None:
        reader.problems += [
            Problem(file, line_of(top, key), key, message) for key, message in problems_of(cluster)
        ]
    if reader.problems or cluster is None:
        raise ClusterError(reader.problems)
    return cluster


def line_of(top: Place, key: str) -> int:
    """The line of the deepest part of `key` that there is at or below `top`."""
    here = top
    for part in key.removeprefix(f"{top.key}." if top.key else "").split("."):
        if not isinstance(here.value, dict) or part not in here.value:
            break
        here = here.value[part]
    return here.line


class _Reader:
    """Walks the places, keeps the problems, and goes on as long as that makes sense."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def wrong(self, place: Place, message: str) -> None:
        self.problems.append(Problem(self.file, place.line, place.key, message))

    def cluster(self, top: Place) -> Cluster | None:
        if top.value is None:
            self.wrong(
                top, "the file is empty; `examples/guide.yaml` is a complete one to start from"
            )
            return None
        keys = self.mapping(
            top,
            required=("cluster", "server", "nodes", "segments"),
            optional=("internet", "exporter", "isolation", "bandwidth", "monitor", "notify"),
        )
        if keys is None:
            return None
        name = self.text(keys.get("cluster"), NAME, "lower-case letters, digits and dashes")
        nodes = [
            node
            for key, place in self.entries(keys.get("nodes"), "node")
            if (node := self.node(key, place))
        ]
        segments = [
            segment
            for key, place in self.entries(keys.get("segments"), "segment")
            if (segment := self.segment(key, place))
        ]
        nodes = [_with_wifi_address(node, segments) for node in nodes]
        segments = [self.with_ports(s, nodes, keys["segments"]) for s in segments]
        server = self.server(keys.get("server"), segments)
        internet = self.internet(keys.get("internet"), segments)
        port = self.exporter_port(keys.get("exporter"))
        apart = self.choice(keys.get("isolation"), Apart) or Apart.REPORT
        bandwidth = load_bandwidth.bandwidth(self, keys.get("bandwidth"))
        monitor = load_monitor.monitor(self, keys.get("monitor"))
        notify = load_notify.notify(self, keys.get("notify"))
        if self.problems or name is None or server is None:
            return None
        return Cluster(
            name,
            tuple(nodes),
            tuple(segments),
            server,
            internet,
            port,
            apart,
            bandwidth,
            monitor,
            notify,
        )

    def node(self, name: str, place: Place) -> Node | None:
        keys = self.mapping(place, required=("platform",), optional=("ssh", "management"))
        if keys is None:
            return None
        if name in RESERVED:
            self.wrong(place, "this name is kept for the emulated cluster; choose another")
        platform = self.choice(keys.get("platform"), Platform)
        host_help = "a host name or an address"
        management = self.text(keys.get("management"), HOST, host_help)
        ssh = self.text(keys.get("ssh"), DESTINATION, f"{host_help}, with or without `user@`")
        for key, host in (("management", management), ("ssh", (ssh or "").rpartition("@")[2])):
            if host and re.fullmatch(r"[0-9.]+", host):
                self.address(evolve(keys[key], value=host))
        if platform is None:
            return None
        # Completed from the Wi-Fi segment, if there is one, when that is known.
        return Node(name, platform, ssh or "", management or "")

    def segment(self, name: str, place: Place) -> Segment | None:
        keys = self.mapping(
            place,
            required=("kind", "subnet", "members"),
            optional=("cabling", "gateway", "expect", "static_neighbors"),
        )
        if keys is None:
            return None
        kind = self.choice(keys.get("kind"), Kind)
        subnet = self.subnet(keys.get("subnet"))
        cabling = self.choice(keys.get("cabling"), Cabling)
        gateway = self.text(keys.get("gateway"), NAME, "the name of a member")
        static = self.flag(keys.get("static_neighbors"))
        if kind is None:
            return None
        members = [
            member
            for key, entry in self.entries(keys.get("members"), "node")
            if (member := self.member(key, entry, kind))
        ]
        expect = self.expectation(keys.get("expect"), EXPECTATIONS[kind])
        if subnet is None:
            return None
        usual = Cabling.CHAIN if kind is Kind.THUNDERBOLT else Cabling.STAR
        wires = cabling or usual
        return Segment(name, kind, subnet, tuple(members), wires, expect, gateway, static)

    def member(self, node: str, place: Place, kind: Kind) -> Member | None:
        if isinstance(place.value, dict):
            keys = self.mapping(place, required=("address",), optional=("interface", "mac"))
            if keys is None:
                return None
        else:
            keys = {"address": place}
        address = self.address(keys.get("address"))
        interface = self.text(
            keys.get("interface"), INTERFACE, "the name of a network interface, such as eth0"
        )
        mac_place = keys.get("mac")
        if mac_place and isinstance(mac_place.value, str):
            mac_place = evolve(mac_place, value=mac_place.value.lower())
        mac = self.text(mac_place, MAC, "a MAC address such as d8:3a:dd:01:02:03")
        if kind is Kind.ETHERNET and not keys.keys() & {"interface", "mac"}:
            self.wrong(place, WHICH_PORT)
        return Member(node, address, interface, mac) if address else None

    def with_ports(self, segment: Segment, nodes: list[Node], places: Place) -> Segment:
        """Fill in the port of Thunderbolt members that name none, where there is a usual one."""
        if segment.kind is not Kind.THUNDERBOLT:
            return segment
        platforms = {node.name: node.platform for node in nodes}
        members = []
        for member in segment.members:
            unnamed = member.interface is None and member.mac is None
            if unnamed and platforms.get(member.node) is Platform.LINUX:
                key = f"segments.{segment.name}.members.{member.node}"
                message = f"{WHICH_PORT}; Linux calls a Thunderbolt link thunderbolt0"
                self.problems.append(Problem(self.file, line_of(places, key), key, message))
            members.append(evolve(member, interface="bridge0") if unnamed else member)
        return evolve(segment, members=tuple(members))

    def server(self, place: Place | None, segments: list[Segment]) -> Server | None:
        keys = self.mapping(place, required=("node",), optional=("port", "segment"))
        if place is None or keys is None:
            return None
        node = self.text(keys.get("node"), NAME, "the name of a node")
        port = self.port(keys.get("port"), default=DEFAULT_SERVER_PORT)
        chosen = self.text(keys.get("segment"), NAME, "the name of a segment")
        if node is None:
            return None
        on = [s for s in segments if s.kind is not Kind.WIFI and s.member(node)]
        fabric = [s for s in on if s.kind is Kind.THUNDERBOLT] or on
        if chosen is None and len(fabric) > 1:
            names = " or ".join(s.name for s in fabric)
            self.wrong(place, f"{node} is on several segments; add `segment: {names}`")
            return None
        if chosen is None and not fabric:
            self.wrong(keys["node"], f"{node} is on no Thunderbolt or Ethernet segment")
            return None
        if chosen is not None and chosen not in {s.name for s in on}:
            self.wrong(keys["segment"], f"{node} is not a member of {chosen}")
            return None
        return Server(node, port, chosen or fabric[0].name)

    def internet(self, place: Place | None, segments: list[Segment]) -> Internet | None:
        if place is None:
            return None
        keys = self.mapping(place, required=("address",), optional=("expect",))
        if keys is None:
            return None
        wifi = [s.expect for s in segments if s.kind is Kind.WIFI]
        usual = wifi[0] if wifi else EXPECTATIONS[Kind.WIFI]
        expect = self.expectation(keys.get("expect"), usual)
        address = self.address(keys.get("address"))
        return Internet(address, expect) if address else None

    def exporter_port(self, place: Place | None) -> int:
        if place is None:
            return DEFAULT_EXPORTER_PORT
        keys = self.mapping(place, required=(), optional=("port",)) or {}
        return self.port(keys.get("port"), default=DEFAULT_EXPORTER_PORT)

    def expectation(self, place: Place | None, usual: Expectation) -> Expectation:
        if place is None:
            return usual
        keys = self.mapping(place, required=(), optional=("rtt", "loss", "bandwidth")) or {}
        return Expectation(
            rtt=self.quantity(keys.get("rtt"), units.DURATION_UNITS, usual.rtt),
            loss=self.quantity(keys.get("loss"), units.RATIO_UNITS, usual.loss, most=1.0),
            bandwidth=self.quantity(keys.get("bandwidth"), units.RATE_UNITS, usual.bandwidth),
        )

    # -- the kinds of value ------------------------------------------------------------------

    def mapping(
        self, place: Place | None, required: tuple[str, ...], optional: tuple[str, ...]
    ) -> dict[str, Place] | None:
        """The entries of `place`; None, and a problem, where they are not those of its kind."""
        if place is None:
            return None  # told where the key itself was missed
        if not isinstance(place.value, dict):
            self.wrong(place, f"must be a mapping with {_listing(required + optional)}")
            return None
        known = required + optional
        for name, entry in place.value.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known here: {_listing(known)}"
                self.wrong(entry, f"unknown key; {hint}")
        for name in required:
            if name not in place.value:
                self.wrong(place, f"`{name}` is missing")
        return {name: entry for name, entry in place.value.items() if name in known}

    def entries(self, place: Place | None, what: str) -> list[tuple[str, Place]]:
        """The entries of a mapping whose keys are names of nodes or segments."""
        if place is None:
            return []
        if not isinstance(place.value, dict) or not place.value:
            self.wrong(place, f"must be a mapping with at least one {what}")
            return []
        for name, entry in place.value.items():
            if not NAME.fullmatch(name):
                self.wrong(
                    entry,
                    f"{name!r} is no name for a {what}: use lower-case letters, digits and "
                    "dashes, at most 40",
                )
        return [(n, e) for n, e in place.value.items() if NAME.fullmatch(n)]

    def text(self, place: Place | None, pattern: re.Pattern[str], expected: str) -> str | None:
        if place is None:
            return None
        if not isinstance(place.value, str) or not pattern.fullmatch(place.value):
            self.wrong(place, f"{_said(place)} is not {expected}")
            return None
        return place.value

    def choice(self, place: Place | None, kind: Callable[[str], T]) -> T | None:
        if place is None:
            return None
        try:
            return kind(place.value if isinstance(place.value, str) else "")
        except ValueError:
            known = [str(member.value) for member in kind]  # type: ignore[attr-defined]
            near = difflib.get_close_matches(str(place.value), known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it is one of {_listing(known)}"
            self.wrong(place, f"{_said(place)} is not known; {hint}")
            return None

    def flag(self, place: Place | None) -> bool:
        if place is not None and place.value not in ("true", "false"):
            self.wrong(place, f"{_said(place)} is neither `true` nor `false`")
        return place is not None and place.value == "true"

    def address(self, place: Place | None) -> IPv4Address | None:
        if place is None:
            return None
        try:
            return IPv4Address(place.value if isinstance(place.value, str) else "")
        except AddressValueError:
            self.wrong(place, f"{_said(place)} is not an IPv4 address such as 10.10.0.1")
            return None

    def subnet(self, place: Place | None) -> IPv4Network | None:
        if place is None:
            return None
        text = place.value if isinstance(place.value, str) else ""
        try:
            network = IPv4Network(text, strict=False)
        except (AddressValueError, NetmaskValueError, ValueError):
            network = None
        if network is None or "/" not in text:
            self.wrong(place, f"{_said(place)} is not an IPv4 subnet such as 10.10.0.0/24")
            return None
        if str(network.network_address) != text.split("/")[0]:
            self.wrong(place, f"{text} has bits beyond its mask; write {network}")
            return None
        if not 8 <= network.prefixlen <= 30:
            self.wrong(place, f"{text}: use a prefix from /8 to /30")
            return None
        return network

    def port(self, place: Place | None, default: int) -> int:
        if place is None:
            return default
        text = place.value if isinstance(place.value, str) else ""
        if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
            self.wrong(place, f"{_said(place)} is not a port from 1 to 65535")
            return default
        return int(text)

    def quantity(
        self,
        place: Place | None,
        unit: dict[str, float],
        default: float,
        most: float = float("inf"),
    ) -> float:
        if place is None:
            return default
        try:
            value = units.quantity(place.value if isinstance(place.value, str) else "", unit)
        except ValueError as error:
            self.wrong(place, str(error))
            return default
        if not 0 < value <= most:
            self.wrong(place, f"{place.value} is out of range")
        return value


def _said(place: Place) -> str:
    return repr(place.value) if isinstance(place.value, str) else place.shape


def _listing(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _with_wifi_address(node: Node, segments: list[Segment]) -> Node:
    """Fill in where a node is scraped and reached: its Wi-Fi address, else each from the other."""
    wifi = [m for s in segments if s.kind is Kind.WIFI if (m := s.member(node.name))]
    management = node.management or (str(wifi[0].address) if wifi else "")
    if not management:
        management = node.ssh.rpartition("@")[2] or node.name
    return evolve(node, management=management, ssh=node.ssh or management)

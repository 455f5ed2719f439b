"""A cluster by asking: the fabric, what hangs behind it, the machines, the links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol, TypeVar

from attrs import evolve, frozen

from smolmon.cluster import (
    Cabling,
    Cluster,
    Internet,
    Kind,
    Member,
    Node,
    Platform,
    Segment,
    Server,
)
from smolmon.cluster.model import EXPECTATIONS
from smolmon.setup.init import checks
from smolmon.setup.init.draft import (
    FABRIC,
    INTERNET,
    PORT,
    Draft,
    edge_name,
    ethernet_ports,
    free_address,
    free_edge,
    usual_port,
)

T = TypeVar("T")
KINDS = {kind.value: kind for kind in (Kind.THUNDERBOLT, Kind.ETHERNET)}
PLATFORMS = {platform.value: platform for platform in Platform}
CABLINGS = {cabling.value: cabling for cabling in Cabling}


class Ask(Protocol):
    """Asks until an answer passes `check`, which raises ValueError with what is wrong."""

    def __call__(self, question: str, default: str, check: Callable[[str], T]) -> T:
        """The value that `check` makes of the answer; Enter alone is `default`."""


@frozen
class Link:
    """The machines on one link, before it has addresses. `cabling` None: the usual one."""

    kind: Kind
    machines: tuple[str, ...]
    cabling: Cabling


def interview(ask: Ask, say: Callable[[str], None]) -> Draft:
    """Ask for a whole cluster; `say` gets a heading before each group of questions."""
    name = ask("Name of the cluster", "home", checks.name)
    say("The fabric: the fast link that the training server serves")
    fabric = _fabric(ask)
    server = ask("The training server runs on", fabric.machines[0], partial(_one_of, fabric))
    port = ask("Its TCP port", str(PORT), checks.port)
    say("Ethernet links behind it: a Pi, a Jetson, or a switch with several of them")
    links = [fabric, *_edges(ask, fabric)]
    say("The machines: how they are reached over Wi-Fi, never by a cluster address")
    nodes = _nodes(ask, links)
    say(
        "The links: a subnet each, and ports by name (`ip -br link` lists them, on a Mac\n"
        "`networksetup -listallhardwareports`) or by MAC address"
    )
    segments = _segments(ask, links, nodes)
    address = ask("An address that stands for the internet", str(INTERNET), _outside(segments))
    internet = Internet(address, EXPECTATIONS[Kind.WIFI])
    served = Server(server, port, segments[0].name)
    return Draft(Cluster(name, tuple(nodes), tuple(segments), served, internet))


def _fabric(ask: Ask) -> Link:
    choose = partial(checks.choice, known=KINDS)
    kind = ask("It is made of (thunderbolt, ethernet)", Kind.THUNDERBOLT.value, choose)
    machines = ask(
        "The machines on it, in the order of the cables",
        "mini1 mini2 mini3",
        partial(checks.names, at_least=1),
    )
    cabling = Cabling.CHAIN if kind is Kind.THUNDERBOLT else Cabling.STAR
    if len(machines) > 2:
        how = partial(checks.choice, known=CABLINGS)
        cabling = ask("They are wired as a (chain, star)", cabling.value, how)
    return Link(kind, machines, cabling)


def _one_of(link: Link, text: str) -> str:
    if text not in link.machines:
        raise ValueError(f"{text!r} is none of {', '.join(link.machines)}")
    return text


def _edges(ask: Ask, fabric: Link) -> Iterator[Link]:
    taken = list(fabric.machines)
    for gateway in fabric.machines:
        more = ""
        while machines := ask(
            f"Machines on {more or 'an'} Ethernet link of {gateway}",
            "none",
            partial(_names_or_none, taken=tuple(taken)),
        ):
            taken += machines
            more = "another"
            yield Link(Kind.ETHERNET, (gateway, *machines), Cabling.STAR)


def _names_or_none(text: str, taken: tuple[str, ...]) -> tuple[str, ...]:
    return () if text == "none" else checks.names(text, taken)


def _nodes(ask: Ask, links: list[Link]) -> list[Node]:
    nodes: list[Node] = []
    for name in dict.fromkeys(machine for link in links for machine in link.machines):
        on_fabric = name in links[0].machines
        mac = on_fabric and links[0].kind is Kind.THUNDERBOLT
        guess = Platform.MACOS if mac else Platform.LINUX
        choose = partial(checks.choice, known=PLATFORMS)
        platform = ask(f"{name} runs (macos, linux)", guess.value, choose)
        known = [n.ssh for n in nodes]
        ssh = ask(f"{name} for ssh, `user@host`", name, partial(checks.destination, taken=known))
        known = [n.management for n in nodes]
        management = ask(
            f"{name} on Wi-Fi, address or name",
            ssh.rpartition("@")[2],
            partial(checks.management, taken=known),
        )
        nodes.append(Node(name, platform, ssh, management))
    return nodes


def _segments(ask: Ask, links: list[Link], nodes: list[Node]) -> list[Segment]:
    hosts = [host for node in nodes for host in (node.ssh, node.management)]
    segments: list[Segment] = []
    for link in links:
        used = {s.name: s.subnet for s in segments}
        usual = free_edge(used.values(), hosts) if segments else FABRIC
        check = partial(checks.subnet, used=used, hosts=hosts, machines=len(link.machines))
        who = f"link {' - '.join(link.machines)}" if segments else "the fabric"
        subnet = ask(f"Subnet of {who}", str(usual), check)
        name = edge_name(subnet, list(used)) if segments else "fabric"
        segment = Segment(name, link.kind, subnet, (), link.cabling, EXPECTATIONS[link.kind])
        segments.append(segment)
        for machine in link.machines:
            node = next(n for n in nodes if n.name == machine)
            member = _member(ask, segments, node)
            segments[-1] = evolve(segments[-1], members=(*segments[-1].members, member))
    return segments


def _member(ask: Ask, segments: list[Segment], node: Node) -> Member:
    """The place of `node` on the last of `segments`."""
    here = segments[-1]
    used: dict[IPv4Address, str] = {m.address: m.node for m in here.members}
    address = ask(
        f"{node.name} on {here.name}, its address",
        str(free_address(here.subnet, used)),
        partial(checks.member, within=here.subnet, used=used),
    )
    others = [m for s in segments for m in s.members]
    mine = [m.interface for m in others if m.node == node.name and m.interface]
    macs = [m.mac for m in others if m.mac]
    usual = usual_port(here.kind, node.platform, node.name, ethernet_ports(segments, node.name))
    interface, mac = ask(
        f"{node.name} on {here.name}, its port",
        usual,
        partial(checks.interface, ports=mine, macs=macs),
    )
    return Member(node.name, address, interface, mac)


def _outside(segments: list[Segment]) -> Callable[[str], IPv4Address]:
    subnets: list[tuple[str, IPv4Network]] = [(s.name, s.subnet) for s in segments]

    def check(text: str) -> IPv4Address:
        found = checks.address(text)
        for name, subnet in subnets:
            if found in subnet:
                raise ValueError(f"{found} is inside {name}")
        return found

    return check

"""SmolCluster's files together: one name for each machine, who takes part, who is the server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address

from attrs import evolve, field, frozen

from smolmon.cluster import Platform
from smolmon.cluster.load import NAME, RESERVED
from smolmon.setup.init.draft import PORT, Todo
from smolmon.setup.init.smolcluster import Machine, Source, SourceError

MAC = re.compile(r"mac|mini|imac|studio")
LINUX = re.compile(r"pi[0-9]*$|^pi|rasp|rpi|jetson|orin|nano|linux|ubuntu|debian")
OTHERS = re.compile(r"^win|windows|ipad|iphone|android|tablet")

Addresses = dict[str, list[IPv4Address]]


@frozen
class Known:
    """All files together, under one name for each machine. The server comes first."""

    names: list[str]
    users: dict[str, str]
    own: Addresses
    ways: list[tuple[str, IPv4Address]]
    server: str
    port: int
    todo: list[Todo] = field(factory=list)
    remarks: list[str] = field(factory=list)


def platform_of(name: str) -> Platform:
    """What a machine of that name probably runs."""
    return Platform.MACOS if MAC.search(name) and not LINUX.search(name) else Platform.LINUX


def unsure(name: str) -> bool:
    """Whether its name says nothing of what it runs."""
    return not (MAC.search(name) or LINUX.search(name))


def gather(sources: Sequence[Source]) -> Known:
    """All that `sources` say. Raises SourceError where they name no machine."""
    machines = [m for source in sources for m in source.machines]
    ways = [way for source in sources for way in source.ways]
    servers = [source.server for source in sources if source.server]
    if not machines and not servers:
        machines = [Machine(name) for name, _ in ways]
    names = _one_name_each(machines, [*servers, *(name for name, _ in ways)])
    tablets = [names.get(t, t) for source in sources for t in source.tablets]
    taking_part = list(dict.fromkeys(names[n] for n in [*servers, *(m.name for m in machines)]))
    kept = [n for n in taking_part if not OTHERS.search(n) and n not in tablets]
    if not kept:
        raise SourceError("SmolCluster's files name no machine that smolmon can run on")
    own: Addresses = {}
    owners: dict[IPv4Address, str] = {}
    todo: list[Todo] = []
    for machine in machines:
        name = names[machine.name]
        mine = own.setdefault(name, [])
        if not machine.ip or machine.ip in mine:
            continue
        if (owner := owners.setdefault(machine.ip, name)) == name:
            mine.append(machine.ip)
        else:
            text = f"{machine.ip} is {owner}'s and {name}'s in the files; left to {owner}"
            todo.append(Todo("nodes", text))
    known = Known(
        names=kept,
        users={names[m.name]: m.user for m in machines if m.user},
        own=own,
        ways=[(names[n], a) for n, a in ways if names[n] in kept],
        server="",
        port=next((s.port for s in sources if s.port), PORT),
        todo=todo,
    )
    _tell_left_out(known, [*taking_part, *(names[n] for n, _ in ways)], tablets)
    for given, name in names.items():
        if given != name and name in kept:
            known.remarks.append(f"{given} is called {name} here")
    server = _server(known, [names[s] for s in servers], machines, names)
    return evolve(known, server=server, names=sorted(kept, key=lambda n: n != server))


def _one_name_each(machines: Sequence[Machine], others: Iterable[str]) -> dict[str, str]:
    """What each name becomes: a name that smolmon takes, and one for all with the same address."""
    by_address: dict[IPv4Address, str] = {}
    names: dict[str, str] = {}
    for machine in sorted(machines, key=lambda m: m.ip is None):
        if machine.name not in names:
            plain = _plain(machine.name)
            names[machine.name] = by_address.get(machine.ip, plain) if machine.ip else plain
        if machine.ip:
            by_address.setdefault(machine.ip, names[machine.name])
    for other in others:
        names.setdefault(other, _plain(other))
    return names


def _plain(name: str) -> str:
    plain = re.sub(r"[_.]", "-", name.lower())
    if not NAME.fullmatch(plain) or plain in RESERVED:
        raise SourceError(f"{name!r} cannot be a node's name; call it otherwise in that file")
    return plain


def _tell_left_out(known: Known, mentioned: Iterable[str], tablets: Iterable[str]) -> None:
    out = [n for n in dict.fromkeys((*tablets, *mentioned)) if n not in known.names]
    foreign = [n for n in out if n in tablets or OTHERS.search(n)]
    idle = [n for n in out if n not in foreign]
    if foreign:
        known.remarks.append(
            f"left out, smolmon runs on Linux and macOS only: {', '.join(foreign)}"
        )
    if idle:
        known.remarks.append(f"left out, mentioned but taking no part: {', '.join(idle)}")


def _server(
    known: Known, servers: Sequence[str], machines: Sequence[Machine], names: dict[str, str]
) -> str:
    named = [s for s in dict.fromkeys(servers) if s in known.names]
    if len(named) == 1:
        return named[0]
    if named:
        known.todo.append(
            Todo("server.node", f"the files disagree: {', '.join(named)}; keep the one in use")
        )
        return named[0]
    known.todo.append(Todo("server.node", "no file names the server; is it this one?"))
    common = Counter(a for _, a in known.ways).most_common(1)
    for name in known.names:
        if common and common[0][0] in known.own.get(name, ()):
            return name
    first = [names[m.name] for m in machines if m.rank == 0 and names[m.name] in known.names]
    return first[0] if first else known.names[0]

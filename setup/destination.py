"""Where `ssh` would connect to, asked of `ssh -G` itself: nothing is connected to.

ssh_config(5) decides (aliases, jump hosts, Match blocks), so its own answer is the only right one.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from attrs import frozen

from smolmon.cluster import Cluster, Node

_TIMEOUT = 3.0  # seconds for one question; `Match exec` and name servers may hang
_DEPTH = 5  # jump hosts behind one another


@frozen
class Way:
    """How a destination is reached: the last host, and the jump hosts before it as (host, port).

    `addresses` are the IPv4 addresses of the host, empty where they are not known from here.
    """

    host: str
    port: int
    user: str
    jumps: tuple[tuple[str, int], ...] = ()
    addresses: tuple[IPv4Address, ...] = ()


async def ways(nodes: Sequence[Node]) -> dict[str, Way]:
    """The way to each node, by name; one that `ssh -G` does not tell is left out."""
    found = await asyncio.gather(*(_way([node.ssh], 0) for node in nodes))
    return {node.name: way for node, way in zip(nodes, found, strict=True) if way}


async def _way(words: list[str], depth: int) -> Way | None:
    told = read(await _ask(words))
    if "hostname" not in told:
        return None
    host, port = told["hostname"], int(told.get("port", "22"))
    jumps: list[tuple[str, int]] = []
    specs = told.get("proxyjump", "none")
    for spec in specs.split(",") if specs != "none" and depth < _DEPTH else ():
        jump = await _way(jump_words(spec), depth + 1)
        if jump:
            jumps += [*jump.jumps, (jump.host, jump.port)]
    indirect = jumps or told.get("proxycommand", "none") != "none"
    # A name means what it means to the last jump host; an address is one everywhere.
    addresses = _literal(host) if indirect else await _resolved(host)
    return Way(host, port, told.get("user", ""), tuple(jumps), addresses)


async def _ask(words: list[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *("ssh", "-G", *words[:-1], "--", words[-1]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return ""  # told where a connection is tried
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT)
    except asyncio.TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode(errors="replace")


def read(text: str) -> dict[str, str]:
    """What `ssh -G` prints: a keyword and its value on each line."""
    pairs = (line.partition(" ") for line in text.splitlines())
    told = {key: value.strip() for key, _, value in pairs}
    return told if told.get("port", "22").isdigit() else {}


def jump_words(spec: str) -> list[str]:
    """The arguments of ssh(1) for one entry of ProxyJump: [user@]host[:port] or an ssh:// URI."""
    spec = spec.strip().removeprefix("ssh://").rstrip("/")
    user, _, rest = spec.rpartition("@")
    found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?", rest)
    host = (found and (found[1] or found[3])) or rest
    port = found and (found[2] or found[4])
    return [*(("-p", port) if port else ()), *(("-l", user) if user else ()), host]


def _literal(host: str) -> tuple[IPv4Address, ...]:
    try:
        return (IPv4Address(host),)
    except ValueError:
        return ()


async def _resolved(host: str) -> tuple[IPv4Address, ...]:
    if found := _literal(host):
        return found
    loop = asyncio.get_running_loop()
    try:
        answers = await asyncio.wait_for(
            loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM), _TIMEOUT
        )
    except (OSError, UnicodeError, asyncio.TimeoutError):
        return ()
    return tuple(dict.fromkeys(IPv4Address(answer[4][0]) for answer in answers))


def refusals(cluster: Cluster, node: Node, way: Way) -> Iterator[str]:
    """Why `node` must not be set up over this way: it is one of the links that setup changes."""
    hops = [(address, host) for host, _ in way.jumps for address in _literal(host)]
    hops += [(address, way.host) for address in way.addresses]
    for address, host in hops:
        for segment in cluster.routed:
            if address in segment.subnet:
                said = "" if host == str(address) else f" ({host})"
                yield (
                    f"its SSH connection goes to {address}{said}, inside {segment.name} "
                    f"({segment.subnet}), which setup changes; give it its Wi-Fi address: "
                    f"`HostName` for `Host {node.ssh.rpartition('@')[2]}` in ~/.ssh/config, or "
                    f"`ssh` of {node.name} in the cluster file"
                )


def behind(ways: Mapping[str, Way]) -> dict[str, frozenset[str]]:
    """The nodes that the connection to each node passes, by node name."""
    at = {(way.host, way.port): name for name, way in ways.items()}
    for name, way in ways.items():
        at.update({(str(address), way.port): name for address in way.addresses})
    return {
        name: frozenset(at[jump] for jump in way.jumps if at.get(jump, name) != name)
        for name, way in ways.items()
    }


def here(ways: Mapping[str, Way]) -> Collection[str]:
    """The nodes that are this very machine: only addresses of one's own can be bound to."""
    return {name for name, way in ways.items() if any(map(_own, way.addresses))}


def _own(address: IPv4Address) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True

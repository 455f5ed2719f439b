"""`/sbin/route`: get, add, delete, change; after Apple's route.tproj.

`get` ends with status 0 whatever it found, and a missing route is answered with the default one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from smolmon.lab.mac import kernel, state
from smolmon.lab.mac.kernel import KernelError
from smolmon.lab.mac.netstat import destination
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain, network, say

USAGE = "usage: route [-dnqtv] command [[modifiers] args]"
METRICS = " recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire"


def main(argv: Sequence[str]) -> int:
    """Run `route argv`."""
    words = [w for w in argv if not (w.startswith("-") and set(w[1:]) <= set("nqtvd"))]
    if not words:
        complain(USAGE)
        return 64
    command, rest = words[0], words[1:]
    try:
        if command == "get":
            return get(rest)
        if command in ("add", "delete", "change"):
            return _change(command, rest)
    except (ValueError, IndexError):
        complain(f"route: bad address: {' '.join(rest)}")
        return 68
    complain(f"{USAGE}\nroute: this stand-in knows get, add, delete and change")
    return 64


class _Words:
    """The modifiers and addresses of a command."""

    def __init__(self, words: Sequence[str]) -> None:
        self.plain: list[str] = []
        self.mask: str | None = None
        self.interface: str | None = None
        self.host = self.net = False
        left = list(words)
        while left:
            word = left.pop(0)
            if word in ("-netmask", "-prefixlen"):
                self.mask = left.pop(0)
                if word == "-prefixlen":
                    self.mask = str(IPv4Network((0, int(self.mask))).netmask)
            elif word in ("-interface", "-iface"):
                self.interface = left.pop(0)
            elif word == "-ifscope":
                left.pop(0)
            elif word in ("-host", "-net"):
                self.host, self.net = word == "-host", word == "-net"
            elif not word.startswith("-"):
                self.plain.append(word)

    def target(self) -> IPv4Network:
        text = self.plain[0]
        if text != "default" and not self.net and "/" not in text and self.mask is None:
            return IPv4Network(IPv4Address(text)) if text.count(".") == 3 else network(text)
        return IPv4Network(IPv4Address(text)) if self.host else network(text, self.mask)


# -- get ---------------------------------------------------------------------------------------


def get(words: Sequence[str]) -> int:
    """The route that would be used, or for a network the one that is exactly its own."""
    asked = _Words(words)
    target = asked.target()
    say(f"   route to: {target.network_address if target.prefixlen else 'default'}")
    table = sorted(kernel.routes(), key=lambda r: int(r.get("metric", 0)))
    default = next((r for r in table if r["dst"] == "default"), None)
    if target.prefixlen == 32:
        found = _of_host(str(target.network_address), table)
    else:
        found = next((r for r in table if destination(r) == target), default)
    if found is None or found.get("type") in ("unreachable", "blackhole", "prohibit"):
        if found is None:
            complain("route: writing to routing socket: not in table")
            return 0
        found = {**found, "dev": "lo", "refuses": True}
    _print(found, None if target.prefixlen != 32 else str(target.network_address))
    return 0


def _of_host(address: str, table: list[Table]) -> Table | None:
    try:
        (answer,) = kernel.ask("-4", "route", "get", address)
    except (KernelError, ValueError):
        # The kernel says no more than "unreachable"; which route says so stands in the table.
        inside = [r for r in table if IPv4Address(address) in destination(r)]
        return max(inside, key=lambda r: destination(r).prefixlen, default=None)
    if answer.get("type") == "local":
        return {"dst": address, "dev": "lo", "local": True}
    matches = [
        r
        for r in table
        if IPv4Address(address) in destination(r)
        and r.get("dev") == answer["dev"]
        and r.get("gateway") == answer.get("gateway")
    ]
    # A rule or another table may have answered: then there is no row of it here.
    return max(matches, key=lambda r: destination(r).prefixlen, default={**answer, "dst": address})


def _print(route: Table, host: str | None) -> None:
    net = destination(route)
    gateway = route.get("gateway")
    expire = 0
    if route.get("local"):
        flags = "UP,HOST,DONE,LOCAL"
        say(f"destination: {net.network_address}")
    elif gateway is None and host and _is_neighbour(host, route["dev"]):
        flags, expire = "UP,HOST,DONE,LLINFO,WASCLONED,IFSCOPE,IFREF", 1180
        say(f"destination: {host}")
    else:
        word = "default" if net.prefixlen == 0 else str(net.network_address)
        say(f"destination: {word}")
        if net.prefixlen < 32:
            say(f"       mask: {'default' if net.prefixlen == 0 else net.netmask}")
        flags = "UP,GATEWAY,DONE,STATIC,PRCLONING" if gateway else "UP,DONE,CLONING,STATIC"
        if net.prefixlen == 0:
            flags += ",GLOBAL"
        if net.prefixlen == 32:
            flags = "UP,GATEWAY,HOST,DONE,STATIC" if gateway else "UP,HOST,DONE,STATIC"
        if route.get("refuses"):
            flags, gateway = "UP,GATEWAY,REJECT,DONE,STATIC", "127.0.0.1"
    if gateway:
        say(f"    gateway: {gateway}")
    say(f"  interface: {'lo0' if route['dev'] == 'lo' else route['dev']}")
    say(f"      flags: <{flags}>")
    say(METRICS)
    link = kernel.links().get(route["dev"])
    mtu = 16384 if route["dev"] == "lo" else link.mtu if link else 1500
    numbers = "".join(f"{n:>9} " for n in (0, 0, 0, 0, 0, 0, mtu, expire))
    say(numbers[1:])


def _is_neighbour(address: str, device: str) -> bool:
    return any(
        n["dst"] == address and n["dev"] == device and "lladdr" in n for n in kernel.neighbours()
    )


# -- changing ----------------------------------------------------------------------------------


def _change(command: str, words: Sequence[str]) -> int:
    if not state.is_root():
        complain("route: must be root to alter routing table")
        return 77
    given = _Words(words)
    target = given.target()
    gateway = given.plain[1] if len(given.plain) > 1 else None
    kind = "host" if target.prefixlen == 32 else "net"
    line = f"{command} {kind} {given.plain[0]}" + (f": gateway {gateway}" if gateway else "")
    way = ["via", str(IPv4Address(gateway))] if gateway else []
    way += ["dev", given.interface] if given.interface else []
    try:
        exists = [r for r in kernel.routes() if destination(r) == target]
        if command == "add" and exists and target.prefixlen:
            raise KernelError("File exists")
        if command in ("delete", "change") and not exists:
            raise KernelError("not in table")
        verb = {"add": "add", "delete": "delete", "change": "replace"}[command]
        kernel.ip("route", verb, str(target), *way, *([] if command == "delete" else _static()))
    except KernelError as error:
        why = str(error)
        if "unreachable" in why or "invalid gateway" in why:
            why = "Network is unreachable"
        elif "File exists" in why:
            why = "File exists"
        elif "No such process" in why:
            why = "not in table"
        complain(f"route: writing to routing socket: {why}")
        say(f"{line}: {why}")
        return 1
    say(line)
    return 0


def _static() -> list[str]:
    return ["proto", "static"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

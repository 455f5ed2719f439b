"""`/usr/sbin/netstat`: `-r`, `-i`/`-I`, `-a -p tcp`; after Apple's netstat.tproj and recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Address

from smolmon.lab.mac import kernel
from smolmon.lab.mac.kernel import Link
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain, say, short_mac, short_network

VALUED = "fIpw"  # options that take a word
LOCAL, FOREIGN = 16, 39  # characters of an IPv6 address without and with -l
# include/net/tcp_states.h, in netstat's words (netinet/tcp_fsm.h).
STATES = (
    *("ESTABLISHED", "SYN_SENT", "SYN_RCVD", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT"),
    *("CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "SYN_RCVD"),
)


def main(argv: Sequence[str]) -> int:
    """Run `netstat argv`."""
    flags, values = options(argv)
    if "r" in flags:
        if values.get("f", "inet") == "inet":
            sys.stdout.write("".join(routing_table()))
        return 0
    if "i" in flags or "I" in values:
        return _interfaces(flags, values.get("I"))
    if values.get("p") == "tcp" or "a" in flags:
        sys.stdout.write("".join(sockets(wide="l" in flags, every="a" in flags)))
        return 0
    complain("netstat: this stand-in knows -r, -i, -I and -a -p tcp")
    return 1


def options(argv: Sequence[str]) -> tuple[set[str], dict[str, str]]:
    """Letters, and the words of those that take one, as getopt(3) reads them."""
    flags: set[str] = set()
    values: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0).removeprefix("-")
        while word:
            letter, word = word[0], word[1:]
            if letter in VALUED:
                values[letter] = word or (words.pop(0) if words else "")
                word = ""
            else:
                flags.add(letter)
    return flags, values


# -- routes ------------------------------------------------------------------------------------


def routing_table() -> Iterator[str]:
    """The IPv4 table as `-rn -f inet` prints it."""
    seen = kernel.links()
    yield "Routing tables\n\nInternet:\n"
    yield _row("Destination", "Gateway", "Flags", "Netif", "Expire")
    rows = sorted(_rows(seen), key=lambda row: row[0])
    for _, words in rows:
        yield _row(*words)


def _row(*words: str) -> str:
    destination, gateway, flags, netif, expire = words
    return f"{destination:<18} {gateway:<18} {flags:<15} {netif:>10} {expire:>6}\n"


Row = tuple[tuple[int, int, int], tuple[str, str, str, str, str]]


def _rows(seen: dict[str, Link]) -> Iterator[Row]:
    best: dict[IPv4Network, Table] = {}
    for route in kernel.routes():
        net = destination(route)
        if net not in best or route.get("metric", 0) < best[net].get("metric", 0):
            best[net] = route
    for route in kernel.routes():
        net = destination(route)
        yield (
            _key(net, route is not best[net] and route != best[net]),
            _route(net, route, seen, scoped=route != best[net]),
        )
    for words in (("127", "UCS"), ("127.0.0.1", "UH")):
        net = IPv4Network("127.0.0.0/8") if words[0] == "127" else IPv4Network("127.0.0.1/32")
        yield _key(net), (words[0], "127.0.0.1", words[1], "lo0", "")
    for port in kernel.ports():
        link = seen.get(port["device"])
        for a in link.addresses if link else ():
            if a.family == 4 and link:
                own = IPv4Network(a.address)
                yield _key(own), (f"{own}", f"link#{link.index}", "UCS", link.name, "!")
    for entry in kernel.neighbours():
        if "lladdr" in entry and not {"FAILED", "INCOMPLETE"} & set(entry["state"]):
            host = IPv4Network(entry["dst"])
            mac = short_mac(entry["lladdr"])
            expire = "" if "PERMANENT" in entry["state"] else "1180"
            flags = "UHLSW" if "PERMANENT" in entry["state"] else "UHLWIi"
            yield _key(host), (entry["dst"], mac, flags, entry["dev"], expire)


def destination(route: Table) -> IPv4Network:
    """The network of a route of `ip -json`."""
    return IPv4Network("0.0.0.0/0" if route["dst"] == "default" else route["dst"])


def _key(net: IPv4Network, scoped: bool = False) -> tuple[int, int, int]:
    return int(net.network_address), net.prefixlen, scoped


def _route(
    net: IPv4Network, route: Table, seen: dict[str, Link], *, scoped: bool
) -> tuple[str, str, str, str, str]:
    name = short_network(net)
    if net.prefixlen == 32:
        name = str(net.network_address)
    if route.get("type") in ("unreachable", "blackhole", "prohibit"):
        reject = "UGBS" if route["type"] == "blackhole" else "UGRS"
        return name, "127.0.0.1", reject, "lo0", ""
    device = route.get("dev") or route["nexthops"][0]["dev"]
    gateway = route.get("gateway") or (route.get("nexthops") or [{}])[0].get("gateway")
    scope = "I" if scoped else ""
    netif = "lo0" if device == "lo" else device
    if gateway is None:
        return name, f"link#{seen[device].index}", f"UCS{scope}", netif, "!"
    if net.prefixlen == 0:
        return name, gateway, f"UGSc{scope}g", netif, ""
    host = "H" if net.prefixlen == 32 else ""
    return name, gateway, f"UG{host}S{'' if host else 'c'}{scope}", netif, ""


# -- interfaces --------------------------------------------------------------------------------


def _interfaces(flags: set[str], only: str | None) -> int:
    seen = kernel.links()
    names = ["lo0", *(p["device"] for p in kernel.ports() if p["device"] in seen)]
    if only is not None and only not in names:
        complain(f"netstat: interface {only} not found")
        return 1
    show_bytes, drops = "b" in flags, "d" in flags
    head = ["Ipkts", "Ierrs", *(["Ibytes"] if show_bytes else [])]
    head += ["Opkts", "Oerrs", *(["Obytes"] if show_bytes else []), "Coll"]
    head += ["Drop"] if drops else []
    say(_counters("Name", "Mtu", "Network", "Address", head))
    for name in names:
        if only in (None, name):
            link = seen["lo" if name == "lo0" else name]
            for line in _lines(name, link, show_bytes=show_bytes, drops=drops):
                say(line)
    return 0


def _lines(name: str, link: Link, *, show_bytes: bool, drops: bool) -> Iterator[str]:
    rx, tx = link.counters.get("rx", {}), link.counters.get("tx", {})

    def numbers(errors: bool) -> list[str]:
        def known(value: int) -> str:
            return str(value) if errors else "-"

        words = [str(rx.get("packets", 0)), known(rx.get("errors", 0))]
        words += [str(rx.get("bytes", 0))] if show_bytes else []
        words += [str(tx.get("packets", 0)), known(tx.get("errors", 0))]
        words += [str(tx.get("bytes", 0))] if show_bytes else []
        words += [known(tx.get("collisions", 0))]
        return words + ([known(tx.get("dropped", 0))] if drops else [])

    label = name if link.up else f"{name}*"
    mac = "" if name == "lo0" else link.mac
    mtu = str(16384 if name == "lo0" else link.mtu)
    yield _counters(label, mtu, f"<Link#{link.index}>", mac, numbers(errors=True))
    for a in link.addresses:
        if a.family == 4:
            net = short_network(IPv4Network((a.address, a.length), strict=False))
            yield _counters(label, mtu, net.partition("/")[0], a.address, numbers(errors=False))


def _counters(name: str, mtu: str, net: str, address: str, numbers: list[str]) -> str:
    return f"{name:<10} {mtu:<5} {net:<13} {address:<17} {' '.join(f'{n:>9}' for n in numbers)} "


# -- TCP ---------------------------------------------------------------------------------------


def sockets(*, wide: bool, every: bool) -> Iterator[str]:
    """The TCP sockets of every user; listeners only where `every`."""
    width = 45 if wide else 22
    yield "Active Internet connections" + (" (including servers)\n" if every else "\n")
    heads = (f"{'Local Address':<{width}}", f"{'Foreign Address':<{width}}")
    yield f"{'Proto':<5} {'Recv-Q':>6} {'Send-Q':>6}  {heads[0]} {heads[1]} (state)     \n"
    taken: set[str] = set()  # ports that IPv4 listeners have at every address
    for family, file in ((4, "/proc/net/tcp"), (6, "/proc/net/tcp6")):
        with open(file, encoding="ascii") as lines:  # noqa: PTH123 - pathlib costs a start 5 ms
            next(lines)
            for line in lines:
                words = line.split()
                state = STATES[int(words[3], 16) - 1]
                if state != "LISTEN" or every:
                    yield _socket(family, words, state, taken, width if wide else -width)


def _socket(family: int, words: list[str], state: str, taken: set[str], width: int) -> str:
    wide, width = width > 0, abs(width)
    send, receive = (int(x, 16) for x in words[4].split(":"))
    local, foreign = (_end(word, wide) for word in words[1:3])
    protocol = f"tcp{family}"
    if state == "LISTEN" and local.startswith("*."):
        # /proc does not tell whether IPV6_V6ONLY is set: it must be where there are two listeners.
        protocol = "tcp46" if family == 6 and local not in taken else protocol
        taken.add(local)
    elif family == 6 and "." in local.rpartition(".")[0]:
        protocol = "tcp4"  # an IPv4 client of a listener for both
    ends = f"{local:<{width}} {foreign:<{width}}"
    return f"{protocol:<5} {receive:>6} {send:>6}  {ends} {state:<11} \n"


def _end(word: str, wide: bool) -> str:
    """`0100007F:0016` as `127.0.0.1.22`; the wildcard is `*`."""
    digits, _, port = word.partition(":")
    number = int(port, 16)
    where = "*"
    if int(digits, 16) != 0:
        # Words of 32 bits, each in the machine's own order (all that run this: little-endian).
        data = b"".join(bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8))
        if len(data) == 4:
            where = ".".join(map(str, data))
        else:
            address = IPv6Address(data)
            mapped = address.ipv4_mapped
            where = str(mapped) if mapped else str(address)[: FOREIGN if wide else LOCAL]
    return f"{where}.{number or '*'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

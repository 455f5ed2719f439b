"""`/usr/sbin/arp`: -an, -anl, -n HOST, -s, -S, -d, `ifscope`; after Apple's arp.tproj.

Entries set by hand are the kernel's alone, and gone after a reboot.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface

from smolmon.lab.mac import kernel, state
from smolmon.lab.mac.kernel import KernelError
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain, say, short_mac

IN_VAIN = 5  # arp_maxtries


def main(argv: Sequence[str]) -> int:
    """Run `arp argv`."""
    flags = {letter for word in argv if word.startswith("-") for letter in word[1:]}
    words = [word for word in argv if not word.startswith("-")]
    try:
        if flags & {"s", "S", "d"}:
            if not state.is_root():
                complain("arp: writing to routing socket: Operation not permitted")
                return 1
            return _delete(words, every="a" in flags) if "d" in flags else _set(words)
        if "a" in flags:
            sys.stdout.write("".join(_long() if "l" in flags else map(_line, entries())))
            return 0
        return _show(words)
    except (KernelError, ValueError, IndexError) as error:
        complain(f"arp: {error}")
        return 1


def entries() -> list[Table]:
    """The neighbours, and as on a Mac the machine's own addresses among them."""
    seen = kernel.links()
    found = [n for n in kernel.neighbours() if "NOARP" not in n["state"]]
    for port in kernel.ports():
        link = seen.get(port["device"])
        for a in link.addresses if link else ():
            if a.family == 4 and link:
                own = {"dst": a.address, "dev": link.name, "lladdr": link.mac}
                found.append({**own, "state": ["PERMANENT"]})
    return sorted(found, key=lambda n: (n["dev"], int(IPv4Address(n["dst"]))))


def _mac(entry: Table) -> str:
    unknown = {"INCOMPLETE", "FAILED"} & set(entry["state"]) or "lladdr" not in entry
    return "(incomplete)" if unknown else short_mac(entry["lladdr"])


def _line(entry: Table) -> str:
    permanent = " permanent" if "PERMANENT" in entry["state"] else ""
    kind = "bridge" if entry["dev"].startswith("bridge") else "ethernet"
    where = f"on {entry['dev']} ifscope{permanent} [{kind}]"
    return f"? ({entry['dst']}) at {_mac(entry)} {where}\n"


def _long() -> Iterator[str]:
    yield (
        f"{'Neighbor':<23} {'Linklayer Address':<17} {'Expire(O)':<9} {'Expire(I)':<9} "
        f"{'Netif':>8} {'Refs':>4} {'Prbs':>4}\n"
    )
    for entry in entries():
        states = set(entry["state"])
        out, heard, probes = "1m20s", "expired", ""
        if "PERMANENT" in states:
            out, heard = "(none)", "(none)"
        elif "REACHABLE" in states:
            out, heard = "2m58s", "2m58s"
        elif "FAILED" in states:
            probes = str(IN_VAIN)
        elif "INCOMPLETE" in states:
            out, heard, probes = "(none)", "(none)", "1"
        yield (
            f"{entry['dst']:<23} {_mac(entry):<17} {out:<9} {heard:<9} {entry['dev'][:8]:>8} "
            f"{1 if probes else '':>4} {probes:>4}\n".rstrip()
            + "\n"
        )


def _show(words: Sequence[str]) -> int:
    found = [e for e in entries() if e["dst"] == words[0]]
    if not found:
        say(f"{words[0]} ({words[0]}) -- no entry")
        return 1
    for entry in found:
        sys.stdout.write(_line(entry))
    return 0


def _set(words: Sequence[str]) -> int:
    address, mac = str(IPv4Address(words[0])), words[1]
    octets = [int(octet, 16) for octet in mac.split(":")]
    if len(octets) != 6:
        raise ValueError(f"invalid Ethernet address '{mac}'")
    if "ifscope" in words:
        device = words[words.index("ifscope") + 1]
        link = kernel.links().get(device)
        here = [a for a in link.addresses if a.family == 4] if link else []
        if not any(
            IPv4Address(address) in IPv4Interface(f"{a.address}/{a.length}").network for a in here
        ):
            say(f"cannot intuit interface index and type for {address}")
            return 1
    else:
        (way,) = kernel.ask("-4", "route", "get", address)
        if "gateway" in way or way.get("type") == "local":
            say(f"cannot intuit interface index and type for {address}")
            return 1
        device = way["dev"]
    full = ":".join(f"{octet:02x}" for octet in octets)
    kernel.ip("neighbor", "replace", address, "lladdr", full, "nud", "permanent", "dev", device)
    return 0


def _delete(words: Sequence[str], *, every: bool) -> int:
    if every:  # the static ones too
        for entry in kernel.neighbours():
            _forget(entry)
        return 0
    address, device = str(IPv4Address(words[0])), None
    if "ifscope" in words:
        device = words[words.index("ifscope") + 1]
    found = [
        n
        for n in kernel.neighbours()
        if n["dst"] == address and (device is None or n["dev"] == device)
    ]
    for entry in found:
        _forget(entry)
    if not found:
        complain(f"delete: cannot locate {address}")
        return 1
    say(f"{address} ({address}) deleted")
    return 0


def _forget(entry: Table) -> None:
    kernel.ip("neighbor", "delete", entry["dst"], "dev", entry["dev"])
    try:  # deleting an answered entry leaves it as failed for a while: the second time it goes
        kernel.ip("neighbor", "delete", entry["dst"], "dev", entry["dev"])
    except KernelError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

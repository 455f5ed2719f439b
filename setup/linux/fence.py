"""`isolation: enforce` on Linux: a gateway drops what segments must not send each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

TABLE = "smolmon"


def ruleset(apart: Iterable[IPv4Network], free: Iterable[IPv4Address]) -> bytes:
    """A file for `nft -f` that replaces our table and touches no other; nft(8).

    `apart` are the subnets that open nothing towards each other, but for the addresses `free`.
    Answers to what was opened from elsewhere pass. A gateway's own address on another of these
    subnets is one of theirs too, so its input is filtered like what it passes on; packets within
    one subnet are left alone (with br_netfilter those that are bridged come by here as well).
    """
    subnets = sorted(apart)
    addresses = ", ".join(map(str, sorted(free)))
    between = [
        f"ip saddr {one} ip daddr {{ {', '.join(str(s) for s in subnets if s != one)} }} drop"
        for one in subnets
        if len(subnets) > 1
    ]
    rules = ["ct state established,related accept"]
    rules += [f"ip saddr {{ {addresses} }} accept"] if addresses else []
    rules += between
    chains = [
        f"  chain {hook} {{\n"
        f"    type filter hook {hook} priority filter; policy accept;\n"
        + "".join(f"    {rule}\n" for rule in rules)
        + "  }\n"
        for hook in ("forward", "input")
    ]
    return (
        "#!/usr/sbin/nft -f\n"
        "# Written by `smolmon setup`.\n"
        # The first makes sure that there is something to delete; the whole file is one transaction.
        f"table ip {TABLE} {{}}\n"
        f"delete table ip {TABLE}\n"
        f"table ip {TABLE} {{\n{''.join(chains)}}}\n"
    ).encode()

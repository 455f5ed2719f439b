"""`/usr/sbin/ndp -an`, after Apple's ndp.tproj. Only looks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from smolmon.lab.mac import kernel
from smolmon.lab.mac.words import complain, say, short_mac

LETTERS = {"REACHABLE": "R", "STALE": "S", "DELAY": "D", "PROBE": "P", "INCOMPLETE": "I"}


def main(argv: Sequence[str]) -> int:
    """Run `ndp argv`."""
    if not argv or "a" not in argv[0]:
        complain("ndp: this stand-in knows -an")
        return 1
    say(f"{'Neighbor':<39} {'Linklayer Address':<18} {'Netif':>5} {'Expire':<9} St Flgs Prbs")
    for name, link in kernel.links().items():
        for a in link.addresses:
            if a.family == 6 and any(p["device"] == name for p in kernel.ports()):
                address = f"{a.address}%{name}" if a.scope == "link" else a.address
                say(f"{address:<39} {short_mac(link.mac):<18} {name:>5} {'permanent':<9} R      ")
    for entry in kernel.neighbours("-6"):
        letter = next((LETTERS[s] for s in entry["state"] if s in LETTERS), "N")
        mac = short_mac(entry["lladdr"]) if "lladdr" in entry else "(incomplete)"
        address = f"{entry['dst']}%{entry['dev']}"
        expire = "23h59m58s" if letter in "SDP" else "28s" if letter == "R" else "expired"
        say(f"{address:<39} {mac:<18} {entry['dev']:>5} {expire:<9} {letter}       ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

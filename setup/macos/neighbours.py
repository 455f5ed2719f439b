"""`static_neighbors` on macOS: MAC addresses of a segment's members, kept by the kernel. Pure.

An entry goes with its interface's address, and at a reboot: a daemon sets them again. They are
scoped to their interface (`ifscope`), as those are that the kernel learns itself: an unscoped one
could stand beside another that is found first (xnu, rt_lookup_common). `arp -S` replaces an entry,
whatever its scope (network_cmds, arp.c: the deletion goes by what it found).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from smolmon.setup.macos import launchd
from smolmon.setup.macos.facts import Facts, Neighbour
from smolmon.setup.macos.files import WantedFile
from smolmon.setup.macos.rollback import FOLDER
from smolmon.setup.macos.tools import ARP, NEIGHBOUR_SCRIPT, NEIGHBOURS, RM, SH, daemon_file
from smolmon.setup.macos.wanted import Link, Peer, Wanted, port_of
from smolmon.setup.shell import command
from smolmon.setup.steps import Step

EVERY = 60  # seconds
TRIES = 10  # a second apart: after a boot an interface may have no address yet

Macs = Mapping[tuple[str, str], str]  # by segment and node


def entries(wanted: Wanted, facts: Facts, macs: Macs) -> tuple[Neighbour, ...]:
    """The entries that the node is to have, as far as they are known.

    What is not known this time, since not all nodes were asked, stays as it is stored.
    """
    return tuple(n for _, n in _entries(wanted, facts, macs) if n)


def unknown(wanted: Wanted, facts: Facts, macs: Macs) -> Iterator[str]:
    """One line for each member whose MAC address nobody knows."""
    for peer, found in _entries(wanted, facts, macs):
        if found is None:
            yield (
                f"{peer.segment}: the MAC address of {peer.node} is not known, so {peer.address} "
                "gets no static neighbour entry; set up all nodes together, or give its `mac` in "
                "the cluster file"
            )


def _entries(wanted: Wanted, facts: Facts, macs: Macs) -> Iterator[tuple[Peer, Neighbour | None]]:
    ports = {link.segment: port_of(link, facts) for link in wanted.links}
    for peer in wanted.peers:
        port = ports.get(peer.segment)
        if port is None:
            continue  # refused by preflight
        mac = macs.get((peer.segment, peer.node)) or peer.mac
        stored = {(n.address, n.interface): n for n in facts.kept_neighbours}
        known = Neighbour(peer.address, mac, port.name) if mac else None
        yield peer, known or stored.get((peer.address, port.name))


def neighbour_files(needed: Sequence[Neighbour]) -> tuple[WantedFile, ...]:
    """What keeps these entries; empty for none."""
    if not needed:
        return ()
    return (
        WantedFile(NEIGHBOUR_SCRIPT, "the script of static neighbours", script(needed).encode()),
        WantedFile(
            daemon_file(NEIGHBOURS),
            "the neighbours' daemon",
            launchd.periodic(NEIGHBOURS, [SH, NEIGHBOUR_SCRIPT], EVERY),
            NEIGHBOURS,
        ),
    )


def script(needed: Sequence[Neighbour]) -> str:
    """What the daemon runs: it sets what differs, but not while setup changes the network."""
    table = "".join(f"{n.address} {_short(n.mac)} {n.interface}\n" for n in needed)
    return f"""\
#!/bin/sh
# Written by `smolmon setup`: MAC addresses that this node shall not ask for.
tries=0
while [ ! -e {FOLDER} ]; do
  failed=
  while read -r address mac interface; do
    case $({ARP} -n "$address" 2>/dev/null) in
      *" at $mac on $interface "*permanent*) ;;
      *) {ARP} -S "$address" "$mac" ifscope "$interface" >/dev/null 2>&1 || failed=yes ;;
    esac
  done <<'end'
{table}end
  tries=$((tries + 1))
  [ -n "$failed" ] && [ $tries -lt {TRIES} ] || exit 0
  sleep 1
done
"""


def _short(mac: str) -> str:
    """As arp prints it: octets without leading zeros (arp.c)."""
    return ":".join(f"{int(octet, 16):x}" for octet in mac.split(":"))


# -- what the kernel has ----------------------------------------------------------------------


def live(address: IPv4Address, interface: str, facts: Facts) -> str | None:
    """The MAC address of a static entry, if there is one."""
    return next(
        (
            n.mac
            for n in facts.neighbours
            if (n.address, n.device) == (address, interface) and n.permanent
        ),
        None,
    )


def kept_steps(
    link: Link, needed: Sequence[Neighbour], facts: Facts, *, changing: bool
) -> Iterator[Step]:
    """Set the entries of a link. `changing`: earlier steps take its address away and give one."""
    port = port_of(link, facts)
    if port is None or port.active is False:
        return
    for one in needed:
        if one.interface != port.name:
            continue
        seen = live(one.address, one.interface, facts)
        if seen == one.mac and not changing:
            continue
        what = f"is {seen} instead of" if seen not in (None, one.mac) else "is to be"
        why = f"the static neighbour {one.address} on {one.interface} {what} {one.mac}"
        back = _set(facts, Neighbour(one.address, seen, one.interface)) if seen else None
        yield Step(
            _patient(_set(facts, one)) if changing else _set(facts, one),
            why,
            # It is gone already where its interface has no address.
            back or f"{{ {_gone(facts, one)} >/dev/null 2>&1 || :; }}",
        )


def over_steps(needed: Sequence[Neighbour], facts: Facts) -> Iterator[Step]:
    """Remove what is stored and still there, and is wanted no more."""
    wanted = {(n.address, n.interface) for n in needed}
    for one in facts.kept_neighbours:
        there = live(one.address, one.interface, facts) == one.mac
        if there and (one.address, one.interface) not in wanted:
            why = f"the static neighbour {one.address} on {one.interface} is not wanted any more"
            yield Step(_gone(facts, one), why, _set(facts, one))


def forgotten(facts: Facts, why: str) -> Iterator[Step]:
    """Remove what is stored and still there, once its daemon is gone.

    Without an error where it went with its interface's address just now.
    """
    for one in facts.kept_neighbours:
        if live(one.address, one.interface, facts) == one.mac:
            yield Step(f"{{ {_gone(facts, one)} 2>/dev/null || :; }}", why)


def _set(facts: Facts, one: Neighbour) -> str:
    return facts.as_root(ARP, "-S", str(one.address), one.mac, "ifscope", one.interface)


def _gone(facts: Facts, one: Neighbour) -> str:
    return facts.as_root(ARP, "-d", str(one.address), "ifscope", one.interface)


def _patient(one: str) -> str:
    """networksetup does not wait until an address is there."""
    return command(
        "/bin/sh",
        "-c",
        f"n=0; until {one} >/dev/null 2>&1; do n=$((n + 1)); [ $n -le 25 ] || exec {one}; "
        "sleep 0.2; done",
    )


def without_neighbours(facts: Facts, why: str) -> Iterator[Step]:
    """Take the daemon away; the entries go by :func:`over_steps`."""
    if NEIGHBOURS in facts.jobs:
        undo = launchd.load(facts, NEIGHBOURS) if daemon_file(NEIGHBOURS) in facts.files else None
        yield Step(launchd.unload(facts, NEIGHBOURS), why, undo)
    for path in (daemon_file(NEIGHBOURS), NEIGHBOUR_SCRIPT):
        if path in facts.files:
            yield Step(facts.as_root(RM, "-f", path), why)

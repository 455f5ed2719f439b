"""Static neighbours on a Linux node: what is to be kept, and the steps to it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smolmon.setup.linux import neighbours
from smolmon.setup.linux.facts import Facts
from smolmon.setup.linux.neighbours import StaticNeighbour, is_mac
from smolmon.setup.linux.wanted import Link, Peer, Wanted
from smolmon.setup.steps import Step

# MAC addresses by segment and node, as far as they are known (bundle.Bundle).
Macs = Mapping[tuple[str, str], str]


def entries(wanted: Wanted, facts: Facts, macs: Macs) -> dict[str, list[StaticNeighbour]]:
    """The neighbours of each profile, by its UUID; nothing for one without any.

    Where a peer's MAC address is not known to this run, what an earlier one stored stays.
    """
    found: dict[str, list[StaticNeighbour]] = {}
    for link, port, peer in _peers(wanted, facts):
        mac = _mac(link, peer, macs)
        here = [StaticNeighbour(peer.address, mac, port)] if mac else _kept(facts, port, peer)
        if here:
            found.setdefault(link.profile.uuid, []).extend(here)
    return found


def _peers(wanted: Wanted, facts: Facts) -> Iterator[tuple[Link, str, Peer]]:
    for link in wanted.links:
        port = facts.interface(link.profile.interface, link.profile.mac)
        if port is not None:
            yield from ((link, port.name, peer) for peer in link.peers)


def _mac(link: Link, peer: Peer, macs: Macs) -> str | None:
    mac = macs.get((link.segment, peer.node), "")
    return mac if is_mac(mac) else None


def _kept(facts: Facts, port: str, peer: Peer) -> list[StaticNeighbour]:
    return [n for n in facts.static if (n.address, n.interface) == (peer.address, port)][:1]


def neighbour_steps(wanted: Wanted, facts: Facts, macs: Macs) -> Iterator[Step]:
    """Make the kernel keep what is known, and forget what an earlier run told it."""
    for link, port, peer in _peers(wanted, facts):
        mac = _mac(link, peer, macs)
        if mac is None:
            continue
        want = StaticNeighbour(peer.address, mac, port)
        seen = next(
            (n for n in facts.permanent if (n.address, n.interface) == (peer.address, port)), None
        )
        who = f"{peer.node} ({peer.address})"
        step = facts.as_root(*neighbours.replace(want))
        if seen is None:
            why = f"no MAC address of {who} is kept on {port}"
            yield Step(step, why, facts.as_root(*neighbours.delete(peer.address, port)))
        elif seen.mac != mac:
            why = f"{seen.mac} is kept for {who} on {port} instead of {mac}"
            yield Step(step, why, facts.as_root(*neighbours.replace(seen)))
    expected = {(peer.address, port) for _, port, peer in _peers(wanted, facts)}
    for left in facts.static:
        if left in facts.permanent and (left.address, left.interface) not in expected:
            yield _forgotten(facts, left)


def without_neighbours(wanted: Wanted, facts: Facts) -> Iterator[Step]:
    """Make the kernel forget what setup told it; ARP finds everybody again."""
    ours = {(peer.address, port) for _, port, peer in _peers(wanted, facts)}
    for seen in facts.permanent:
        if seen in facts.static or (seen.address, seen.interface) in ours:
            yield _forgotten(facts, seen)


def _forgotten(facts: Facts, left: StaticNeighbour) -> Step:
    """NetworkManager may have forgotten it meanwhile, with the interface: that is as well."""
    delete = facts.as_root(*neighbours.delete(left.address, left.interface))
    return Step(
        f"{{ {delete}; }} 2>/dev/null || true",
        f"the MAC address of {left.address} is kept on {left.interface} by smolmon",
        facts.as_root(*neighbours.replace(left)),
    )


def unknown(wanted: Wanted, facts: Facts, macs: Macs) -> Iterator[str]:
    """A note for each peer whose MAC address this run could not learn."""
    for link, port, peer in _peers(wanted, facts):
        if _mac(link, peer, macs) is None:
            kept = _kept(facts, port, peer)
            state = f"{kept[0].mac} stays as it is" if kept else "none is kept"
            yield (
                f"{link.segment}: the MAC address of {peer.node} is not known in this run, so "
                f"{state}: set up both together, or declare its `mac`"
            )

"""What a Mac keeps for its next boot, beside what is live now. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from smolmon.setup.macos.facts import Facts, Neighbour
from smolmon.setup.macos.fence import differs
from smolmon.setup.macos.neighbours import live
from smolmon.setup.macos.system_steps import FORWARD
from smolmon.setup.macos.tools import EXPORTER, FENCE, FORWARDING, daemon_file
from smolmon.setup.macos.wanted import Wanted, port_of

Row = tuple[str, str, str, str]  # what, stored, live, and why they differ: empty where they agree


def kept(wanted: Wanted, facts: Facts) -> Iterator[Row]:
    """One row for each setting that is to outlast a reboot."""
    for link in wanted.links:
        port = port_of(link, facts)
        service = facts.service_on(port.name) if port else None
        if port is None or service is None or service.info is None:
            yield link.segment, "nothing", "nothing", f"no network service for {link.called}"
            continue
        info = service.info
        stored = f"{info.address}/{info.prefix_length}" if info.address else "no address"
        live = " and ".join(map(str, port.addresses)) or "no address"
        why = "" if stored in live or port.active is False else f"{port.name} has something else"
        if port.active is False:
            live = "no link"
        yield f"address of {service.name}", stored, live, why
        for route in service.routes or ():
            seen = [
                r.gateway
                for r in facts.routes
                if r.destination == route.destination and r.device == port.name and not r.scoped
            ]
            there = f"via {seen[0]}" if seen else "no link" if port.active is False else "no route"
            right = route.gateway in seen or port.active is False
            why = "" if right else "the kernel goes another way"
            yield f"route {route.destination}", f"via {route.gateway}", there, why
    if wanted.forwarding:
        yield _daemon(FORWARDING, facts, live=bool(facts.forwarding), what=FORWARD)
    if wanted.apart:
        yield _daemon(FENCE, facts, live=not differs(wanted, facts), what="isolation")
    for one in facts.kept_neighbours:
        yield _neighbour(one, wanted, facts)
    job = facts.jobs.get(EXPORTER)
    yield _daemon(EXPORTER, facts, live=bool(job and job.running), what="exporter")


def _neighbour(one: Neighbour, wanted: Wanted, facts: Facts) -> Row:
    port = facts.interface(one.interface)
    seen = live(one.address, one.interface, facts)
    what = f"neighbor {one.address}"
    if port is None or port.active is False:
        return what, one.mac, "no link", ""
    return what, one.mac, seen or "not static", "" if seen == one.mac else "it is to be static"


def _daemon(label: str, facts: Facts, *, live: bool, what: str) -> Row:
    stored = daemon_file(label) in facts.files and label not in facts.disabled
    why = "" if stored and live else f"{label} is {'not running' if stored else 'not kept'}"
    return what, "on" if stored else "off", "on" if live else "off", why

"""macOS: see `smolmon.setup.system`.

Nobody has run this on a Mac: docs/macos.md says what it rests on.
"""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address

from attrs import evolve, field, frozen

from smolmon.cluster import Cluster
from smolmon.cluster.model import Kind, Member
from smolmon.macos import route_get
from smolmon.setup.bundle import Bundle
from smolmon.setup.looks import Hop, Kept
from smolmon.setup.macos import asking, rollback
from smolmon.setup.macos import facts as _facts
from smolmon.setup.macos.facts import OLDEST_PYTHON, Facts
from smolmon.setup.macos.kept import kept
from smolmon.setup.macos.neighbours import entries, unknown
from smolmon.setup.macos.plan import plan
from smolmon.setup.macos.preflight import refusals, removal_refusals
from smolmon.setup.macos.removal import removal
from smolmon.setup.macos.service import LEFTOVERS, files, network_files
from smolmon.setup.macos.sudoers import sudoers
from smolmon.setup.macos.tools import (
    AGENT,
    DAEMONS,
    EXPORTER,
    LOG,
    NETSTAT,
    PING,
    PYTHONS,
    RM,
    ROUTE,
    SYSCTL,
    TAIL,
)
from smolmon.setup.macos.wanted import Wanted, member_port, port_of, wanted
from smolmon.setup.script import HELD
from smolmon.setup.shell import command, lines, quote
from smolmon.setup.steps import Plan, Step


@frozen
class MacSystem:
    """A :class:`~smolmon.setup.system.System`."""

    cluster: Cluster
    node: str
    wanted: Wanted = field(init=False, repr=False)

    @wanted.default
    def _wanted(self) -> Wanted:
        return wanted(self.cluster, self.node)

    def facts_script(self, *, only_network: bool = False, exporter: bool = True) -> str:
        """See System. `only_network`: without what Plan.network does not depend on.

        What only the exporter depends on takes no time worth leaving it out.
        """
        del exporter
        if only_network:
            return asking.network_script(neighbours=bool(self.wanted.peers))
        kinds = [link.kind for link in self.wanted.links]
        return asking.script(
            cabling=Kind.THUNDERBOLT in kinds,
            neighbours=bool(self.wanted.peers),
            fence=bool(self.wanted.apart),
        )

    def state(self, out: str) -> MacState:
        """See System."""
        return MacState(self.wanted, _facts.parse(out, self.wanted.port))

    def settled(self) -> str:
        """See System."""
        return rollback.settled()

    def ready(self, seconds: float) -> str:
        """See System."""
        listens = (
            f"{NETSTAT} -anl -p tcp | awk -v port={self.wanted.port} "
            """'$NF == "LISTEN" && $4 ~ ("[.]" port "$") { found = 1 } END { exit !found }'"""
        )
        return lines(
            [
                f"tries={int(seconds * 5)}",
                f"while [ $tries -gt 0 ] && ! {{ {listens}; }}; do",
                "  sleep 0.2; tries=$((tries - 1))",
                "done",
            ]
        )

    def alone(self) -> str:
        """Lines that end a script with HELD where another one with them runs.

        The lock is on a folder that is there anyway, and ends with the script. There is no flock(1)
        on a Mac; one that another program takes on the shell's own descriptor stays.
        """
        lock = 'open(my $f, "<&=", 9) or exit 1; exit(flock($f, 6) ? 0 : 1)'
        return lines(
            [
                "if [ -x /usr/bin/perl ]; then",
                f"  exec 9<{DAEMONS} && {command('/usr/bin/perl', '-e', lock)} || exit {HELD}",
                "fi",
            ]
        )

    def unarmed(self, said: str) -> str:
        """See System."""
        if rollback.HELD in said:
            return (
                f"{rollback.HELD}; wait until it has committed or rolled back, and run again; "
                "nothing was changed"
            )
        if rollback.UNFINISHED in said:
            finish = command("sudo", "/bin/sh", rollback.SCRIPT)
            return f"{rollback.UNFINISHED}; on the node: {finish}; nothing was changed"
        return f"the rollback could not be armed, so nothing was changed: {said}"

    def agent(self, *words: str) -> str:
        """See System. An SSH session has no Homebrew on its search path: see Facts.python."""
        enough = f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
        return lines(
            [
                f"for python in {command(*PYTHONS)}; do",
                f'  [ -x "$python" ] && "$python" {command("-c", enough)} 2>/dev/null && break',
                "done",
                f'"$python" {command(AGENT, *words)}',
            ]
        )

    def forwarding(self) -> str:
        """See System."""
        return f"{SYSCTL} -n net.inet.ip.forwarding"

    def port(self, member: Member) -> str:
        """See System."""
        if member.mac is None:
            return quote(member.interface or "")
        segments = self.cluster.segments_of(self.node)
        kind = next((s.kind for s in segments if s.member(self.node) == member), Kind.ETHERNET)
        return member_port(member.mac, kind)

    def route(self, address: IPv4Address) -> str:
        """See System."""
        return f"{ROUTE} -n get {quote(str(address))} 2>/dev/null"

    def hop(self, text: str) -> Hop | None:
        """See System."""
        found = route_get.parse(text)
        if found is None or found.refuses:
            return None
        return Hop(found.interface, found.gateway)

    def ping(
        self, address: IPv4Address, count: int, port: str | None = None, wait: float = 1.0
    ) -> str:
        """See System. Here -W is in milliseconds."""
        bound = f"-b {port} " if port else ""
        return f"{PING} -n -c {count} -i 0.2 -W {wait * 1000:.0f} {bound}{quote(str(address))}"

    def connect(self, address: IPv4Address, port: int) -> str:
        """A command that tries a TCP connection: it prints `open`, `refused` or `silent`.

        By bash, which every Mac has; there is no timeout(1).
        """
        attempt = command("/bin/bash", "-c", f"exec 3<>/dev/tcp/{address}/{int(port)}")
        return (
            f"said=$({attempt} 2>&1 & tried=$!; {{ sleep 1; kill $tried; }} >/dev/null 2>&1 & "
            'wait $tried; echo "status $?"); '
            "case $said in *'status 0') echo open ;; *refused*) echo refused ;; "
            "*) echo silent ;; esac"
        )


@frozen
class MacState:
    """A :class:`~smolmon.setup.system.State`."""

    wanted: Wanted
    facts: Facts

    @property
    def listening(self) -> bool:
        """See State."""
        job = self.facts.jobs.get(EXPORTER)
        return job is not None and job.running and self.facts.listening

    def mac(self, segment: str) -> str | None:
        """See State."""
        for link in self.wanted.links:
            if link.segment == segment and (port := port_of(link, self.facts)):
                return port.mac
        return None

    def refusals(self) -> list[str]:
        """See State."""
        return refusals(self.wanted, self.facts)

    def plan(self, bundle: Bundle | None) -> Plan:
        """See State."""
        wanted, facts = self.wanted, self.facts
        macs = bundle.macs if bundle else {}
        needed = files(wanted, facts, bundle) if bundle else network_files(wanted, facts, macs)
        found = plan(wanted, facts, needed, entries(wanted, facts, macs))
        if bundle is None:
            return found  # it knows no MAC addresses, and changes nothing about that
        return evolve(found, notes=(*found.notes, *unknown(wanted, facts, macs)))

    def removal_refusals(self) -> list[str]:
        """Why smolmon must not be removed from the node; empty when it may."""
        return removal_refusals(self.wanted, self.facts)

    def removal(self) -> Plan:
        """How to take away all that smolmon installed and nothing else; empty when it is gone."""
        return removal(self.wanted, self.facts)

    def stored(self) -> list[Kept]:
        """See State."""
        return [Kept(*row) for row in kept(self.wanted, self.facts)]

    def sudoers(self) -> str:
        """A sudoers file that lets the user of this session do what setup does."""
        return sudoers(self.facts.user)

    def armed(self, steps: tuple[Step, ...], seconds: int) -> str:
        """See State. The token is made here; see `smolmon.setup.macos.rollback`."""
        return rollback.armed(self.facts, steps, seconds, secrets.token_hex(8))

    def commit(self, token: str) -> str:
        """See State."""
        return rollback.commit(self.facts, token)

    def rollback(self, token: str) -> str:
        """See State."""
        return rollback.now(self.facts, token)

    def tidy(self) -> str:
        """See State."""
        return self.facts.as_root(RM, "-f", *LEFTOVERS)

    def journal(self) -> str:
        """See State."""
        return self.facts.as_root(TAIL, "-n", "5", LOG)

"""Linux with NetworkManager and systemd: see `smolmon.setup.system`."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

from attrs import field, frozen

from smolmon.cluster import Cluster
from smolmon.cluster.model import Member
from smolmon.setup.bundle import Bundle
from smolmon.setup.linux import asking, nmcli, preflight, sudoers
from smolmon.setup.linux.facts import NM, NM_PATH, Facts, parse
from smolmon.setup.linux.facts_system import Places
from smolmon.setup.linux.kept import kept
from smolmon.setup.linux.plan import plan
from smolmon.setup.linux.removal import removal
from smolmon.setup.linux.service import (
    AGENT,
    DIRECTORY,
    LEFTOVERS,
    PATHS,
    PRIVATE,
    SYSCTL_FILE,
    files,
)
from smolmon.setup.linux.wanted import Wanted, wanted
from smolmon.setup.looks import Hop, Kept
from smolmon.setup.script import HELD, steps_script
from smolmon.setup.shell import command, lines, quote
from smolmon.setup.steps import Plan, Step


@frozen
class LinuxSystem:
    """A :class:`~smolmon.setup.system.System`."""

    cluster: Cluster
    node: str
    wanted: Wanted = field(init=False, repr=False)

    @wanted.default
    def _wanted(self) -> Wanted:
        return wanted(self.cluster, self.node)

    def facts_script(self, *, only_network: bool = False, exporter: bool = True) -> str:
        """See System."""
        if only_network:
            return asking.network_script(self.wanted.uuids)
        return asking.script(
            self.wanted.uuids,
            Places(
                files=(*PATHS, *LEFTOVERS),
                private=PRIVATE,
                port=self.wanted.port,
                folder=DIRECTORY,
                kept=SYSCTL_FILE,
                permit=sudoers.permit_words(self.wanted)[1],
                enforced=self.wanted.fence is not None,
                exporter=exporter,
            ),
        )

    def state(self, out: str) -> LinuxState:
        """See System."""
        return LinuxState(self.wanted, parse(out))

    def settled(self) -> str:
        """See System."""
        get = command("busctl", "get-property", NM, NM_PATH, NM, "Checkpoints")
        return f'[ "$({get})" = "ao 0" ]'

    def alone(self) -> str:
        """See System. A lock on a folder that is there anyway; it ends with the script."""
        return lines(
            [
                "if command -v flock >/dev/null; then",
                f"  exec 9</etc/systemd/system && flock -n 9 || exit {HELD}",
                "fi",
            ]
        )

    def ready(self, seconds: float) -> str:
        """See System."""
        listening = command("ss", "-Hltn", f"( sport = :{self.wanted.port} )")
        return lines(
            [
                f"tries={int(seconds * 10)}",
                f'while [ $tries -gt 0 ] && [ -z "$({listening})" ]; do',
                "  sleep 0.1; tries=$((tries - 1))",
                "done",
            ]
        )

    def unarmed(self, said: str) -> str:
        """See System."""
        if "already included in checkpoint" in said:
            return (
                "another setup (or another tool) holds a NetworkManager checkpoint on it; wait up "
                "to its timeout and run again; nothing was changed"
            )
        return f"the rollback could not be armed, so nothing was changed: {said}"

    def agent(self, *words: str) -> str:
        """See System."""
        return command("python3", AGENT, *words)

    def forwarding(self) -> str:
        """See System."""
        return "cat /proc/sys/net/ipv4/ip_forward"

    def port(self, member: Member) -> str:
        """See System."""
        if member.mac is None:
            return quote(member.interface or "")
        find = command("grep", "-lix", member.mac)
        return f"$({find} /sys/class/net/*/address | head -n 1 | cut -d/ -f5)"

    def route(self, address: IPv4Address) -> str:
        """See System."""
        return f"ip -j route get {quote(str(address))} 2>/dev/null"

    def hop(self, text: str) -> Hop | None:
        """See System."""
        try:
            found = json.loads(text)[0]
            gateway = found.get("gateway")
            return Hop(found["dev"], IPv4Address(gateway) if gateway else None)
        except (ValueError, LookupError):
            return None

    def ping(
        self, address: IPv4Address, count: int, port: str | None = None, wait: float = 1.0
    ) -> str:
        """See System."""
        bound = f"-I {port} " if port else ""
        return f"ping -n -c {count} -i 0.2 -W {wait:g} {bound}{quote(str(address))}"

    def connect(self, address: IPv4Address, port: int) -> str:
        """See System. By bash, which Debian and Ubuntu always have; nc they may lack."""
        attempt = quote(f"exec 3<>/dev/tcp/{address}/{int(port)}")
        return (
            f"said=$(timeout 1 bash -c {attempt} 2>&1); "
            "case $?:$said in 0:*) echo open ;; *refused*) echo refused ;; *) echo silent ;; esac"
        )


@frozen
class LinuxState:
    """A :class:`~smolmon.setup.system.State`."""

    wanted: Wanted
    facts: Facts

    @property
    def listening(self) -> bool:
        """See State."""
        return self.facts.service.active and bool(self.facts.service.listening)

    def mac(self, segment: str) -> str | None:
        """See State."""
        for link in self.wanted.links:
            port = self.facts.interface(link.profile.interface, link.profile.mac)
            if link.segment == segment and port is not None:
                return port.mac
        return None

    def refusals(self) -> list[str]:
        """See State."""
        return preflight.refusals(self.wanted, self.facts)

    def plan(self, bundle: Bundle | None) -> Plan:
        """See State."""
        wanted_files = files(self.wanted, self.facts, bundle or Bundle(b"", b""))
        window = bundle.identity.window if bundle and bundle.identity else None
        macs = bundle.macs if bundle else {}
        exporter = bundle is not None
        return plan(self.wanted, self.facts, wanted_files, window, macs, exporter=exporter)

    def removal_refusals(self) -> list[str]:
        """See State."""
        return preflight.removal_refusals(self.wanted, self.facts)

    def removal(self) -> Plan:
        """See State."""
        return removal(self.wanted, self.facts)

    def stored(self) -> list[Kept]:
        """See State."""
        return kept(self.wanted, self.facts)

    def sudoers(self) -> str:
        """See State."""
        return sudoers.sudoers(self.wanted, self.facts)

    def armed(self, steps: tuple[Step, ...], seconds: int) -> str:
        """See State. The token is the D-Bus path of a NetworkManager checkpoint."""
        create = self.facts.as_root(*nmcli.checkpoint_create(seconds))
        undo = self.facts.as_root(*nmcli.checkpoint_rollback("CHECKPOINT"))
        there = command("busctl", "get-property", NM, "CHECKPOINT", f"{NM}.Checkpoint", "Created")
        undo, there = (text.replace("CHECKPOINT", '"$checkpoint"') for text in (undo, there))
        return lines(
            [
                "echo @@arm",
                f"checkpoint=$({create}) || exit 1",
                'checkpoint=${checkpoint#*\\"}; checkpoint=${checkpoint%\\"}',
                'echo "@@armed $checkpoint"',
                steps_script(
                    steps,
                    failed=f"{undo} >/dev/null && echo @@rolled-back",
                    # It has ended if the time ran out: nothing may change without it.
                    unless=f"{there} >/dev/null 2>&1 || "
                    "{ echo 'not begun: the rollback was no longer armed'; failed; }",
                ),
            ]
        )

    def commit(self, token: str) -> str:
        """See State."""
        return self.facts.as_root(*nmcli.checkpoint_destroy(token))

    def rollback(self, token: str) -> str:
        """See State."""
        return self.facts.as_root(*nmcli.checkpoint_rollback(token))

    def tidy(self) -> str:
        """See State."""
        if not set(LEFTOVERS) & set(self.facts.files):
            return ""
        return self.facts.as_root("rm", "-f", *LEFTOVERS)

    def journal(self) -> str:
        """See State."""
        return self.facts.as_root(*sudoers.journal())

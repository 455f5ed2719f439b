"""The boundary to a node's operating system. Nothing else asks what a node runs.

A :class:`System` knows how one node of the cluster is asked; what it answered is a
:class:`State`, which knows how that node is changed. Both are pure: scripts out, text in.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Protocol

from smolmon.cluster import Cluster, Node, Platform
from smolmon.cluster.model import Member
from smolmon.setup.bundle import Bundle
from smolmon.setup.linux.system import LinuxState, LinuxSystem
from smolmon.setup.looks import Hop, Kept
from smolmon.setup.steps import Plan, Step


class System(Protocol):
    """How one node is asked."""

    def facts_script(self, *, only_network: bool = False, exporter: bool = True) -> str:
        """A script that reads everything the plan depends on, and changes nothing.

        `only_network`: what Plan.network depends on is enough. Without `exporter`: what a plan
        without a bundle depends on is.
        """

    def state(self, out: str) -> State:
        """Its output, read. Raises FactsError."""

    def settled(self) -> str:
        """A script that succeeds once no rollback is armed any more."""

    def alone(self) -> str:
        """Lines that end a script with script.HELD where another setup installs on the node.

        Until the script ends they keep others out; they leave nothing behind.
        """

    def ready(self, seconds: float) -> str:
        """A script that ends once the exporter listens, or `seconds` later."""

    def unarmed(self, said: str) -> str:
        """One line on why a rollback was not armed, from the last words of that script."""

    def agent(self, *words: str) -> str:
        """Lines that run the installed agent, by the interpreter that its service has."""

    # What `smolmon verify` looks at.

    def forwarding(self) -> str:
        """A command that prints 1 where the node forwards IPv4."""

    def port(self, member: Member) -> str:
        """A shell word that becomes the name of that member's interface."""

    def route(self, address: IPv4Address) -> str:
        """A command that prints the way to `address`."""

    def hop(self, text: str) -> Hop | None:
        """What it printed, read; None where there is no way."""

    def ping(
        self, address: IPv4Address, count: int, port: str | None = None, wait: float = 1.0
    ) -> str:
        """A command that pings, out of the interface that the shell word `port` names.

        It prints each answer's TTL, and waits `wait` seconds for the last one.
        """

    def connect(self, address: IPv4Address, port: int) -> str:
        """A command that tries a TCP connection: it prints `open`, `refused` or `silent`."""


class State(Protocol):
    """What a node was found to be, and how it is changed."""

    @property
    def listening(self) -> bool:
        """Whether the exporter runs and listens."""

    def mac(self, segment: str) -> str | None:
        """The MAC address of the node's interface on that segment, if it is there."""

    def refusals(self) -> list[str]:
        """Why the node must not be touched; empty when it may."""

    def plan(self, bundle: Bundle | None) -> Plan:
        """What to do; empty when all is as wanted. Without a bundle: the network alone."""

    def removal_refusals(self) -> list[str]:
        """Why smolmon must not be removed from the node; empty when it may."""

    def removal(self) -> Plan:
        """How to take away all that smolmon installed and nothing else; empty when it is gone."""

    def stored(self) -> list[Kept]:
        """What is kept for the next boot, beside what is live."""

    def sudoers(self) -> str:
        """A sudoers file that lets the user of this session do what setup does, and no more."""

    def armed(self, steps: tuple[Step, ...], seconds: int) -> str:
        """A script that first arms a rollback by the node itself after `seconds`, then steps.

        It prints `@@armed TOKEN`. Where a step fails it rolls back at once.
        """

    def commit(self, token: str) -> str:
        """A script that disarms the rollback `token`."""

    def rollback(self, token: str) -> str:
        """A script that rolls back to `token` now."""

    def tidy(self) -> str:
        """A script that removes what was kept for undoing `Plan.system`; empty where nothing is."""

    def journal(self) -> str:
        """A script that prints the exporter's last words."""


class UnsupportedError(Exception):
    """smolmon cannot set up this kind of node. One line."""


def system_of(cluster: Cluster, node: Node) -> System:
    """The system of `node`."""
    if node.platform is Platform.MACOS:
        # Here, because most of its modules are of no use to a cluster without Macs.
        from smolmon.setup.macos.system import MacSystem  # noqa: PLC0415

        return MacSystem(cluster, node.name)
    return LinuxSystem(cluster, node.name)


def refused_together(states: Mapping[str, State]) -> dict[str, list[str]]:
    """Why nodes must not be touched that only shows when several are seen, by node name."""
    if all(isinstance(state, LinuxState) for state in states.values()):
        return {}
    from smolmon.setup.macos.rings import ring_refusals  # noqa: PLC0415
    from smolmon.setup.macos.system import MacState  # noqa: PLC0415

    return ring_refusals(
        {name: s.facts.buses for name, s in states.items() if isinstance(s, MacState)}
    )

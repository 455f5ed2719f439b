"""The boundary to a node's operating system. Nothing else asks what a node runs."""

from __future__ import annotations

from typing import Protocol

from smolmon.cluster import Node, Platform
from smolmon.setup import linux
from smolmon.setup.facts import Facts
from smolmon.setup.plan import Plan, Step
from smolmon.setup.service import WantedFile
from smolmon.setup.wanted import Wanted


class System(Protocol):
    """How one kind of node is read, planned and changed. All pure: scripts out, text in."""

    def facts_script(self, wanted: Wanted) -> str:
        """A script that reads everything the plan depends on, and changes nothing."""

    def facts(self, out: str) -> Facts:
        """Its output, read. Raises FactsError."""

    def files(
        self, wanted: Wanted, facts: Facts, agent: bytes, cluster_file: bytes
    ) -> tuple[WantedFile, ...]:
        """The files that the node needs."""

    def refusals(self, wanted: Wanted, facts: Facts) -> list[str]:
        """Why the node must not be touched; empty when it may."""

    def plan(self, wanted: Wanted, facts: Facts, files: tuple[WantedFile, ...]) -> Plan:
        """What to do; empty when all is as wanted."""

    def armed(self, facts: Facts, steps: tuple[Step, ...], seconds: int) -> str:
        """A script that first arms a rollback by the node itself after `seconds`, then steps.

        It prints `@@armed TOKEN`. Where a step fails it rolls back at once.
        """

    def unarmed(self, said: str) -> str:
        """One line on why the rollback was not armed, from the last words of that script."""

    def commit(self, facts: Facts, token: str) -> str:
        """A script that disarms the rollback `token`."""

    def rollback(self, facts: Facts, token: str) -> str:
        """A script that rolls back to `token` now."""

    def settled(self) -> str:
        """A script that succeeds once no rollback is armed any more."""

    def ready(self, wanted: Wanted, seconds: float) -> str:
        """A script that ends once the exporter listens, or `seconds` later."""

    def tidy(self, facts: Facts) -> str:
        """A script that removes what was kept for undoing `Plan.system`."""

    def journal(self, facts: Facts) -> str:
        """A script that prints the exporter's last words."""


class UnsupportedError(Exception):
    """smolmon cannot set up this kind of node. One line."""


def system_of(node: Node) -> System:
    """The system of `node`. Raises UnsupportedError."""
    if node.platform is Platform.MACOS:
        raise UnsupportedError(
            f"{node.name}: macOS nodes are not supported yet; "
            "choose the others with `--node NAME ...`"
        )
    return linux

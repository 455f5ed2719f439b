"""A plan: ordered commands, each with its reason and its inverse. Pure."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class Step:
    """One command, exactly as it is run. `undo` None: the node's own rollback undoes it."""

    command: str
    why: str
    undo: str | None = None
    content: bytes | None = field(default=None, repr=False)  # for its standard input
    idle: bool = False  # whether all that it changes carries nothing yet, so it cuts nobody off


@frozen
class Plan:
    """A node's steps. `network` runs under a rollback held by the node, then `system` without."""

    network: tuple[Step, ...] = ()
    system: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()  # what setup cannot bring about

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, in order."""
        return self.network + self.system

    @property
    def idle(self) -> bool:
        """Whether its network steps touch nothing that carries traffic now."""
        return all(step.idle for step in self.network)

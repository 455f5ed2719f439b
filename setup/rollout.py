"""Carry out the plans of all nodes: wave by wave where networks change, side by side otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from attrs import define, field

from smolmon.setup.apply import ApplyError, Say, change_network, change_system
from smolmon.setup.survey import Target
from smolmon.setup.together import together


@define
class _Gates:
    """Lets the networks of one wave change after those of the wave before.

    `broken` are the nodes because of which nobody is let through any more.
    """

    number: dict[str, int]  # the wave of each node whose network changes
    waiting: list[set[str]]
    opened: list[asyncio.Event]
    broken: list[str] = field(factory=list)

    async def passage(self, name: str) -> None:
        """Wait for one's wave. Raises ApplyError where it never comes."""
        await self.opened[self.number[name]].wait()
        if self.broken:
            because = " and ".join(self.broken)
            raise ApplyError(f"{name}: its network was left untouched, because of {because}")

    def passed(self, name: str, *, failed: bool = False) -> None:
        """The network of a node is changed, or never will be."""
        if failed:
            self.broken.append(name)
        if name not in self.number:
            return
        wave = self.number[name]
        self.waiting[wave].discard(name)
        if not self.waiting[wave] and wave + 1 < len(self.opened):
            self.opened[wave + 1].set()


def _gates(targets: Mapping[str, Target], waves: Sequence[Sequence[str]]) -> _Gates:
    changing = [{n for n in wave if n in targets and targets[n].plan.network} for wave in waves]
    changing = [wave for wave in changing if wave]
    number = {name: n for n, wave in enumerate(changing) for name in wave}
    opened = [asyncio.Event() for _ in changing]
    for first in opened[:1]:
        first.set()
    return _Gates(number, changing, opened)


async def rollout(
    targets: Mapping[str, Target],
    waves: Sequence[Sequence[str]],
    say: Say,
    complain: Say,
    confirm_within: int,
) -> dict[str, str]:
    """What went wrong, by node: one line each, told to `complain` as it happens.

    A network changes only when those of all earlier waves are changed, proven and committed; after
    a failure those of later waves are left as they are. Nobody waits for another node with its
    files and its exporter: where the network must wait, they come first.
    """
    gates = _gates(targets, waves)
    failed: dict[str, str] = {}

    async def network(target: Target) -> None:
        name = target.node.name
        await gates.passage(name)
        try:
            await change_network(target, say, confirm_within)
        except ApplyError:
            gates.passed(name, failed=True)
            raise

    async def early(target: Target) -> None:
        try:
            await change_system(target, say)
        except ApplyError as error:
            gates.passed(target.node.name, failed=True)
            raise ApplyError(f"{error}; its network was left untouched") from error

    async def one(target: Target) -> None:
        name = target.node.name
        wave = gates.number.get(name)
        try:
            if wave:
                await early(target)
            if wave is not None:
                await network(target)
                gates.passed(name)
            if not wave:
                await change_system(target, say)
        except ApplyError as error:
            failed[name] = str(error)
            complain(str(error))
        finally:
            gates.passed(name)

    # Earlier waves first: together() takes a few at a time, and those that wait hold a place.
    pending = [t for t in targets.values() if t.plan.steps]
    pending.sort(key=lambda target: gates.number.get(target.node.name, 0))
    await together(one, pending)
    return failed

"""Before anything changes: read every node, and plan for those that may be touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from smolmon.cluster import Cluster, Node
from smolmon.setup import destination
from smolmon.setup.bundle import Bundle, Identity
from smolmon.setup.destination import Way
from smolmon.setup.errors import FactsError
from smolmon.setup.ssh import Runner, SshError
from smolmon.setup.steps import Plan
from smolmon.setup.system import (
    State,
    System,
    UnsupportedError,
    refused_together,
    system_of,
)
from smolmon.setup.together import together

Wish = Callable[[State], Plan]


@frozen
class Job:
    """What setup is to bring about. Without a `load` it is the network alone.

    The `load`: the agent, and the identity of each node.
    """

    cluster_file: bytes
    load: asyncio.Future[tuple[bytes, Mapping[str, Identity]]] | None = None
    remove: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is about the exporter too."""
        return self.load is not None or self.remove


@frozen
class Target:
    """A node that may be set up: how to run things on it, what it is like, and what to do.

    `wish` tells what is left to do in another state of it. `exporter`: whether that is to run.
    `whole`: whether the state has what only the exporter depends on.
    """

    node: Node
    runner: Runner
    system: System
    state: State
    plan: Plan
    wish: Wish
    exporter: bool = True
    whole: bool = True


@frozen
class Survey:
    """What was found, by node name in the file's order; a refused node has no target."""

    targets: dict[str, Target]
    refused: dict[str, list[str]]  # whole lines, with the node's name
    ways: dict[str, Way]  # of all nodes that `ssh -G` knows a way to


async def survey(
    cluster: Cluster, nodes: Sequence[Node], runners: Mapping[str, Runner], job: Job
) -> Survey:
    """Gather facts from all nodes at once, judge them, and plan. Changes nothing on them."""

    async def one(node: Node) -> tuple[System, State] | list[str]:
        try:
            system = system_of(cluster, node)
            state = await gather(system, runners[node.name], exporter=job.whole)
        except (SshError, UnsupportedError) as error:
            return [str(error)]
        except FactsError as error:
            return [f"{node.name}: {error}"]
        refused = state.removal_refusals() if job.remove else state.refusals()
        return [f"{node.name}: {line}" for line in refused] or (system, state)

    # All of them, not only the chosen: one may be the way to another.
    asked = asyncio.ensure_future(destination.ways(cluster.nodes))
    answers = await together(one, nodes)
    found = dict(zip([node.name for node in nodes], answers, strict=True))
    ways = await asked
    refused = {name: answer for name, answer in found.items() if isinstance(answer, list)}
    if not job.remove:
        # Told before what came of it: such a connection often fails, or is refused for it.
        for node in nodes:
            if node.name in ways and (inside := _inside(cluster, node, ways[node.name])):
                refused[node.name] = inside
    agent, known = await job.load if job.load else (None, {})
    states = {name: answer[1] for name, answer in found.items() if not isinstance(answer, list)}
    if not job.remove:
        for name, lines in refused_together(states).items():
            refused.setdefault(name, [f"{name}: {line}" for line in lines])
    macs = _macs(cluster, states)
    targets = {}
    for node in nodes:
        answer = found[node.name]
        if node.name not in refused and not isinstance(answer, list):
            bundle = Bundle(agent, job.cluster_file, known[node.name], macs) if agent else None
            wish = _wish(bundle, remove=job.remove)
            plan = wish(answer[1])
            exporter = agent is not None
            targets[node.name] = Target(
                node, runners[node.name], *answer, plan, wish, exporter, job.whole
            )
    return Survey(targets, {n.name: refused[n.name] for n in nodes if n.name in refused}, ways)


def _wish(bundle: Bundle | None, *, remove: bool) -> Wish:
    return lambda state: state.removal() if remove else state.plan(bundle)


def _inside(cluster: Cluster, node: Node, way: Way) -> list[str]:
    return [f"{node.name}: {line}" for line in destination.refusals(cluster, node, way)]


def _macs(cluster: Cluster, states: Mapping[str, State]) -> dict[tuple[str, str], str]:
    """The MAC address of each member of a segment, by segment and node, as far as it is known."""
    known = {}
    for segment in cluster.routed:
        for member in segment.members:
            state = states.get(member.node)
            mac = member.mac or (state and state.mac(segment.name))
            if mac:
                known[segment.name, member.node] = mac
    return known


async def gather(system: System, runner: Runner, *, exporter: bool = True) -> State:
    """Read one node. Raises SshError and FactsError."""
    return system.state((await runner.run(system.facts_script(exporter=exporter))).out)


async def look(system: System, runner: Runner, timeout: float) -> State:
    """Read one node's network over a connection made for it. Raises SshError and FactsError."""
    script = system.facts_script(only_network=True)
    return system.state((await runner.run(script, timeout, fresh=True)).out)

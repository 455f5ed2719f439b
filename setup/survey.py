"""Before anything changes: read every node, and plan for those that may be touched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from attrs import frozen

from smolmon.cluster import Cluster, Node
from smolmon.setup.bundle import Bundle, Identity
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


@frozen
class Target:
    """A node that may be set up: how to run things on it, what it is like, and what to do."""

    node: Node
    runner: Runner
    system: System
    state: State
    bundle: Bundle
    plan: Plan


@frozen
class Survey:
    """What was found, by node name in the file's order; a refused node has no target."""

    targets: dict[str, Target]
    refused: dict[str, list[str]]  # whole lines, with the node's name


async def survey(
    cluster: Cluster,
    nodes: Sequence[Node],
    runners: Mapping[str, Runner],
    agent: asyncio.Future[bytes],
    cluster_file: bytes,
    *,
    identities: asyncio.Future[Mapping[str, Identity]],
) -> Survey:
    """Gather facts from all nodes at once, judge them, and plan. Changes nothing on them."""

    async def one(node: Node) -> tuple[System, State] | list[str]:
        try:
            system = system_of(cluster, node)
            state = await gather(system, runners[node.name])
        except (SshError, UnsupportedError) as error:
            return [str(error)]
        except FactsError as error:
            return [f"{node.name}: {error}"]
        lines = state.refusals()
        return [f"{node.name}: {line}" for line in lines] or (system, state)

    answers = await together(one, nodes)
    found = dict(zip([node.name for node in nodes], answers, strict=True))
    states = {name: f[1] for name, f in found.items() if isinstance(f, tuple)}
    for name, lines in refused_together(states).items():
        found[name] = [f"{name}: {line}" for line in lines]
    built, known = await asyncio.gather(agent, identities)
    macs = _macs(cluster, states)
    targets = {}
    for node in nodes:
        if isinstance(pair := found[node.name], tuple):
            system, state = pair
            bundle = Bundle(built, cluster_file, known[node.name], macs)
            plan = state.plan(bundle)
            targets[node.name] = Target(node, runners[node.name], system, state, bundle, plan)
    return Survey(targets, {name: f for name, f in found.items() if isinstance(f, list)})


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


async def gather(
    system: System, runner: Runner, *, fresh: bool = False, timeout: float = 30.0
) -> State:
    """Read one node. Raises SshError and FactsError."""
    result = await runner.run(system.facts_script(), timeout, fresh=fresh)
    return system.state(result.out)

"""Before anything changes: read every node, and plan for those that may be touched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from attrs import frozen

from smolmon.cluster import Cluster, Node
from smolmon.setup.facts import Facts, FactsError
from smolmon.setup.plan import Plan
from smolmon.setup.service import WantedFile
from smolmon.setup.ssh import Runner, SshError
from smolmon.setup.system import System, UnsupportedError, system_of
from smolmon.setup.together import together
from smolmon.setup.wanted import Wanted, wanted


@frozen
class Target:
    """A node that may be set up: how to run things on it, what it is like, and what to do."""

    node: Node
    runner: Runner
    system: System
    wanted: Wanted
    facts: Facts
    files: tuple[WantedFile, ...]
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
) -> Survey:
    """Gather facts from all nodes at once, judge them, and plan. Changes nothing."""

    async def one(node: Node) -> Target | list[str]:
        try:
            system = system_of(node)
            want = wanted(cluster, node.name)
            runner = runners[node.name]
            facts = await gather(system, want, runner)
        except (SshError, UnsupportedError) as error:
            return [str(error)]
        except FactsError as error:
            return [f"{node.name}: {error}"]
        lines = system.refusals(want, facts)
        if lines:
            return [f"{node.name}: {line}" for line in lines]
        files = system.files(want, facts, await asyncio.shield(agent), cluster_file)
        plan = system.plan(want, facts, files)
        return Target(node, runner, system, want, facts, files, plan)

    found = await together(one, nodes)
    by_name = {node.name: result for node, result in zip(nodes, found, strict=True)}
    return Survey(
        targets={name: r for name, r in by_name.items() if isinstance(r, Target)},
        refused={name: r for name, r in by_name.items() if isinstance(r, list)},
    )


async def gather(
    system: System, want: Wanted, runner: Runner, *, fresh: bool = False, timeout: float = 30.0
) -> Facts:
    """Read one node. Raises SshError and FactsError."""
    result = await runner.run(system.facts_script(want), timeout, fresh=fresh)
    return system.facts(result.out)

"""`smolmon bandwidth run`: one test now, by the agents of two nodes, over SSH."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

import click
from attrs import frozen

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import MARGIN, Test, between, timetable
from smolmon.commands.rates import rate
from smolmon.setup.linux.service import AGENT, CLUSTER
from smolmon.setup.shell import command
from smolmon.setup.ssh import Result, Runner, SshError, connections
from smolmon.setup.together import run, together

HOST_LIMITED = 0.95  # of a core: the processor is the limit then, and not the link
STEP = 0.2  # seconds from one look at the clock to the next
# What the agent spends on it besides the test: logging in, starting up, two looks at the node.
AROUND = 4.0
PATIENCE = 10.0  # seconds: as long as the agent waits for the other end


@frozen
class Ends:
    """What both ends said: JSON objects of the agent's `bandwidth end`."""

    source: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def measured(self) -> bool:
        """Whether both have a result."""
        return bool(self.source["measurement"] and self.target["measurement"])


def run_test(cluster: Cluster, source: str, target: str, *, force: bool, as_json: bool) -> int:
    """Test what `source` can send to `target`, print it, and return an exit code."""
    try:
        test = between(cluster, source, target)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not force and (problem := _wait_for_room(cluster, test, as_json)):
        click.echo(problem, err=True)
        return 1
    nodes = [cluster.node(source), cluster.node(target)]
    try:
        with connections(nodes) as runners:
            ends = run(_both(cluster, test, runners, force, as_json))
    except SshError as error:
        click.echo(str(error), err=True)
        return 1
    if as_json:
        click.echo(json.dumps(data(test, ends)))
    else:
        for line in lines(test, ends):
            click.echo(line, err=not ends.measured)
    return 0 if ends.measured and _arrived(ends) >= test.expected else 1


def _wait_for_room(cluster: Cluster, test: Test, quiet: bool) -> str:
    """Wait until no scheduled test is in the way; what to say where that never is."""
    now = time.time()
    free = free_from(cluster, test, now)
    if free is None:
        return (
            f"{test.name}: the timetable leaves no {_needed(cluster):.0f} s free on "
            f"{' and '.join(test.segments)}; make `bandwidth.period` longer, or use --force"
        )
    if free > now:
        if not quiet:
            click.echo(f"waiting {math.ceil(free - now)} s: a scheduled test comes first", err=True)
        time.sleep(free - now)
    return ""


def free_from(cluster: Cluster, test: Test, now: float) -> float | None:
    """The first moment from `now` on with room for `test` beside the scheduled ones (Unix time).

    None where there is no such moment in a whole period.
    """
    table = timetable(cluster)
    moment = now
    for slot in table.slots(now - table.window - table.guard, now + 2 * table.period):
        if not slot.test.conflicts(test):
            continue
        if slot.start - moment >= _needed(cluster):
            break
        moment = max(moment, slot.end + table.guard)
    return moment if moment <= now + table.period else None


def _needed(cluster: Cluster) -> float:
    return AROUND + cluster.bandwidth.duration + MARGIN


async def _both(
    cluster: Cluster, test: Test, runners: Mapping[str, Runner], force: bool, quiet: bool
) -> Ends:
    seconds = cluster.bandwidth.duration + AROUND
    timeout = seconds + MARGIN + PATIENCE + 10

    async def one(node: str) -> Mapping[str, Any]:
        words = ["python3", AGENT, "bandwidth", "end", "--cluster", CLUSTER, "--node", node]
        words += ["--source", test.source, "--target", test.target, *(["--force"] * force)]
        return read_end(node, await runners[node].run(command(*words), timeout))

    # The server first in the list, so that it has a head start.
    both = asyncio.ensure_future(together(one, (test.target, test.source)))
    try:
        await _progress(both, f"{test.source} -> {test.target}", seconds, quiet)
        target, source = await both
    finally:  # with Ctrl-C they are to end, too
        both.cancel()
        await asyncio.wait([both])
    return Ends(source, target)


def read_end(node: str, result: Result) -> Mapping[str, Any]:
    """What the agent on `node` answered. Raises SshError, with the remedy."""
    if result.status == 0:
        try:
            found: Mapping[str, Any] = json.loads(result.out.strip().splitlines()[-1])
            return found
        except (ValueError, IndexError):
            pass
    last = (result.err.strip().splitlines() or ["it said nothing"])[-1]
    if "can't open file" in result.err:
        raise SshError(node, "it has no agent", "run `smolmon setup`")
    if "No such command" in result.err:
        raise SshError(node, "its agent is older than this smolmon", "run `smolmon setup`")
    if "no node" in last or "cluster.yaml" in last:
        raise SshError(node, f"its cluster file differs: {last}", "run `smolmon setup`")
    raise SshError(node, f"its agent failed: {last}", f"try `smolmon verify --node {node}`")


async def _progress(work: asyncio.Future[Any], label: str, seconds: float, quiet: bool) -> None:
    """A bar on a terminal, until `work` is done; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        await asyncio.wait([work])
        return
    steps = int(seconds / STEP)
    with click.progressbar(
        length=steps, label=label, file=sys.stderr, show_eta=False, show_percent=False
    ) as bar:
        for _ in range(steps - 1):
            done, _ = await asyncio.wait([work], timeout=STEP)
            if done:
                break
            bar.update(1)
        await asyncio.wait([work])
        bar.update(steps)


def _arrived(ends: Ends) -> float:
    return float(ends.target["measurement"]["rate"])


def data(test: Test, ends: Ends) -> dict[str, Any]:
    """What --json prints."""
    return {
        "source": test.source,
        "target": test.target,
        "segments": list(test.segments),
        "expected_bytes_per_second": test.expected,
        "as_expected": ends.measured and _arrived(ends) >= test.expected,
        "ends": {test.source: dict(ends.source), test.target: dict(ends.target)},
    }


def lines(test: Test, ends: Ends) -> list[str]:
    """The result for people."""
    name = f"{test.source} -> {test.target} over {' and '.join(test.segments)}"
    if not ends.measured:
        return [f"{name}: not measured: {_why(test, ends)}"]
    sent, got = ends.source["measurement"], ends.target["measurement"]
    fine = got["rate"] >= test.expected
    verdict = "as expected" if fine else "too slow"
    found = [f"{name}: {rate(got['rate'])}, {verdict} (at least {rate(test.expected)})"]
    details = [f"{got['bytes'] / 1e9:.3g} GB arrived"]
    if sent["retransmits"] is not None:
        details.append(f"{sent['retransmits']} TCP segments sent again")
    found.append("  " + ", ".join(details))
    cores = {test.source: sent["cpu"], test.target: got["cpu"]}
    found.append(
        "  processor: "
        + ", ".join(f"{n} {c:.0%} of a core" for n, c in cores.items() if c is not None)
    )
    for node, busy in cores.items():
        if not fine and busy is not None and busy >= HOST_LIMITED:
            found.append(f"  the processor of {node} is the limit here, not the link")
    return found


def _why(test: Test, ends: Ends) -> str:
    """The end that says more: one that was only left alone knows nothing of the reason."""
    said = {test.source: ends.source, test.target: ends.target}
    vague = ("peer", "peer_busy", "no_client", "refused")
    node, end = min(
        ((n, e) for n, e in said.items() if e["reason"]),
        key=lambda item: item[1]["reason"] in vague,
    )
    hint = {
        "training": "; wait, or use --force",
        "link_busy": "; wait, or use --force",
        "unavailable": "; install it: `sudo apt install libiperf0`, on macOS `brew install iperf3`",
    }.get(end["reason"], "")
    return f"{node}: {end['text']}{hint}"

"""`smolmon bandwidth run`: one test now, by the agents of two nodes, over SSH."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import click
from attrs import evolve

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import MARGIN, Test, between, timetable
from smolmon.commands.rates import rate
from smolmon.exporter.bandwidth.outcome import remedy
from smolmon.setup.linux.service import CLUSTER
from smolmon.setup.ssh import PERSIST, Result, Runner, SshError, connections
from smolmon.setup.system import system_of
from smolmon.setup.together import run, together

HOST_LIMITED = 0.95  # of a core: the processor is the limit then, and not the link
STEP = 0.2  # seconds from one look at the clock to the next
# What the agent spends on it besides the test: logging in, starting up, two looks at the node.
AROUND = 4.0
ASKING = 2.0  # seconds that it takes to ask the training server's node before
PATIENCE = 10.0  # seconds: as long as the agent waits for the other end
USAGE = 2  # the exit code of the agent, as of every command, for wrong usage or a wrong file
LOGIN = PERSIST / 2  # seconds before there is room, to log in again: by then the first has ended

Said = Mapping[str, Mapping[str, Any]]  # by node: JSON objects of the agent's `bandwidth end`
# Of two reasons, which to tell: the later, the more likely its end was only left alone.
TELLING = (
    *("unavailable", "training", "link_busy", "unknown", "address", "link_down", "killed", "error"),
    *("unreachable", "connect_timeout", "timeout", "refused", "no_client", "peer", "peer_busy"),
)


def run_test(cluster: Cluster, source: str, target: str, *, force: bool, as_json: bool) -> int:
    """Test what `source` can send to `target`, print it, and return an exit code."""
    try:
        test = between(cluster, source, target)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not force and free_from(cluster, test, time.time()) is None:
        click.echo(
            f"{test.name}: the timetable leaves no {_needed(cluster, test):.0f} s free on "
            f"{' and '.join(test.segments)}; make `bandwidth.period` longer, or use --force",
            err=True,
        )
        return 1
    names = [source, target, *([cluster.server.node] if test.consent and not force else [])]
    try:
        with connections([cluster.node(name) for name in names]) as runners:
            # Logging in may take longer than there is room for, once there is room.
            run(_logged_in(runners))
            if not force:
                _wait_for_room(cluster, test, runners, as_json)
            said = run(_measured(cluster, test, runners, force, as_json))
    except SshError as error:
        asked = error.node not in (source, target)
        hint = f"; --force measures without asking {error.node} whether training runs"
        click.echo(f"{error}{hint if asked else ''}", err=True)
        return 1
    if as_json:
        click.echo(json.dumps(data(test, said)))
    else:
        for line in lines(cluster, test, said):
            click.echo(line, err=not measured(test, said))
    return 0 if measured(test, said) and _arrived(test, said) >= test.expected else 1


def measured(test: Test, said: Said) -> bool:
    """Whether both ends have a result."""
    return all(said.get(node, {}).get("measurement") for node in (test.source, test.target))


async def _logged_in(runners: Mapping[str, Runner]) -> None:
    await together(lambda runner: runner.run("true"), runners.values())


def _wait_for_room(
    cluster: Cluster, test: Test, runners: Mapping[str, Runner], quiet: bool
) -> None:
    """Wait until no scheduled test is in the way, and be logged in then."""
    now = time.time()
    free = free_from(cluster, test, now) or now
    if free > now:
        if not quiet:
            click.echo(f"waiting {math.ceil(free - now)} s: a scheduled test comes first", err=True)
        if free - now > LOGIN:
            time.sleep(free - now - LOGIN)
            run(_logged_in(runners))
        time.sleep(max(0.0, free - time.time()))


def free_from(cluster: Cluster, test: Test, now: float) -> float | None:
    """The first moment from `now` on with room for `test` beside the scheduled ones (Unix time).

    None where there is no such moment in a whole period.
    """
    table = timetable(cluster)
    moment = now
    for slot in table.slots(now - table.window - table.guard, now + 2 * table.period):
        # Here nobody asks at the port where another test may be received: see `_measured`.
        if not slot.test.conflicts(evolve(test, consent=None)):
            continue
        if slot.start - moment >= _needed(cluster, test):
            break
        moment = max(moment, slot.end + table.guard)
    return moment if moment <= now + table.period else None


def _needed(cluster: Cluster, test: Test) -> float:
    return _usual(cluster, test) + MARGIN


def _usual(cluster: Cluster, test: Test) -> float:
    return AROUND + cluster.bandwidth.duration + (ASKING if test.consent else 0.0)


async def _measured(
    cluster: Cluster, test: Test, runners: Mapping[str, Runner], force: bool, quiet: bool
) -> Said:
    """What both ends say; or what the training server's node says, where that is against it."""
    timeout = _needed(cluster, test) + PATIENCE + 10
    server = cluster.server.node

    async def asked(node: str, *words: str) -> Mapping[str, Any]:
        system = system_of(cluster, cluster.node(node))
        start = system.agent("bandwidth", *words, "--cluster", CLUSTER, "--node", node)
        return read_end(node, await runners[node].run(start, timeout))

    async def work() -> Said:
        if test.consent and not force:
            answer = await asked(server, "training")
            if answer["reason"]:
                return {server: answer}
        ends = ("--source", test.source, "--target", test.target, *(["--force"] * force))
        # The server first in the list, so that it has a head start.
        names = (test.target, test.source)
        found = await together(lambda node: asked(node, "end", *ends), names)
        return dict(zip(names, found, strict=True))

    label = f"{test.source} -> {test.target}"
    return await _progress(work(), label, _usual(cluster, test), quiet)


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
    if "No such command" in result.err or "No such option" in result.err:
        raise SshError(node, "its agent is older than this smolmon", "run `smolmon setup`")
    if result.status == USAGE:  # its arguments are right by the file that is here
        raise SshError(node, f"its cluster file differs: {last}", "run `smolmon setup`")
    raise SshError(node, f"its agent failed: {last}", f"try `smolmon verify --node {node}`")


async def _progress(
    work: Coroutine[Any, Any, Said], label: str, seconds: float, quiet: bool
) -> Said:
    """What `work` returns; until then a bar on a terminal, and nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        return await work
    task = asyncio.create_task(work)
    steps = int(seconds / STEP)
    try:
        with click.progressbar(
            length=steps, label=label, file=sys.stderr, show_eta=False, show_percent=False
        ) as bar:
            for _ in range(steps - 1):
                done, _ = await asyncio.wait([task], timeout=STEP)
                if done:
                    break
                bar.update(1)
            await asyncio.wait([task])
            bar.update(steps)
    finally:
        task.cancel()  # of no effect once it is done
        await asyncio.wait([task])
    return task.result()


def _arrived(test: Test, said: Said) -> float:
    return float(said[test.target]["measurement"]["rate"])


def data(test: Test, said: Said) -> dict[str, Any]:
    """What --json prints."""
    fine = measured(test, said)
    return {
        "source": test.source,
        "target": test.target,
        "segments": list(test.segments),
        "expected_bytes_per_second": test.expected,
        "as_expected": fine and _arrived(test, said) >= test.expected,
        "ends": {node: dict(answer) for node, answer in said.items()},
    }


def lines(cluster: Cluster, test: Test, said: Said) -> list[str]:
    """The result for people."""
    name = f"{test.source} -> {test.target} over {' and '.join(test.segments)}"
    if not measured(test, said):
        return [f"{name}: not measured: {_why(cluster, test, said)}"]
    sent, got = said[test.source]["measurement"], said[test.target]["measurement"]
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


def _why(cluster: Cluster, test: Test, said: Said) -> str:
    """What the end that knows most says, and what to do about it."""
    rank = {reason: number for number, reason in enumerate(TELLING)}
    node, answer = min(
        ((n, a) for n, a in said.items() if a["reason"]),
        key=lambda item: rank.get(item[1]["reason"], -1),
    )
    port = cluster.bandwidth.port
    address = f"is {test.target_address} its address, and TCP port {port} free?"
    if node == test.source:  # any port will do
        address = f"is {test.source_address} its address?"
    hint = {
        "training": "wait, or use --force",
        "link_busy": "wait, or use --force",
        "unknown": "use --force to measure all the same",
        "unavailable": remedy(answer["text"]),
        "address": address,
        "connect_timeout": f"does a firewall on {test.target} let TCP port {port} in?",
    }.get(answer["reason"], "`smolmon doctor` looks for a cause")
    return f"{node}: {answer['text']}; {hint}"

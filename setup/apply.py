"""Carry out a node's plan so that nobody is ever cut off.

Network steps run under a rollback that the node itself holds. They are verified over a *new*
connection and only then committed; whatever goes wrong in between, the node goes back to what it
was, by our word or by its own clock. No checkpoint covers files, kernel settings and the exporter:
they are a part of their own, which their inverses undo.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from smolmon.setup.errors import FactsError
from smolmon.setup.script import HELD, last_step, steps_script, undo_script
from smolmon.setup.shell import lines, sections
from smolmon.setup.ssh import Result, SshError
from smolmon.setup.steps import Step
from smolmon.setup.survey import Target, look
from smolmon.setup.system import State
from smolmon.setup.together import to_the_end

CONFIRM_WITHIN = 90  # seconds after which an uncommitted change undoes itself
SETTLE = 10.0  # seconds that a node gets to show what was applied
LOOK = 15.0  # seconds that one look may take; a Mac needs some to tell of its Thunderbolt ports
UNDOING = 30.0  # seconds that a node's own rollback may take, until it can be reached again
PAUSE = 0.2  # seconds between two looks

Say = Callable[[str], None]


class ApplyError(Exception):
    """A node's plan was not carried out. One line: what happened, and how the node is now."""


async def change_network(target: Target, say: Say, confirm_within: int = CONFIRM_WITHIN) -> None:
    """Carry out the network part of a node's plan; `say` gets progress. Raises ApplyError."""
    name, state = target.node.name, target.state
    steps = target.plan.network
    began = time.monotonic()
    script = state.armed(steps, confirm_within)
    try:
        # Once armed, it must be known by which token before it can be rolled back.
        result, stop = await to_the_end(target.runner.run(script, confirm_within - 5.0))
    except SshError as error:
        how = await _by_itself(target, confirm_within)
        raise ApplyError(
            f"{name}: the connection broke while its network changed; {how}"
        ) from error
    token = _token(result.out)
    if token is None:
        raise ApplyError(f"{name}: {target.system.unarmed(_said(result))}")
    if result.status != 0:
        how = (
            await _restored(target, "rolled back")
            if any(n == "rolled-back" for n, _, _ in sections(result.out))
            else await _roll_back(target, token, confirm_within)
        )
        raise ApplyError(f"{name}: {_failed(steps, result)}; {how}")
    try:
        if stop:
            raise asyncio.CancelledError
        trouble = await _verified(target)
    except asyncio.CancelledError:
        say(f"{name}: interrupted; {await _roll_back(target, token, confirm_within)}")
        raise
    if trouble is None:
        trouble, stop = await to_the_end(_committed(target, token))
    if trouble is not None:
        how = await _roll_back(target, token, confirm_within)
        raise ApplyError(f"{name}: {trouble}; {how}")
    say(
        f"{name}: network: {_count(steps)} applied, seen over a new connection, committed "
        f"({time.monotonic() - began:.1f} s)"
    )
    if stop:
        raise asyncio.CancelledError


def _token(out: str) -> str | None:
    return next((argument for name, argument, _ in sections(out) if name == "armed"), None)


async def _verified(target: Target) -> str | None:
    """None once the node, asked over a new connection, is as planned; else what is not."""
    trouble = await _until(target, ())
    return trouble and f"after it was applied, {trouble}"


async def _restored(target: Target, how: str) -> str:
    """After a rollback, which the node goes on with by itself: whether all is as before."""
    trouble = await _until(target, target.plan.network)
    return f"{how}: the network is {'as before' if trouble is None else 'not as before'}" + (
        "" if trouble is None else f": {trouble}"
    )


async def _until(target: Target, pending: tuple[Step, ...]) -> str | None:
    """Wait until exactly the network steps `pending` are left to do; else what there is.

    Each look is over a new connection.
    """
    deadline = time.monotonic() + SETTLE
    while True:
        try:
            state = await look(target.system, target.runner, LOOK)
            rest = target.wish(state).network
            if rest == pending:
                return None
            trouble = rest[0].why if rest else "more is as wanted than expected"
        except (SshError, FactsError) as error:
            trouble = str(error)
        if time.monotonic() > deadline:
            return trouble
        await asyncio.sleep(PAUSE)


async def _committed(target: Target, token: str) -> str | None:
    try:
        result = await target.runner.run(target.state.commit(token), 10.0)
    except SshError as error:
        return f"it could not be committed: {error}"
    return None if result.status == 0 else f"it could not be committed: {_said(result)}"


async def _roll_back(target: Target, token: str | None, confirm_within: int) -> str:
    """Roll back now if the node can be reached, else wait until it has done so; says which."""
    if token is None:
        return "nothing was changed"
    with contextlib.suppress(SshError):
        script = target.state.rollback(token)
        result = await target.runner.run(script, 10.0, fresh=True)
        if result.status == 0:
            return await _restored(target, "rolled back")
    return await _by_itself(target, confirm_within)


async def _by_itself(target: Target, confirm_within: int) -> str:
    """Wait for the node's own rollback; says how that went."""
    deadline = time.monotonic() + confirm_within + UNDOING
    while time.monotonic() < deadline:
        with contextlib.suppress(SshError):
            result = await target.runner.run(target.system.settled(), 10.0, fresh=True)
            if result.status == 0:
                return await _restored(target, "the node rolled itself back")
        await asyncio.sleep(PAUSE)
    return (
        f"it was to roll itself back within {confirm_within} s, but does not answer since; "
        "look at it with a screen and a keyboard"
    )


async def change_system(target: Target, say: Say) -> None:
    """Carry out the rest of a node's plan: files, kernel settings, exporter. Raises ApplyError."""
    name, steps = target.node.name, target.plan.system
    if not steps:
        return
    began = time.monotonic()
    try:
        script = [target.system.alone(), steps_script(steps)]
        if target.exporter:
            script.append(target.system.ready(SETTLE))
        # How it is then comes back with the same answer.
        script.append(target.system.facts_script(exporter=target.whole))
        result = await target.runner.run(lines(script), 120.0)
        if result.status == HELD:
            raise ApplyError(
                f"{name}: another setup is installing on it at this moment; nothing was changed by "
                "this one: wait for it, and run setup again"
            )
        begun = last_step(result.out)
        done = steps if result.status == 0 else steps[: begun[0] + 1 if begun else 0]
        trouble: str | None
        if result.status != 0:
            trouble = _failed(steps, result)
        else:
            state = target.system.state(result.out)
            trouble = await _missing(target, state)
        if trouble is None:
            await _tidied(target, state)
            say(f"{name}: system: {_count(steps)} done ({time.monotonic() - began:.1f} s)")
            return
        undone = await target.runner.run(undo_script(done), 60.0)
    except (SshError, FactsError) as error:
        raise ApplyError(
            f"{error}. It may have some of its files and not others: run setup again"
        ) from error
    how = _undone(done) if undone.status == 0 else f"not all could be undone: {_said(undone)}"
    raise ApplyError(f"{name}: {trouble}; {how}")


async def _missing(target: Target, state: State) -> str | None:
    """None if nothing is left to do and the exporter listens; else what is missing."""
    rest = target.wish(state).system
    if target.exporter and not state.listening:
        words = (await target.runner.run(state.journal())).out.strip().splitlines()
        last = f"; its last words: {words[-1]}" if words else ""
        return f"the exporter does not listen {SETTLE:.0f} s after it was started{last}"
    return f"after it was applied, {rest[0].why}" if rest else None


async def _tidied(target: Target, state: State) -> None:
    script = state.tidy()
    tidied = await target.runner.run(script) if script else None
    if tidied and tidied.status != 0:
        raise ApplyError(
            f"{target.node.name}: all is ready, but its former files are still there: "
            f"{_said(tidied)}"
        )


def _undone(done: tuple[Step, ...]) -> str:
    if all(step.undo for step in done):
        return "undone"
    return "what it removed before is gone: run it again" if done else "nothing was changed"


def _failed(steps: tuple[Step, ...], result: Result) -> str:
    begun = last_step(result.out)
    if begun is None:
        return f"the first step did not begin: {_said(result)}"
    number, said = begun
    words = said.strip().splitlines()
    return f"`{steps[number].command}` failed: {words[-1] if words else _said(result)}"


def _said(result: Result) -> str:
    words = (result.err or result.out).strip().splitlines()
    return words[-1] if words else f"exit status {result.status}"


def _count(steps: tuple[Step, ...]) -> str:
    return "1 step" if len(steps) == 1 else f"{len(steps)} steps"

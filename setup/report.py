"""Plans and checks as text and as plain data for JSON. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

from smolmon.setup.steps import Plan, Step
from smolmon.setup.verify import Check, Verdict


def plan_lines(name: str, destination: str, plan: Plan) -> Iterator[str]:
    """One node's plan, each step with its reason."""
    if not plan.steps:
        yield f"{name}: nothing to do"
    else:
        count = len(plan.steps)
        yield f"{name} ({destination}): {count} {'step' if count == 1 else 'steps'}"
    for step in plan.network:
        yield from _step(step, "the checkpoint")
    for step in plan.system:
        yield from _step(step, "running `smolmon setup` again")
    for note in plan.notes:
        yield f"{name}: note: {note}"


def _step(step: Step, otherwise: str) -> Iterator[str]:
    yield f"  # {step.why}"
    yield f"  {shown(step)}"
    yield f"      undone by: {step.undo or otherwise}"


def shown(step: Step) -> str:
    """The command as a person would read it, with the size of what it is fed."""
    if step.content is None:
        return step.command
    return f"{step.command}  # from standard input, {len(step.content)} bytes"


def plan_data(plan: Plan) -> dict[str, object]:
    """One node's plan for JSON: what files hold only by its hash."""
    return {
        "network": [_step_data(step) for step in plan.network],
        "system": [_step_data(step) for step in plan.system],
        "notes": list(plan.notes),
    }


def _step_data(step: Step) -> dict[str, object]:
    return {
        "command": step.command,
        "why": step.why,
        "undo": step.undo,
        "sha256": None if step.content is None else hashlib.sha256(step.content).hexdigest(),
        "bytes": None if step.content is None else len(step.content),
    }


def check_data(check: Check) -> dict[str, object]:
    """One line of the table for JSON."""
    return {
        "node": check.node,
        "what": check.what,
        "expected": check.expected,
        "seen": check.seen,
        "verdict": check.verdict.value,
        "reason": check.reason,
    }


def table(checks: Sequence[Check]) -> Iterator[str]:
    """The checks in columns; the reason of a difference on the line below."""
    rows = [("", "node", "check", "expected", "seen")]
    rows += [(_MARKS[c.verdict], c.node, c.what, c.expected, c.seen) for c in checks]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
        if number and checks[number - 1].reason:
            yield f"{' ' * (widths[0] + 2)}{checks[number - 1].reason}"


_MARKS = {Verdict.PASS: "ok", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "????"}


def summary(checks: Sequence[Check], silent: Sequence[str] = ()) -> str:
    """How many checks came out as expected; `silent` holds a line for each node without any."""
    bad = [c for c in checks if c.verdict is not Verdict.PASS]
    if bad:
        said = f"{len(bad)} of {len(checks)} checks are not as expected"
    elif silent:
        said = f"{len(checks)} checks are as expected" if checks else "nothing was checked"
    else:
        said = f"all {len(checks)} checks are as expected"
    if silent:
        said += f"; {len(silent)} {'node' if len(silent) == 1 else 'nodes'} did not answer"
    return said


def one_line(text: str) -> str:
    """Text from elsewhere without anything that could steer a terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)

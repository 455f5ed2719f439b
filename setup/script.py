"""Steps as one script, and which of them failed. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from smolmon.setup.shell import lines, sections
from smolmon.setup.steps import Step

# The exit status of a script that found another setup at work (sysexits.h, EX_TEMPFAIL).
HELD = 75

# A shell function: base64 from its standard input. macOS before 13 calls that option -D.
DECODED = (
    "decoded() { if base64 -d </dev/null >/dev/null 2>&1; then base64 -d; "
    "else /usr/bin/openssl base64 -d; fi; }"
)


def encoded(content: bytes) -> str:
    """`content` in lines for `decoded`. None of them can be the mark that ends it."""
    return base64.encodebytes(content).decode()


def steps_script(steps: Sequence[Step], failed: str = "true", unless: str = "true") -> str:
    """All steps in order, up to the first that fails; then `failed`, and exit status 1.

    `unless` runs before each step; what it prints belongs to that step, and it may call `failed`.
    """
    return lines(
        [
            f"failed() {{ {failed}; exit 1; }}",
            DECODED,
            f"before() {{ {unless}; }}",
            *map(_step, range(len(steps)), steps),
        ]
    )


def _step(number: int, step: Step) -> str:
    if step.content is None:
        return f"echo @@step {number}\nbefore\n{{ {step.command}; }} 2>&1 || failed"
    return (
        f"echo @@step {number}\nbefore\n"
        f"{{ decoded | {{ {step.command}; }}; }} 2>&1 <<'@@end' || failed\n"
        f"{encoded(step.content)}@@end"
    )


def undo_script(steps: Sequence[Step]) -> str:
    """The inverses of `steps`, last first. One that fails does not keep the others from running."""
    return lines(f"{step.undo} || failed=1" for step in reversed(steps) if step.undo) + (
        "\nexit ${failed:-0}"
    )


def last_step(out: str) -> tuple[int, str] | None:
    """The number of the last step that a script began, and what that printed."""
    begun = [(int(number), text) for name, number, text in sections(out) if name == "step"]
    return begun[-1] if begun else None

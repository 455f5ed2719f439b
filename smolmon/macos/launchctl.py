"""`/bin/launchctl print system/LABEL` and `print-disabled system`: jobs of launchd.

launchctl(1) says that this output is no interface and may change: only three lines of it are read.
"""

from __future__ import annotations

import re

from attrs import frozen

from smolmon.macos.text import number

_DISABLED = re.compile(r'"([^"]+)" => (?:disabled|true)')


@frozen
class Job:
    """A job that launchd knows. `state` is its own word (`running`, `not running`, `waiting`,
    `spawn scheduled`); `last_exit` its text on how the last run ended (`0`, `78: EX_CONFIG`,
    `(never exited)`)."""

    state: str | None
    pid: int | None
    last_exit: str | None

    @property
    def running(self) -> bool:
        """Whether its process runs now."""
        return self.state == "running"


def parse(text: str) -> Job | None:
    """The job; None if launchd has none of that label (`Could not find service ...`).

    Seen: `system/LABEL = {`, then `name = value` and further blocks in braces, which may have a
    `state` of their own: only the outermost block is the job's.
    """
    depth = 0
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        word = line.strip()
        if word.endswith("{"):
            depth += 1
        elif word == "}":
            depth -= 1
        elif depth == 1:
            name, equals, value = word.partition(" = ")
            if equals:
                fields.setdefault(name, value)
    if "state" not in fields:
        return None
    return Job(fields["state"], number(fields.get("pid", "")), fields.get("last exit code"))


def disabled(text: str) -> frozenset[str]:
    """The labels that `launchctl print-disabled system` says are not to be loaded at boot.

    Seen: lines `"LABEL" => disabled` (macOS 13 and newer) or `"LABEL" => true` (older); what is
    `enabled` or `false` there was only disabled once.
    """
    found = (_DISABLED.fullmatch(line.strip()) for line in text.split("\n"))
    return frozenset(match[1] for match in found if match is not None)

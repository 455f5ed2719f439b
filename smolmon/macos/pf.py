"""`/sbin/pfctl -s rules`, `-s info`, `-s References`: the packet filter."""

from __future__ import annotations

import re

_ENABLED = re.compile(r"^Status: (Enabled|Disabled)\b", re.M)
# PID, Process Name, TOKEN, TIMESTAMP (`0 days 00:03:31`); the name may have blanks in it.
_HELD = re.compile(r"^\d+ .* (\d+) +\d+ days \d+:\d+:\d+\s*$", re.M)
# What pf puts into a rule that was written without it, and what makes no difference to ours.
_SILENT = re.compile(r" (?:drop|inet|flags S/SA|keep state)(?= |$)")


def enabled(text: str) -> bool | None:
    """Whether pf filters, of `-s info`. Recorded: `Status: Enabled for 0 days 00:02:03 ...`."""
    found = _ENABLED.search(text)
    return found[1] == "Enabled" if found else None


def references(text: str) -> frozenset[str]:
    """The tokens of those who keep pf enabled, of `-s References`.

    Recorded: a line for each under a heading; `No pf starter references held` for none.
    """
    return frozenset(_HELD.findall(text))


def rules(text: str) -> tuple[str, ...]:
    """The rules of `-s rules`, or of a file with one rule a line, in a form that can be compared.

    pf prints rules with what it takes for granted (pf.conf(5)): `block drop in quick inet from`,
    `flags S/SA keep state`; a host has no length.
    """
    found = []
    for line in text.splitlines():
        rule = " ".join(line.partition("#")[0].split())
        if rule:
            found.append(_SILENT.sub("", rule).replace("/32", ""))
    return tuple(found)

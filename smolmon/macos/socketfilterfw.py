"""`/usr/libexec/ApplicationFirewall/socketfilterfw`: the application firewall.

Not open source: seen on macOS 12 to 26, reads without root. On Macs managed by an organisation it
answers with prose about that: everything is None then. None is "not known", never "off".
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

_STATE = re.compile(r"\(State = ([012])\)")
_STEALTH = re.compile(r"stealth mode (?:is )?(on|off|enabled|disabled)\b", re.IGNORECASE)
_BLOCK_ALL = re.compile(
    r"block all (?:state set to )?(enabled|disabled)\b|set to (block all)", re.IGNORECASE
)
_APP = re.compile(r"[0-9]+\s*:\s*(/.*)")
_VERDICT = re.compile(r"\(\s*(Allow|Block) incoming connections\s*\)", re.IGNORECASE)


class FirewallState(Enum):
    """The global state, by the tool's number."""

    OFF = 0
    ON = 1
    BLOCK_ALL = 2


@frozen
class AppRule:
    """What the firewall does with connections to one program."""

    path: str
    allowed: bool


def global_state(text: str) -> FirewallState | None:
    """`--getglobalstate`: `Firewall is enabled. (State = 1)`."""
    match = _STATE.search(text)
    return FirewallState(int(match[1])) if match is not None else None


def stealth_mode(text: str) -> bool | None:
    """`--getstealthmode`: `Firewall stealth mode is on`, before macOS 13 `Stealth mode enabled`.
    With it on, the machine answers no ping."""
    match = _STEALTH.search(text)
    return match[1].lower() in ("on", "enabled") if match is not None else None


def block_all(text: str) -> bool | None:
    """`--getblockall`: `Firewall has block all state set to enabled.`, older releases `Block all
    ENABLED!` and `Firewall is set to block all non-essential incoming connections`."""
    match = _BLOCK_ALL.search(text)
    return match[2] is not None or match[1].lower() == "enabled" if match is not None else None


def apps(text: str) -> tuple[AppRule, ...]:
    """`--listapps`: a heading, then `1 : /PATH` and `( Allow incoming connections )` in the next
    line. An entry without a verdict is left out; a path may itself hold brackets."""
    found: list[AppRule] = []
    path: str | None = None
    for line in map(str.strip, text.split("\n")):
        if (app := _APP.fullmatch(line)) is not None:
            path = app[1]
        elif (verdict := _VERDICT.fullmatch(line)) is not None and path is not None:
            found.append(AppRule(path, verdict[1].lower() == "allow"))
            path = None
        elif line:
            path = None
    return tuple(found)

"""Segments kept apart on a Linux gateway: the steps that bring it about or end it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from smolmon.setup.linux import fence
from smolmon.setup.linux.facts import Facts
from smolmon.setup.steps import Step

FILES = (fence.RULES, fence.UNIT_FILE)


def fence_steps(facts: Facts, changed: set[str]) -> Iterator[Step]:
    """Make systemd and the kernel do what the files say; `changed` are those just installed."""
    seen = facts.fence
    reload = facts.as_root("systemctl", "daemon-reload")
    if not seen.enabled:
        # Enabling makes systemd read its units again too.
        yield Step(
            facts.as_root("systemctl", "enable", "-q", fence.UNIT),
            f"{fence.UNIT} does not start at boot",
            facts.as_root("systemctl", "disable", "-q", fence.UNIT),
        )
    elif seen.reload_needed or fence.UNIT_FILE in changed:
        yield Step(reload, f"{fence.UNIT} changed", reload)
    again = facts.as_root("systemctl", "reload", fence.UNIT)
    if not seen.active:
        yield Step(
            facts.as_root("systemctl", "restart", fence.UNIT),
            f"{fence.UNIT} is not active, so nothing keeps segments apart",
            facts.as_root("systemctl", "stop", fence.UNIT),
        )
    elif changed & set(FILES):
        yield Step(again, "the kernel's rules predate those of the isolation", again)
    elif differs := fence.difference(seen.made, seen.live):
        yield Step(again, f"isolation: {differs}", again)


def resumed(facts: Facts) -> list[str]:
    """What brings the former rules back once the former files are there again."""
    again = [facts.as_root("systemctl", "daemon-reload")]
    if facts.fence.active:
        again.append(facts.as_root("systemctl", "reload", fence.UNIT))
    return again


def without_fence(facts: Facts, why: str) -> Iterator[Step]:
    """End it: the unit takes its rules away as it stops. Its files are left."""
    seen = facts.fence
    if seen.active:
        yield Step(
            facts.as_root("systemctl", "stop", fence.UNIT),
            why,
            facts.as_root("systemctl", "start", fence.UNIT),
        )
    elif seen.live:
        yield Step(facts.as_root(*fence.delete()), why)
    if seen.enabled:
        yield Step(
            facts.as_root("systemctl", "disable", "-q", fence.UNIT),
            f"{fence.UNIT} starts at boot",
            facts.as_root("systemctl", "enable", "-q", fence.UNIT),
        )

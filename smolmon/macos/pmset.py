"""`/usr/bin/pmset -g`: what the machine does when nobody uses it."""

from __future__ import annotations

import re

from attrs import frozen

_SETTING = re.compile(r"\s+(\S+(?: \S+)*)\s+([0-9]{1,9})(?: \((.*)\))?")


@frozen
class Power:
    """The settings in use, by the tool's names (pmset(1)); numbers only. `prevented_by` are the
    programs that keep the machine awake now."""

    settings: dict[str, int]
    prevented_by: tuple[str, ...] = ()

    @property
    def sleeps(self) -> bool | None:
        """Whether the machine goes to sleep by itself: `sleep` minutes, 0 for never."""
        if self.settings.get("SleepDisabled") == 1:
            return False
        minutes = self.settings.get("sleep")
        return minutes > 0 if minutes is not None else None


def parse(text: str) -> Power:
    """The settings, of lines ` sleep   1 (sleep prevented by powerd, sharingd)` (seen).

    Names may hold spaces (`Sleep On Power Button`). `pmset -g custom` prints a section for each
    power source, which this does not tell apart: the first one counts.
    """
    settings: dict[str, int] = {}
    prevented: list[str] = []
    for line in text.split("\n"):
        match = _SETTING.fullmatch(line.rstrip())
        if match is None:
            continue
        settings.setdefault(match[1], int(match[2]))
        who = (match[3] or "").partition("sleep prevented by ")[2]
        if match[1] == "sleep" and who:
            prevented += dict.fromkeys(name.strip() for name in who.split(","))
    return Power(settings, tuple(prevented))

"""`/sbin/pfctl`, after pfctl(8): anchors with `pass` and `block` rules, carried by nft.

Rules act only while pf is enabled, and an anchor's only if the main rule set names it: that of
/etc/pf.conf on a Mac has `anchor "com.apple/*"` and nothing else. Everything is lost at reboot.
"""

from __future__ import annotations

import fnmatch
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from smolmon.lab.mac import pf_rules, state
from smolmon.lab.mac.kernel import KernelError, run
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain, say

FILE = "pf.json"
TABLE = "smolmon_mac_pf"
BARE: Table = {"enabled": False, "tokens": [], "main": None, "anchors": {}}
APPLE = ('anchor "com.apple/*"',)


def main(argv: Sequence[str]) -> int:
    """Run `pfctl argv`."""
    if not state.is_root():
        complain("pfctl: /dev/pf: Permission denied")
        return 1
    with state.locked():
        settings = {**BARE, **state.read(FILE, state.VOLATILE)}
        try:
            code = _run(_Options(argv), settings)
        except (pf_rules.SyntaxProblemError, OSError, KernelError) as error:
            complain(f"pfctl: {error}")
            return 1
        state.write(FILE, settings, state.VOLATILE)
    return code


class _Options:
    """The command line, by getopt(3) with pfctl's letters."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.flags: set[str] = set()
        self.values: dict[str, str] = {}
        words = list(argv)
        while words:
            word = words.pop(0).removeprefix("-")
            while word:
                letter, word = word[0], word[1:]
                if letter in "afFsXktTpDiox":
                    self.values[letter] = word or (words.pop(0) if words else "")
                    word = ""
                else:
                    self.flags.add(letter)


def _run(given: _Options, settings: Table) -> int:
    anchor = given.values.get("a")
    if "s" in given.values:
        return _show(given.values["s"], anchor, settings)
    if "F" in given.values:
        _flush(given.values["F"], anchor, settings)
    if "f" in given.values:
        name = given.values["f"]
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        lines = pf_rules.statements(text)
        pf_rules.translate(lines)
        if "n" in given.flags:
            return 0
        if anchor is None:
            settings["main"] = lines
        else:
            settings["anchors"][anchor] = lines
    if given.flags & {"e", "E"}:
        if settings["enabled"] and "e" in given.flags:
            complain("pfctl: pf already enabled")
        settings["enabled"] = True
        if "E" in given.flags:
            settings["tokens"].append(str(random.getrandbits(60)))
            complain("pf enabled")
            complain(f"Token : {settings['tokens'][-1]}")
        else:
            complain("pf enabled")
    if "d" in given.flags:
        settings.update(enabled=False, tokens=[])
        complain("pf disabled")
    if "X" in given.values:
        return _release(given.values["X"], settings)
    _carry(settings)
    return 0


def _release(token: str, settings: Table) -> int:
    if token not in settings["tokens"]:
        complain("pfctl: the token is not valid")
        return 1
    settings["tokens"].remove(token)
    settings["enabled"] = bool(settings["tokens"])
    complain("disabled" if not settings["enabled"] else "pf still enabled")
    _carry(settings)
    return 0


def _show(what: str, anchor: str | None, settings: Table) -> int:
    if what.startswith("r"):
        rules = settings["anchors"].get(anchor, []) if anchor else settings["main"] or APPLE
        for line in rules:
            say(pf_rules.printed(line))
    elif what.startswith("i"):
        say(f"Status: {'Enabled for 0 days 00:00:01' if settings['enabled'] else 'Disabled'}")
    elif what.startswith("A"):
        for name in settings["anchors"]:
            say(f"  {name}")
    elif what.startswith("R"):
        if not settings["tokens"]:
            say("No pf starter references held")
            return 0
        say(f"TOKENS:\n{'PID':<8} {'Process Name':<28} {'TOKEN':<24} TIMESTAMP")
        for token in reversed(settings["tokens"]):
            say(f"{4063:<8} {'pfctl':<28} {token:<24} 0 days 00:00:00")
    return 0


def _flush(what: str, anchor: str | None, settings: Table) -> None:
    if what.startswith(("r", "a")):
        if anchor is None:
            settings["main"] = []
        else:
            settings["anchors"].pop(anchor, None)
        complain("rules cleared")


def _carry(settings: Table) -> None:
    """Put the rules that act into nft."""
    script = f"add table inet {TABLE}\ndelete table inet {TABLE}\n"
    if settings["enabled"]:
        lines: list[str] = []
        main_rules = APPLE if settings["main"] is None else settings["main"]
        for line in main_rules:
            name = pf_rules.anchor(line)
            if name is None:
                lines.append(line)
                continue
            for one, rules in sorted(settings["anchors"].items()):
                if fnmatch.fnmatchcase(one, name):
                    lines += rules
        script += pf_rules.ruleset(TABLE, pf_rules.translate(lines))
    run(["nft", "-f", "-"], script)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

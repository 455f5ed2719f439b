"""`/usr/libexec/ApplicationFirewall/socketfilterfw`, after recorded output.

Keeps what it is told. Of that only the stealth mode acts: pings are not answered.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from smolmon.lab.mac import state
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import say

FILE = "firewall.json"
NO_ECHO = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
BARE: Table = {"state": 0, "stealth": False, "block_all": False, "apps": {}}


def main(argv: Sequence[str]) -> int:
    """Run `socketfilterfw argv`: several options, each with its word, are done in turn."""
    words = list(argv)
    while words:
        option = words.pop(0)
        if option in READS:
            READS[option]({**BARE, **state.read(FILE)})
        elif option in WRITES and words:
            if not state.is_root():
                say("Must be root to change settings.")
                return 1
            with state.locked():
                settings = {**BARE, **state.read(FILE)}
                WRITES[option](settings, words.pop(0))
                state.write(FILE, settings)
        else:
            say("usage: socketfilterfw [--getglobalstate] [--listapps] [--add path] ...")
            return 1
    return 0


def restore() -> None:
    """Put what acts into the kernel, as at boot."""
    NO_ECHO.write_text("1" if {**BARE, **state.read(FILE)}["stealth"] else "0")


def _global(settings: Table) -> None:
    number = 2 if settings["state"] and settings["block_all"] else settings["state"]
    words = ("is disabled", "is enabled", "is blocking all non-essential incoming connections")
    say(f"Firewall {words[number]}. (State = {number})")


def _stealth(settings: Table) -> None:
    say(f"Firewall stealth mode is {'on' if settings['stealth'] else 'off'}")


def _block_all(settings: Table) -> None:
    word = "enabled" if settings["block_all"] else "disabled"
    say(f"Firewall has block all state set to {word}.")


def _list(settings: Table) -> None:
    say(f"Total number of apps = {len(settings['apps'])} \n")
    for number, (path, allowed) in enumerate(settings["apps"].items(), start=1):
        word = "Allow" if allowed else "Block"
        say(f"{number} : {path} \n             ({word} incoming connections) \n")


def _app_blocked(settings: Table, path: str) -> None:
    allowed = settings["apps"].get(path)
    if allowed is None:
        say("The application is not part of the firewall")
    else:
        say(f"Incoming connection to the application is {'permitted' if allowed else 'blocked'}")


def _set_global(settings: Table, word: str) -> None:
    settings["state"] = int(word == "on")
    _global(settings)


def _set_stealth(settings: Table, word: str) -> None:
    settings["stealth"] = word == "on"
    NO_ECHO.write_text("1" if settings["stealth"] else "0")
    say(f"Stealth mode {'enabled' if settings['stealth'] else 'disabled'}")


def _set_block_all(settings: Table, word: str) -> None:
    settings["block_all"] = word == "on"
    say(f"Firewall has set to {'block all' if word == 'on' else 'allow all'}")


def _add(settings: Table, path: str) -> None:
    if not Path(path).exists():
        say("The file path you specified does not exist")
        return
    # As seen: it is the file behind a link that is listed.
    settings["apps"].setdefault(str(Path(path).resolve()), True)
    say(f"Application at path ( {path} ) added to firewall")


def _remove(settings: Table, path: str) -> None:
    if settings["apps"].pop(str(Path(path).resolve()), None) is None:
        say("The application is not part of the firewall")
    else:
        say(f"Application at path ( {path} ) removed from firewall")


def _verdict(settings: Table, path: str, allowed: bool) -> None:
    real = str(Path(path).resolve())
    if real not in settings["apps"]:
        say("The application is not part of the firewall")
        return
    settings["apps"][real] = allowed
    say(f"Incoming connection to the application is {'permitted' if allowed else 'blocked'}")


READS = {
    "--getglobalstate": _global,
    "--getstealthmode": _stealth,
    "--getblockall": _block_all,
    "--listapps": _list,
}
WRITES = {
    "--setglobalstate": _set_global,
    "--setstealthmode": _set_stealth,
    "--setblockall": _set_block_all,
    "--add": _add,
    "--remove": _remove,
    "--unblockapp": lambda settings, path: _verdict(settings, path, allowed=True),
    "--blockapp": lambda settings, path: _verdict(settings, path, allowed=False),
    "--getappblocked": _app_blocked,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

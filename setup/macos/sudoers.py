"""The commands that setup runs as root on a Mac, as a sudoers file. Pure.

It keeps a slip of the hand or of a script small. It is no fence against somebody who has the
user's SSH key: who may write a LaunchDaemon may do anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from smolmon.setup.macos import launchd, tools
from smolmon.setup.macos.rollback import FOLDER, SCRIPT
from smolmon.setup.macos.service import LEFTOVERS
from smolmon.setup.macos.tools import DIRECTORIES, KEY, LABELS, LOG, LOGS, PATHS, daemon_file

FILE = "/etc/sudoers.d/smolmon"
_TOKEN = "[0-9a-f]" * 16
_GROUP = "[a-z]*"  # that of `nobody`
_NETWORKSETUP = (
    *("-setmanual", "-setdhcp", "-setbootp", "-setv4off", "-setmanualwithdhcprouter"),
    *("-setadditionalroutes", "-setv6LinkLocal", "-setv6automatic"),
    *("-createnetworkservice", "-removenetworkservice", "-setnetworkserviceenabled"),
)


def sudoers(user: str) -> str:
    """A file for /etc/sudoers.d, by which `user` runs these commands without a password.

    Check it with `visudo -cf FILE` before it is put in place.
    """
    who = re.sub(r"([^A-Za-z0-9_.-])", r"\\\1", user)
    entries = ", \\\n    ".join(commands())
    return (
        "# What `smolmon setup` runs as root on this Mac. It amounts to root, since it installs\n"
        "# daemons; it keeps mistakes small, not somebody who has this user's SSH key.\n"
        f"Cmnd_Alias SMOLMON = \\\n    {entries}\n"
        f"{who} ALL = (root) NOPASSWD: SMOLMON\n"
    )


def command_to_install() -> str:
    """What to do with the file, on the node."""
    return f"visudo -cf FILE && sudo install -m 0440 FILE {FILE}"


def commands() -> Iterator[str]:
    """Every command, in sudoers' own form: `*` stands for anything, blanks too."""
    for words in _commands():
        program, *arguments = words
        # These mean something there, but for the patterns, which are meant.
        yield " ".join([program, *(re.sub(r"([,:=\\])", r"\\\1", a) for a in arguments)])


def _commands() -> Iterator[tuple[str, ...]]:
    yield (tools.TRUE,)
    yield (tools.SHASUM, "-a", "256", *PATHS)
    yield (tools.TAIL, "-n", "5", LOG)
    for option in _NETWORKSETUP:
        yield (tools.NETWORKSETUP, option, "*")
    for word in ("add", "delete"):
        for kind in ("-net", "-host"):
            yield (tools.ROUTE, "-n", word, kind, "*")
    yield (tools.IFCONFIG, "[a-z]*", "inet", "*", "-alias")
    yield (tools.IFCONFIG, "[a-z]*", "inet", "*", "netmask", "*", "alias")
    for value in "01":
        yield (tools.SYSCTL, "-w", f"net.inet.ip.forwarding={value}")
    yield (tools.ARP, "-S", "[0-9]*", "ifscope", "[a-z]*")
    yield (tools.ARP, "-d", "[0-9]*", "ifscope", "[a-z]*")
    yield from _packet_filter()
    for option in ("--add", "--unblockapp", "--blockapp", "--remove"):
        yield (tools.SOCKETFILTERFW, option, "/*")
    yield from _launchd()
    yield from _files()
    yield from _rollback()


def _packet_filter() -> Iterator[tuple[str, ...]]:
    for what in ("info", "References"):
        yield (tools.PFCTL, "-s", what)
    yield (tools.PFCTL, "-a", tools.ANCHOR, "-s", "rules")
    yield (tools.PFCTL, "-q", "-a", tools.ANCHOR, "-F", "rules")
    yield (tools.PFCTL, "-X", "[0-9]*")
    yield (tools.SH, tools.PF_SCRIPT)
    yield (tools.RM, "-f", tools.PF_TOKEN)


def _launchd() -> Iterator[tuple[str, ...]]:
    for label in LABELS:
        there = launchd.target(label)
        for word in ("bootout", "enable", "disable", "kickstart"):
            yield (tools.LAUNCHCTL, word, there)
        yield (tools.LAUNCHCTL, "kickstart", "-k", there)
        yield (tools.LAUNCHCTL, "bootstrap", "system", daemon_file(label))


def _files() -> Iterator[tuple[str, ...]]:
    for path in PATHS:
        new, previous = f"{path}.new", f"{path}.previous"
        yield (tools.TEE, new)
        yield (tools.LN, path, previous)
        yield (tools.MV, "-f", new, path)
        yield (tools.MV, "-f", previous, path)
        for gone in ((path,), (new,), (previous,), (new, previous), (new, path)):
            yield (tools.RM, "-f", *gone)
        yield (tools.CHMOD, "0440" if path == KEY else "0644", new)
    yield (tools.CHGRP, _GROUP, f"{KEY}.new")
    yield (tools.RM, "-f", *LEFTOVERS)
    for directory in DIRECTORIES:
        yield (tools.MKDIR, "-p", directory)
        yield (tools.RMDIR, directory)
        yield (tools.RM, "-rf", directory)
    yield (tools.CHGRP, _GROUP, LOGS)
    yield (tools.CHMOD, "0775", LOGS)


def _rollback() -> Iterator[tuple[str, ...]]:
    plist = daemon_file(tools.ROLLBACK)
    yield (tools.MKDIR, FOLDER)
    yield (tools.RM, "-rf", FOLDER)
    yield (tools.RM, "-f", plist)
    for path in (plist, SCRIPT, *(f"{FOLDER}/{name}-{_TOKEN}" for name in ("begun", "ended"))):
        yield (tools.TEE, path)
    yield (tools.TOUCH, f"{FOLDER}/now")
    for name in ("by", "armed"):
        yield (tools.TOUCH, f"{FOLDER}/{name}-{_TOKEN}")
    yield (tools.MV, f"{FOLDER}/armed-{_TOKEN}", f"{FOLDER}/committed-{_TOKEN}")

"""The small ones: pmset, sw_vers, plutil, openssl, shasum; BSD's ways of stat, install, base64.

Each takes only what its BSD namesake takes: a command written for GNU's must fail here as it
would on a Mac.
"""

from __future__ import annotations

import base64 as base
import hashlib
import os
import plistlib
import pwd
import secrets
import sys
from collections.abc import Callable, Sequence
from grp import getgrgid
from pathlib import Path
from stat import filemode

from smolmon.lab.mac import state
from smolmon.lab.mac.kernel import tool
from smolmon.lab.mac.words import complain, say

VERSION = {"ProductName": "macOS", "ProductVersion": "15.6", "BuildVersion": "24G84"}


def sw_vers(argv: Sequence[str]) -> int:
    """`/usr/bin/sw_vers`, after sw_vers(1)."""
    for name, value in VERSION.items():
        asked = {f"-{name[0].lower()}{name[1:]}", f"--{name[0].lower()}{name[1:]}"}
        if not argv:
            say(f"{name}:\t\t{value}")
        elif argv[0] in asked:
            say(value)
    return 0


POWER = {
    "standby": 0,
    "Sleep On Power Button": 1,
    "autorestart": 0,
    "powernap": 1,
    "networkoversleep": 0,
    "disksleep": 10,
    "sleep": 1,
    "ttyskeepawake": 1,
    "displaysleep": 10,
    "tcpkeepalive": 1,
    "womp": 1,
}


def pmset(argv: Sequence[str]) -> int:
    """`/usr/bin/pmset`: -g, and -a NAME VALUE ..., kept."""
    settings = {**POWER, **state.read("power.json")}
    if argv and argv[0] == "-g":
        say("System-wide power settings:\nCurrently in use:")
        for name, value in settings.items():
            why = " (sleep prevented by powerd)" if name == "sleep" and value else ""
            say(f" {name:<20} {value}{why}")
        return 0
    if not argv or argv[0] not in ("-a", "-c") or len(argv) % 2 == 0:
        complain("Usage: pmset [-a | -c] [action value ...]")
        return 64
    if not state.is_root():
        say("'pmset' must be run as root...")
        return 77
    settings |= {name: int(value) for name, value in zip(argv[1::2], argv[2::2], strict=True)}
    state.write("power.json", settings)
    return 0


def plutil(argv: Sequence[str]) -> int:
    """`/usr/bin/plutil -lint FILE...`."""
    files = [word for word in argv if not word.startswith("-")]
    worst = 0
    for name in files:
        try:
            plistlib.loads(Path(name).read_bytes())
        except FileNotFoundError:
            complain(f"{name}: file does not exist or is not readable or is not a regular file")
            worst = 1
        except Exception as error:  # plistlib raises whatever the XML parser does
            say(f"{name}: ({error})")
            worst = 1
        else:
            if "-s" not in argv:
                say(f"{name}: OK")
    return worst


def openssl(argv: Sequence[str]) -> int:
    """`/usr/bin/openssl`: base64, dgst -sha256, rand; LibreSSL's wording."""
    command, *words = argv or ("",)
    files = [w for w in words if not w.startswith("-") and w not in _values(words)]
    options = {w for w in words if w.startswith("-")}
    data = b""
    if command != "rand":
        name = _value(words, "-in") or (files[0] if files else None)
        data = Path(name).read_bytes() if name else sys.stdin.buffer.read()
    if command in ("base64", "enc"):
        if "-d" in options:
            sys.stdout.buffer.write(base.b64decode(data))
        elif "-A" in options:
            sys.stdout.buffer.write(base.b64encode(data))
        else:
            text = base.b64encode(data).decode()
            sys.stdout.write("".join(f"{text[i : i + 64]}\n" for i in range(0, len(text), 64)))
        return 0
    if command in ("dgst", "sha256", "sha1", "md5"):
        algorithm = next(
            (o[1:] for o in options if o[1:] in hashlib.algorithms_guaranteed), command
        )
        digest = hashlib.new("sha256" if algorithm == "dgst" else algorithm, data).hexdigest()
        label = f"{algorithm.upper()}({files[0] if files else 'stdin'})= "
        say(digest + " *stdin" if "-r" in options else f"{label}{digest}")
        return 0
    if command == "rand" and words:
        number = secrets.token_bytes(int(words[-1]))
        if "-hex" in options:
            say(number.hex())
        else:
            sys.stdout.buffer.write(number)
        return 0
    complain(f"openssl: this stand-in knows base64, dgst and rand, not '{command}'")
    return 1


def shasum(argv: Sequence[str]) -> int:
    """`/usr/bin/shasum -a 256 FILE...`, after shasum(1): Perl's, and so on every Mac."""
    if list(argv[:2]) != ["-a", "256"]:
        complain("shasum: this stand-in knows only -a 256")
        return 1
    status = 0
    for name in argv[2:] or ("-",):
        try:
            data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            complain(f"shasum: {name}: {error.strerror}")
            status = 1
            continue
        say(f"{hashlib.sha256(data).hexdigest()}  {name}")
    return status


def _value(words: Sequence[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words[:-1] else None


def _values(words: Sequence[str]) -> set[str | None]:
    return {_value(words, "-in"), _value(words, "-out")}


# stat(1): %[S]letter, of which these are understood.
_FORMATS: dict[str, Callable[[os.stat_result, str], str]] = {
    "%Su": lambda s, p: _user(s.st_uid),
    "%Sg": lambda s, p: "wheel" if s.st_gid == 0 else _group(s.st_gid),
    "%Sp": lambda s, p: filemode(s.st_mode),
    "%OLp": lambda s, p: f"{s.st_mode & 0o7777:o}",
    "%Lp": lambda s, p: f"{s.st_mode & 0o777:o}",
    "%Op": lambda s, p: f"{s.st_mode:o}",
    "%HT": lambda s, p: "Directory" if Path(p).is_dir() else "Regular File",
    "%p": lambda s, p: f"{s.st_mode:o}",
    "%u": lambda s, p: str(s.st_uid),
    "%g": lambda s, p: str(s.st_gid),
    "%z": lambda s, p: str(s.st_size),
    "%m": lambda s, p: str(int(s.st_mtime)),
    "%c": lambda s, p: str(int(s.st_ctime)),
    "%i": lambda s, p: str(s.st_ino),
    "%l": lambda s, p: str(s.st_nlink),
    "%N": lambda s, p: p,
    "%Y": lambda s, p: str(Path(p).readlink()) if Path(p).is_symlink() else "",
}


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return getgrgid(number).gr_name
    except KeyError:
        return str(number)


def stat(argv: Sequence[str]) -> int:
    """`/usr/bin/stat` of BSD: -f FORMAT, -L, -n; GNU's -c is an error."""
    words, template, follow, newline = list(argv), None, False, "\n"
    while words and words[0].startswith("-") and words[0] != "-":
        option = words.pop(0)
        if option == "-f" and words:
            template = words.pop(0)
        elif set(option[1:]) <= set("Lnq"):
            follow, newline = follow or "L" in option, "" if "n" in option else newline
        else:
            complain(f"stat: illegal option -- {option[1]}")
            complain("usage: stat [-FLnq] [-f format | -l | -r | -s | -x] [-t timefmt] [file ...]")
            return 1
    worst = 0
    for name in words:
        try:
            seen = os.stat(name) if follow else os.lstat(name)  # noqa: PTH116
        except OSError as error:
            complain(f"stat: {name}: stat: {error.strerror}")
            worst = 1
            continue
        text = template or "%Sp %l %Su %Sg %z %m %N"
        for key in sorted(_FORMATS, key=len, reverse=True):
            if key in text:
                text = text.replace(key, _FORMATS[key](seen, name))
        sys.stdout.write(text + newline)
    return worst


def install(argv: Sequence[str]) -> int:
    """`/usr/bin/install` of BSD: no -D, no -t, no long options; the rest is done by GNU's."""
    for word in argv:
        if word == "--":
            break
        if word.startswith("--") or (word.startswith("-") and set(word[1:2]) & set("DtTZ")):
            complain(f"install: illegal option -- {word.lstrip('-')[:1]}")
            complain(
                "usage: install [-bCcpSsUv] [-f flags] [-g group] [-m mode] [-o owner] file1 file2"
            )
            return 64
    return _real("install", ["root" if word == "wheel" else word for word in argv])


def base64(argv: Sequence[str]) -> int:
    """`/usr/bin/base64` of macOS: -D decodes, -i and -o name the files."""
    words, decode, source, target = list(argv), False, "-", "-"
    while words:
        option = words.pop(0)
        if option in ("-D", "--decode"):
            decode = True
        elif option in ("-i", "-o") and words:
            source, target = (words.pop(0), target) if option == "-i" else (source, words.pop(0))
        elif option == "-b" and words:
            words.pop(0)
        else:
            complain(f"base64: invalid option {option}")
            complain("Usage: base64 [-Ddh] [-b num] [-i in_file] [-o out_file]")
            return 64
    data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    result = base.b64decode(data) if decode else base.b64encode(data) + b"\n"
    if target == "-":
        sys.stdout.buffer.write(result)
    else:
        Path(target).write_bytes(result)
    return 0


def _real(name: str, argv: Sequence[str]) -> int:
    path = tool(name)
    os.execvp(path, [name, *argv])  # noqa: S606


TOOLS = {
    "sw_vers": sw_vers,
    "pmset": pmset,
    "plutil": plutil,
    "openssl": openssl,
    "shasum": shasum,
    "stat": stat,
    "install": install,
    "base64": base64,
}

if __name__ == "__main__":
    sys.exit(TOOLS[sys.argv[1]](sys.argv[2:]))

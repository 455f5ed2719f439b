"""pf.conf(5) into nft: `pass` and `block` with direction, interface, protocol, ends and ports.

In pf the last rule that fits decides, unless one says `quick`. A rule therefore only marks the
packet, and the end of the chain looks at the mark. Answers to what was let through pass, as pf's
states let them; so do, other than in pf, answers to what no rule said anything about.
"""

from __future__ import annotations

from collections.abc import Sequence

BLOCK, PASS = "0x534d0001", "0x534d0002"


class SyntaxProblemError(ValueError):
    """A rule that this stand-in does not understand; one line."""


def statements(text: str) -> list[str]:
    """The rules of a file: comments gone, macros put in, continued lines joined."""
    macros: dict[str, str] = {}
    found = []
    for raw in text.replace("\\\n", " ").split("\n"):
        line = raw.partition("#")[0].strip()
        for name, value in macros.items():
            line = line.replace(f"${name}", value)
        head, equals, rest = line.partition("=")
        if equals and head.strip().isidentifier():
            macros[head.strip()] = rest.strip().strip('"')
        elif line:
            found.append(" ".join(line.split()))
    return found


def anchor(line: str) -> str | None:
    """The anchor that a rule calls, if it is one that does."""
    words = line.split()
    return words[1].strip('"') if words[0] == "anchor" and len(words) > 1 else None


def printed(line: str) -> str:
    """A rule as `pfctl -s rules` has it: with what was taken for granted (pf.conf(5))."""
    words = line.split()
    if words[0] not in ("block", "pass"):
        return line
    if words[0] == "block" and words[1:2] not in (["drop"], ["return"]):
        words.insert(1, "drop")
    ends = [i for i, word in enumerate(words) if word in ("proto", "from")]
    if ends and not {"inet", "inet6"} & set(words) and any(w[0].isdigit() for w in words):
        words.insert(ends[0], "inet")
    if words[0] == "pass" and "state" not in words:
        words += ["flags", "S/SA", "keep", "state"]
    return " ".join(words)


def translate(lines: Sequence[str]) -> list[tuple[str, str]]:
    """For each rule where it belongs (`in`, `out`) and its text. Raises SyntaxProblemError."""
    found: list[tuple[str, str]] = []
    for line in lines:
        words = _words(line)
        if words[0] in ("set", "scrub", "scrub-anchor", "nat-anchor", "rdr-anchor", "anchor"):
            continue
        if words[0] in ("dummynet-anchor", "load"):
            continue
        if words[0] not in ("pass", "block"):
            raise SyntaxProblemError(f"syntax error: {line}")
        found += _rule(words, line)
    return found


def ruleset(table: str, rules: Sequence[tuple[str, str]]) -> str:
    """The nft script of `table`."""
    script = f"add table inet {table}\n"
    for chain, hook in (("in", "prerouting"), ("out", "postrouting")):
        name = f"pf_{chain}"
        script += f"add chain inet {table} {name} {{ type filter hook {hook} priority -10; }}\n"
        add = f"add rule inet {table} {name} "
        script += f"{add}ct state established,related accept\n{add}meta mark set 0\n"
        script += "".join(f"{add}{text}\n" for where, text in rules if where == chain)
        script += f"{add}meta mark {BLOCK} drop\n{add}meta mark set 0\n"
    return script


def _words(line: str) -> list[str]:
    for mark in "{},":
        line = line.replace(mark, f" {mark} ")
    return line.split()


def _rule(words: list[str], line: str) -> list[tuple[str, str]]:
    left = words[1:]
    directions, quick, device, family = ["in", "out"], False, "", False
    protocols: list[str] = []
    source = target = ("", "")
    while left:
        word = left.pop(0)
        if word in ("in", "out"):
            directions = [word]
        elif word in ("drop", "return", "log", "all", "inet", "inet6"):
            family = family or word == "inet"
        elif word == "quick":
            quick = True
        elif word == "on":
            device = _set(_take(left), '"')
        elif word == "proto":
            protocols = _take(left)
        elif word in ("from", "to"):
            end = _end(left)
            source, target = (end, target) if word == "from" else (source, end)
        elif word in ("keep", "no", "modulate"):
            left[:1] = []  # "state": every state is kept here
        elif word == "flags":
            left[:1] = []
        else:
            raise SyntaxProblemError(f"syntax error at {word!r}: {line}")
    match = _match(protocols, source, target, family=family)
    mark = PASS if words[0] == "pass" else BLOCK
    verdict = {PASS: "accept", BLOCK: "drop"}[mark] if quick else ""
    found = []
    for direction in directions:
        where = f"{direction[0]}ifname {device} " if device else ""
        found.append((direction, f"{where}{match}meta mark set {mark} {verdict}".strip()))
    return found


def _take(left: list[str]) -> list[str]:
    """A word, or those of a list in braces."""
    if not left:
        raise SyntaxProblemError("syntax error: a word is missing")
    if left[0] != "{":
        return [left.pop(0)]
    left.pop(0)
    found = []
    while left and left[0] != "}":
        word = left.pop(0)
        if word != ",":
            found.append(word)
    if not left:
        raise SyntaxProblemError("syntax error: a brace is not closed")
    left.pop(0)
    return found


def _end(left: list[str]) -> tuple[str, str]:
    """Addresses and ports of one end, as sets of nft; "" for any."""
    addresses, ports = "", ""
    if left and left[0] != "port":
        negated = left[0] == "!"
        if negated:
            left.pop(0)
        found = _take(left)
        if found != ["any"]:
            addresses = ("!= " if negated else "") + _set(found)
    if left[:1] == ["port"]:
        left.pop(0)
        if left[:1] == ["="]:
            left.pop(0)
        ports = _set([p.replace(":", "-") for p in _take(left)])
    return addresses, ports


def _set(words: Sequence[str], quote: str = "") -> str:
    return "{ " + ", ".join(f"{quote}{word}{quote}" for word in words) + " }"


def _match(
    protocols: list[str], source: tuple[str, str], target: tuple[str, str], *, family: bool
) -> str:
    text = "meta nfproto ipv4 " if family else ""
    text += f"ip saddr {source[0]} " if source[0] else ""
    text += f"ip daddr {target[0]} " if target[0] else ""
    text += f"meta l4proto {_set(protocols)} " if protocols else ""
    text += f"th sport {source[1]} " if source[1] else ""
    return text + (f"th dport {target[1]} " if target[1] else "")

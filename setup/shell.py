"""Shell text: quoting, the frame around every script, and reading back its sections.

Everything that is put into a script goes through :func:`quote` or :func:`command`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

# The search path of a login by root: sshd gives others no sbin.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SECTION = re.compile(r"@@(\S+)(?: (.*))?")


def quote(text: str) -> str:
    """`text` as one word of a POSIX shell."""
    return shlex.quote(text)


def command(*words: str) -> str:
    """The words as one command line, each quoted."""
    return " ".join(map(quote, words))


def framed(script: str, token: str) -> str:
    """`script` so that it runs whole or not at all, and tells its exit status behind `token`.

    The shell must have read to the closing brace before it runs anything, so a connection that
    breaks during the transfer leaves nothing half done. What runs inside cannot eat the script.
    """
    return (
        f"{{ PATH={_PATH}:$PATH; LC_ALL=C; export PATH LC_ALL; umask 022\n"
        f"(\n{script}\n)\n"
        f"printf '\\n%s %s\\n' {quote(token)} $?; }} </dev/null\n"
    )


def unframed(out: str, token: str) -> tuple[str, int] | None:
    """The output and the exit status of a framed script; None where it did not run to its end."""
    head, mark, tail = out.rpartition(f"\n{token} ")
    if not mark or not tail.strip().isdigit():
        return None
    return head, int(tail)


def sections(out: str) -> list[tuple[str, str, str]]:
    """The blocks behind `@@name argument` lines, in order: name, argument, text."""
    found: list[tuple[str, str, list[str]]] = []
    for line in out.splitlines():
        mark = _SECTION.fullmatch(line)
        if mark:
            found.append((mark[1], mark[2] or "", []))
        elif found:
            found[-1][2].append(line)
    return [(name, argument, "\n".join(lines)) for name, argument, lines in found]


def lines(text: Iterable[str]) -> str:
    """The lines as one script."""
    return "\n".join(text)

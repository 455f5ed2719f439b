"""What can go wrong in the lab, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LabError(Exception):
    """One clear line for the user. `code` is the exit code: 1 not as expected, 2 wrong usage."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def unknown(what: str, name: str, known: Iterable[str]) -> LabError:
    """The error for a `name` that is not among `known`, with the nearest one that is."""
    names = tuple(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"it is one of {', '.join(names)}"
    return LabError(f"there is no {what} {name!r}; {hint}", code=2)

"""Files on a Mac: what they are to be, and the step that puts one in place. Pure."""

from __future__ import annotations

import hashlib

from attrs import field, frozen

from smolmon.setup.macos.facts import Facts
from smolmon.setup.macos.tools import CHGRP, CHMOD, LN, MV, RM, TEE
from smolmon.setup.shell import quote
from smolmon.setup.steps import Step


@frozen
class WantedFile:
    """A file and its content, owned by root.

    `daemon` is the label of the daemon that must start anew for it, `group` is whose it is if not
    the folder's. `mode` holds at every moment, also while it is written.
    """

    path: str
    what: str
    content: bytes = field(repr=False)
    daemon: str | None = None
    mode: int = 0o644
    group: str | None = None


def same(file: WantedFile, facts: Facts) -> bool:
    """Whether the node has this file, with these permissions."""
    seen = facts.files.get(file.path)
    digest = hashlib.sha256(file.content).hexdigest()
    return seen is not None and (seen.sha256, seen.mode) == (digest, file.mode)


def install(file: WantedFile, facts: Facts) -> Step:
    """Put a file in place by a rename, so that nobody ever reads half of it.

    A former one is kept beside it before anything else happens, so that the undo never finds one
    of an earlier run; service.LEFTOVERS are removed when all is ready.
    """
    new, previous = f"{file.path}.new", f"{file.path}.previous"
    exists = file.path in facts.files
    kept = [(RM, "-f", new)]
    kept += [(RM, "-f", previous), (LN, file.path, previous)] if exists else []
    # From nowhere: what comes by standard input is for `tee`, and sudo may read ahead.
    commands = [f"{facts.as_root(*words)} </dev/null" for words in kept]
    # Nobody but root can read it until it is what it shall be.
    commands.append(f"( umask 077; {facts.as_root(TEE, new)} >/dev/null )")
    if file.group is not None:
        commands.append(facts.as_root(CHGRP, file.group, new))
    commands.append(facts.as_root(CHMOD, f"{file.mode:04o}", new))
    commands.append(facts.as_root(MV, "-f", new, file.path))
    undo = facts.as_root(RM, "-f", new, previous if exists else file.path)
    if exists:
        back = facts.as_root(MV, "-f", previous, file.path)
        # Two names of one file, where nothing was replaced, are what mv refuses.
        untouched = f"[ {quote(previous)} -ef {quote(file.path)} ]"
        undo = f"{{ [ ! -e {quote(previous)} ] || {untouched} || {back}; }} && {undo}"
    seen = facts.files.get(file.path)
    digest = hashlib.sha256(file.content).hexdigest()
    if seen is None:
        how = "not installed"
    elif seen.sha256 != digest:
        how = "another one"
    else:
        how = f"open to others (mode {seen.mode:04o} instead of {file.mode:04o})"
    return Step(" && ".join(commands), f"{file.what} is {how}", undo, file.content)

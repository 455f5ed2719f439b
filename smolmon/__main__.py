"""`python -m smolmon`, and the `smolmon` program."""

from __future__ import annotations

import errno
import os
import sys

# What a full disk, a quota, a limit, and a terminal that has gone say.
OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """Run the command line."""
    _open_what_is_closed()
    from smolmon.cli import cli  # noqa: PLC0415 - kept out of import time

    try:
        try:
            cli(prog_name="smolmon")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is None and error.errno not in OUTPUT:
            raise  # a mistake of ours
        where = error.filename or "the output"
        sys.stderr.write(f"smolmon: {where}: {error.strerror}\n")
        # Python would say once more at its end that the output takes nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _open_what_is_closed() -> None:
    """A standard stream that was closed (`>&-`) is None, and its number the next file's."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


if __name__ == "__main__":
    main()

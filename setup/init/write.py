"""Put the file in place: whole or not at all, and never over another one unless told so."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from secrets import token_hex


class WriteError(Exception):
    """The file was not written. One line: which, why, and what to do."""


def check_target(path: Path, *, force: bool) -> None:
    """Whether `path` could be written; told before anybody is asked anything. Raises WriteError."""
    if path.is_dir():
        raise WriteError(f"{path}: is a folder; name the file to write in it")
    if not force and os.path.lexists(path):
        raise WriteError(f"{path}: is there already; name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise WriteError(f"{path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise WriteError(f"{path}: you may not write into its folder; name a file elsewhere")


def write(path: Path, text: str, *, force: bool) -> None:
    """Write `text` to `path`. Raises WriteError, with nothing changed."""
    check_target(path, force=force)
    new = path.with_name(f".{path.name[:200]}.{token_hex(4)}")
    try:
        with new.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        _into_place(new, path, force=force)
    except OSError as error:
        why = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written: {why}; nothing was changed") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def _into_place(new: Path, path: Path, *, force: bool) -> None:
    if not force:
        try:
            path.hardlink_to(new)  # unlike a rename, this fails where there is a file by now
        except FileExistsError:
            check_target(path, force=False)
        except OSError:  # a file system without hard links
            check_target(path, force=False)
        else:
            return
    new.replace(path)

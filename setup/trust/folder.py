"""Where the authority is kept, and how its files are read and written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from smolmon.setup.trust import TrustError

PATIENCE = 10.0  # seconds to wait for another command; it needs well under one
PRIVATE_FOLDER, PRIVATE, PUBLIC = 0o700, 0o600, 0o644


def configuration(environment: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The user's configuration directory for smolmon.

    $SMOLMON_CONFIG; else where each system keeps such things: ~/Library/Application Support on
    macOS, elsewhere $XDG_CONFIG_HOME (a relative one is to be ignored, says its specification)
    or ~/.config.
    """
    if chosen := environment.get("SMOLMON_CONFIG"):
        return Path(chosen).absolute()
    home = Path(environment.get("HOME") or Path("~").expanduser())
    if platform == "darwin":
        return home / "Library" / "Application Support" / "smolmon"
    base = environment.get("XDG_CONFIG_HOME", "")
    return (Path(base) if Path(base).is_absolute() else home / ".config") / "smolmon"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have `folder`, made if it is not there, for ourselves. Raises TrustError."""
    with _one_line(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)  # another may be as far by now
        _only_ours(folder, "700")
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise TrustError(
                    f"{folder}: another smolmon has been at work on it for {PATIENCE:.0f} s; "
                    f"run again when it has ended (`fuser {folder}/.lock` names it)"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read(path: Path, mode: int) -> bytes | None:
    """The file at `path`, None if there is none. Raises TrustError.

    A private file that others may read is refused: its secret may be one no more.
    """
    with _one_line(path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if mode == PRIVATE:
            _only_ours(path, "600")
        return content


def write(path: Path, content: bytes, mode: int) -> None:
    """Give `path` its content in one step, on disk before it is seen. Raises TrustError."""
    temporary = path.with_name(f".{path.name}.new")  # we hold the lock, so one name is enough
    with _one_line(path):
        path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        temporary.unlink(missing_ok=True)
        # Never readable by others, not for a moment: the mode is there from the beginning.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _only_ours(path: Path, mode: str) -> None:
    seen = stat.S_IMODE(path.stat().st_mode)
    if seen & 0o077:
        raise TrustError(
            f"{path}: others have access to it (mode {seen:o}); if nobody else has used it: "
            f"chmod {mode} '{path}'"
        )


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "make room" if full else f"make {path.parent} yours to read and write"
        raise TrustError(
            f"{where}: {error.strerror or error}; {remedy}, or set SMOLMON_CONFIG to another "
            "directory"
        ) from error

"""What the stand-ins remember: JSON files, replaced whole, so that a reader never sees a half.

`machine.json` is written by the lab and says what the Mac is made of; everything else the tools
write. What macOS forgets at a reboot is kept below /run.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Table = dict[str, Any]

ROOT = Path(os.environ.get("SMOLMON_MAC", "/var/lib/smolmon-mac"))
VOLATILE = Path(os.environ.get("SMOLMON_MAC_RUN", "/run/smolmon-mac"))


def read(name: str, folder: Path = ROOT) -> Table:
    """The table in the file `name`; an empty one where there is none yet."""
    try:
        found: Table = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def write(name: str, table: Table, folder: Path = ROOT) -> None:
    """Replace the file `name`. Raises PermissionError for those who are not root."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{name}.{os.getpid()}"
    with new.open("w", encoding="utf-8") as stream:
        json.dump(table, stream, indent=1, ensure_ascii=False)
        stream.flush()
        os.fsync(stream.fileno())
    new.chmod(0o644)
    new.replace(folder / name)


@contextmanager
def locked() -> Iterator[None]:
    """Hold the state: one writer at a time."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def machine() -> Table:
    """What the lab says of this Mac: its fields are made in lab/mac_model.py."""
    return read("machine.json")


def is_root() -> bool:
    """Whether the caller may change anything."""
    return os.geteuid() == 0

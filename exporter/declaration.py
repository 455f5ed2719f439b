"""The cluster file as the exporter uses it, and whether it has changed."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

from attrs import frozen

from smolmon.cluster import Cluster, ClusterError, parse
from smolmon.cluster.load import text_of

# Of a file: inode, size, nanoseconds of its last change; None while it cannot be looked at.
Version = tuple[int, int, int] | None


class DeclarationError(ValueError):
    """The file declares no cluster with that node. One line for each problem."""


@frozen
class Declaration:
    """A version of the cluster file, and which of its nodes this is.

    `digest` names the version: the first digits of the file's SHA-256.
    """

    cluster: Cluster
    node: str
    digest: str


def load(path: Path, node: str) -> Declaration:
    """Read the cluster file at `path`. Raises DeclarationError."""
    try:
        text = text_of(path, "`smolmon setup` at the controller")
        cluster = parse(text, str(path))
    except ClusterError as error:
        raise DeclarationError(str(error)) from error
    names = [n.name for n in cluster.nodes]
    if node not in names:
        near = difflib.get_close_matches(node, names, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(names)}"
        raise DeclarationError(f"{path}: there is no node `{node}`; {hint}")
    return Declaration(cluster, node, hashlib.sha256(text.encode()).hexdigest()[:16])


class Changes:
    """Notices that a file was written or replaced, once it stays as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._before = version(path)

    def noticed(self) -> bool:
        """Whether the file is another than when this last was true, and the same as a call ago."""
        now = version(self._path)
        settled, self._before = now == self._before, now
        if now == self._known or not settled:
            return False
        self._known = now
        return True

    def catch_up(self) -> None:
        """The file has been read just now."""
        self._known = self._before = version(self._path)


def version(path: Path) -> Version:
    """What tells one version of a file from another."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns

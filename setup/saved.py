"""A plan kept in a file, to be looked at and carried out later exactly as it is.

It holds commands, reasons and inverses; what files are to hold only by its SHA-256, so no secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from smolmon.setup.report import plan_data
from smolmon.setup.steps import Plan

VERSION = 1


class SavedError(Exception):
    """A file that cannot be used as a plan, or not be written. One line, with the remedy."""


@frozen
class Saved:
    """A plan as it stands in its file. `nodes` are those of :func:`report.plan_data`, by name."""

    cluster: str
    cluster_file: str  # SHA-256
    only_network: bool
    remove: bool
    nodes: dict[str, dict[str, Any]]


def digest(content: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def write(path: Path, saved: Saved) -> None:
    """Write the file, whole or not at all. Raises SavedError."""
    data = {
        "smolmon": "plan",
        "version": VERSION,
        "cluster": saved.cluster,
        "cluster_file_sha256": saved.cluster_file,
        "only_network": saved.only_network,
        "remove": saved.remove,
        "nodes": saved.nodes,
    }
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(json.dumps(data, indent=1) + "\n")
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise SavedError(
            f"{path}: the plan cannot be written: {error.strerror}; choose another place"
        ) from error


def read(path: Path) -> Saved:
    """Read the file. Raises SavedError."""
    remedy = "make a new one: `smolmon setup --plan -o FILE`"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SavedError(f"{path}: cannot be read: {error.strerror}; {remedy}") from error
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("smolmon") != "plan":
        raise SavedError(f"{path}: this is not a saved plan; {remedy}")
    if data.get("version") != VERSION:
        raise SavedError(f"{path}: this plan is of another version of smolmon; {remedy}")
    try:
        saved = Saved(
            _typed(data["cluster"], str),
            _typed(data["cluster_file_sha256"], str),
            _typed(data["only_network"], bool),
            _typed(data["remove"], bool),
            {name: _typed(plan, dict) for name, plan in _typed(data["nodes"], dict).items()},
        )
        for plan in saved.nodes.values():
            for part in ("network", "system"):
                for step in _typed(plan[part], list):
                    _typed(_typed(step, dict)["command"], str)
    except (KeyError, TypeError) as error:
        raise SavedError(f"{path}: this plan is not complete; {remedy}") from error
    return saved


def _typed(value: Any, kind: type) -> Any:  # noqa: ANN401 - from JSON
    if not isinstance(value, kind):
        raise TypeError
    return value


def differences(saved: Saved, plans: Mapping[str, Plan]) -> Iterator[str]:
    """One line for each node whose plan is another one than when it was saved."""
    for name, then in saved.nodes.items():
        if name not in plans:
            yield f"{name}: it cannot be planned for now"
        else:
            now = plan_data(plans[name])
            change = next(filter(None, (_change(then[p], now[p], p) for p in _PARTS)), None)
            if change:
                yield f"{name}: {change}; look at it again: `smolmon setup --plan`"


_PARTS = ("network", "system")


def _change(then: Any, now: Any, part: str) -> str | None:  # noqa: ANN401 - from JSON
    """The first step in which two lists differ, in words."""
    for number, (one, other) in enumerate(zip(then, now, strict=False), 1):
        if one == other:
            continue
        if one.get("command") != other["command"] or one.get("why") != other["why"]:
            return (
                f"{part} step {number} was `{one['command']}` ({one.get('why')}), and is now "
                f"`{other['command']}` ({other['why']})"
            )
        what = "content" if one.get("sha256") != other["sha256"] else "inverse"
        return f"{part} step {number}, `{one['command']}`, has another {what} now"
    if len(then) > len(now):
        return f"{part} step {len(now) + 1}, `{then[len(now)]['command']}`, is not needed any more"
    if len(then) < len(now):
        step = now[len(then)]
        return f"there is one {part} step more: `{step['command']}` ({step['why']})"
    return None

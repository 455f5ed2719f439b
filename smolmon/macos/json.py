"""The JSON that system_profiler prints, of which nothing can be relied on to be there."""

from __future__ import annotations

import json
from collections.abc import Mapping


def load(text: str) -> Mapping[str, object]:
    """The object that `text` is; an empty one for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def dictionaries(owner: Mapping[str, object], key: str) -> list[dict[str, object]]:
    """The objects of the list `key`; none if it is no list."""
    value = owner.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def string(owner: Mapping[str, object], key: str) -> str | None:
    """The text `key`; None if it is empty or no text."""
    value = owner.get(key)
    return value if isinstance(value, str) and value else None

"""The picture as JSON-able data, for those who script."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import timetable
from smolmon.status.model import Picture, State, Word


def data(cluster: Cluster, picture: Picture, now: float) -> dict[str, Any]:
    """All that is shown: seconds, bytes per second, ratios, Unix time; null is not known."""
    plain = asdict(picture, value_serializer=_plain)
    table = timetable(cluster)
    slot = next(iter(table.slots(now, now + table.period + 1)), None)
    plain["next_slot"] = slot and {
        "source": slot.test.source,
        "target": slot.test.target,
        "start": slot.start,
    }
    return plain


def _plain(_inst: type, _field: Any, value: Any) -> Any:  # noqa: ANN401 - as attrs has it
    return value.value if isinstance(value, (State, Word)) else value

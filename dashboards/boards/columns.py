"""What the tables of several boards share: columns in order, and links out of their cells."""

from __future__ import annotations

from collections.abc import Sequence

from smolmon.dashboards.common import LINK, NODE, link_to
from smolmon.dashboards.mend import Json

NOTHING: Json = {
    "type": "special",
    "options": {
        "match": "null+nan",
        "result": {"text": "", "color": "transparent", "index": 0},
    },
}
MERGE: Json = {"id": "merge", "options": {}}


def organized(*order: str, hidden: Sequence[str] = (), **names: str) -> Json:
    """The transformation that orders, hides and renames columns."""
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(["Time", *hidden], True),
            "indexByName": {name: index for index, name in enumerate(order)},
            "renameByName": names,
        },
    }


def to_node() -> list[Json]:
    """From a cell with a node's name to its board."""
    return link_to(NODE, "Node ${__value.raw}", node="${__value.raw}")


def to_link() -> list[Json]:
    """From a row with a node and a target to the board of the two."""
    return link_to(
        LINK,
        "Link ${__data.fields.node} to ${__data.fields.target}",
        node="${__data.fields.node}",
        peer="${__data.fields.target}",
    )

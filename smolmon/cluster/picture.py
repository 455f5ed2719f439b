"""The declared cluster as a tree of text: segments, the nodes on them, what hangs behind those."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from smolmon.cluster import derive
from smolmon.cluster.model import Cabling, Cluster, Segment

UNKNOWN, GOOD, BAD = "?", "✓", "✗"


@frozen
class Remark:
    """What to say of a node: one of the three marks above, and some words."""

    mark: str = UNKNOWN
    words: str = ""


@frozen
class Line:
    """One line of the picture. `node` is None on the line of a segment."""

    text: str
    node: str | None = None
    remark: Remark | None = None

    def __str__(self) -> str:
        said = f"{self.remark.mark} {self.remark.words}" if self.remark else ""
        return f"{self.text}{said}".rstrip()


def draw(cluster: Cluster, remarks: Mapping[str, Remark] | None = None) -> list[Line]:
    """The picture, from the server's segment outwards, with a remark beside each node.

    Each node stands on the segment that is nearest to the server; segments behind their gateway.
    """
    return _align(cluster, _segment(cluster, cluster.segment(cluster.server.segment), "", remarks))


def _segment(
    cluster: Cluster, segment: Segment, indent: str, remarks: Mapping[str, Remark] | None
) -> list[Line]:
    lines = [Line(f"{segment.name}  {segment.subnet}  {segment.kind.value} {_wiring(segment)}")]
    members = [m for m in segment.members if derive.home(cluster, m.node) == segment]
    for index, member in enumerate(members):
        last = index == len(members) - 1
        branch, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
        remark = remarks.get(member.node, Remark()) if remarks is not None else None
        role = derive.role(cluster, member.node)
        text = f"{indent}{branch}{member.node}\t{member.address}\t{role}\t"
        lines.append(Line(text, member.node, remark))
        children = [s for s in cluster.routed if _hangs_on(cluster, s, member.node, segment)]
        for child in children:
            fork, beside = ("└─ ", "   ") if child is children[-1] else ("├─ ", "│  ")
            head, *rest = _segment(cluster, child, f"{indent}{below}{beside}", remarks)
            via = cluster.address(member.node, child.name)
            lines.append(Line(f"{indent}{below}{fork}{head.text}, gateway {via}"))
            lines += rest
    return lines


def _hangs_on(cluster: Cluster, segment: Segment, node: str, parent: Segment) -> bool:
    uplink = derive.uplinks(cluster).get(segment.name)
    return uplink is not None and (uplink.gateway, uplink.parent) == (node, parent.name)


def _wiring(segment: Segment) -> str:
    if segment.cabling is Cabling.CHAIN and len(segment.members) > 2:
        return "chain"
    return "cable" if len(segment.members) == 2 else "switch"


def _align(cluster: Cluster, lines: list[Line]) -> list[Line]:
    """Put the tab-separated columns under each other."""
    rows = [line.text.split("\t") for line in lines if line.node]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        Line(
            "  ".join(
                cell.ljust(width) for cell, width in zip(line.text.split("\t"), widths, strict=True)
            )
            if line.node
            else line.text,
            line.node,
            line.remark,
        )
        for line in lines
    ]

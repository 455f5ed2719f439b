"""The picture of a cluster for Home: a drawing made from the cluster file, alive with its state.

One query gives a row for each element; turned into one field for each, it colours and labels them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from attrs import frozen

from smolmon.cluster import Cabling, Cluster, Segment, derive
from smolmon.dashboards.common import LINK, NODE, link_to
from smolmon.dashboards.grafana import COLUMNS, canvas, override, query
from smolmon.dashboards.mend import Json

BOX, GAP, LEVEL = (150, 58), 76, 140  # pixels: a node, between two nodes, from row to row
MARGIN = 16
NARROW = 15  # columns of Grafana's grid that four nodes beside each other need
STATES = {0: ("down", "red"), 1: ("degraded", "orange"), 2: ("up", "green")}


@frozen
class Place:
    """Where a node is drawn: the left upper corner, in pixels."""

    left: int
    top: int


@frozen
class Wire:
    """A drawn link between two nodes, over a segment."""

    near: str
    far: str
    segment: str

    @property
    def name(self) -> str:
        """What the fields of this link are called after."""
        return f"{self.near}-{self.far}"


def places(cluster: Cluster) -> dict[str, Place]:
    """Every node's place: the server's segment on top, and each segment below its gateway."""
    found: dict[str, Place] = {}
    _put(cluster, cluster.segment(cluster.server.segment), 0, 0, found)
    step = BOX[0] + GAP
    return {n: Place(MARGIN + p.left * step, MARGIN + p.top * LEVEL) for n, p in found.items()}


def _put(cluster: Cluster, segment: Segment, left: int, depth: int, found: dict[str, Place]) -> int:
    """Place the nodes at home on `segment` and all below them; return the first free column."""
    for member in segment.members:
        if derive.home(cluster, member.node) != segment:
            continue
        start = left
        for child, uplink in derive.uplinks(cluster).items():
            if (uplink.gateway, uplink.parent) == (member.node, segment.name):
                left = _put(cluster, cluster.segment(child), left, depth + 1, found)
        found[member.node] = Place(start, depth)
        left = max(left, start + 1)
    return left


def wires(cluster: Cluster) -> tuple[Wire, ...]:
    """The links to draw: from neighbour to neighbour in a chain, else from the gateway or "
    "server."""
    return tuple(_wires(cluster))


def _wires(cluster: Cluster) -> Iterator[Wire]:
    for segment in cluster.routed:
        nodes = [m.node for m in segment.members]
        if segment.cabling is Cabling.CHAIN:
            pairs = list(pairwise(nodes))
        else:
            hub = derive.gateway_of(cluster, segment.name) or cluster.server.node
            pairs = [(hub, node) for node in nodes if node != hub]
        for near, far in pairs:
            yield Wire(near, far, segment.name)


def picture(cluster: Cluster) -> Any:  # noqa: ANN401
    """The panel. Its query asks for this cluster, whichever is chosen above."""
    where = f'cluster="{cluster.name}"'
    spots = places(cluster)
    bottom = max(p.top for p in spots.values()) + BOX[1] + 2 * MARGIN
    narrow = max(p.left for p in spots.values()) < 4 * (BOX[0] + GAP)
    return canvas(
        f"Topology of {cluster.name}",
        "The declared cluster. A node is green while its exporter is scraped and no alert names "
        "it; a link while both of its ends answer each other. Beside a link: its round-trip time, "
        "and what the last bandwidth test carried. Click a node to see more.",
        [query(_fields(where), table=True)],
        [*_labels(cluster, spots), *_nodes(cluster, spots)],
        size=(NARROW if narrow else COLUMNS, max(8, -(-(bottom + 40) // 38))),
        values=STATES,
        overrides=[
            override("^rtt ", {"unit": "s", "decimals": 1, "mappings": []}, regex=True),
            override("^rate ", {"unit": "bps", "decimals": 1, "mappings": []}, regex=True),
        ],
        transformations=[
            {
                "id": "groupingToMatrix",
                "options": {
                    "columnField": "element",
                    "rowField": "cluster",
                    "valueField": "Value",
                    "emptyValue": "null",
                },
            }
        ],
    )


def _fields(where: str) -> str:
    """One sample for each element: `node X`, and `link`, `rtt` and `rate` of each `X-Y`."""
    alerts = f'ALERTS{{{where},alertstate="firing",severity=~"critical|warning"}}'
    node = (
        f'1 + (min by (cluster, node) (up{{job="smolmon",{where}}}) unless on (cluster, node)'
        f" {alerts})"
        f' or on (cluster, node) min by (cluster, node) (up{{job="smolmon",{where}}})'
    )
    pings = f'{{{where},probe!="internet"}}'
    rtt = (
        f"min by (cluster, node, target) (rate(smolmon_ping_rtt_seconds_sum{pings}[1m])"
        f" / (rate(smolmon_ping_rtt_seconds_count{pings}[1m]) > 0))"
    )
    rate = f"8 * min by (cluster, node, target) (smolmon_bandwidth_bytes_per_second{{{where}}})"
    up = f"2 * min by (cluster, node, target) (smolmon_ping_up{pings})"

    def both(kind: str, expr: str, worse: str) -> str:
        """Of the two ends of a link, under both orders of their names."""
        there = f'label_join({expr}, "pair", "-", "node", "target")'
        back = f'label_join({expr}, "pair", "-", "target", "node")'
        either = f"{worse} by (cluster, pair) ({there} or {back})"
        return f'label_replace({either}, "element", "{kind} $1", "pair", "(.+)")'

    parts = [
        f'label_replace({node}, "element", "node $1", "node", "(.+)")',
        both("link", up, "min"),
        both("rtt", rtt, "max"),
        both("rate", rate, "min"),
    ]
    return "max by (cluster, element) (" + " or ".join(parts) + ")"


def _nodes(cluster: Cluster, spots: dict[str, Place]) -> Iterator[Json]:
    for node, spot in spots.items():
        role = derive.role(cluster, node)
        address = ", ".join(str(cluster.address(node, s.name)) for s in cluster.segments_of(node))
        yield {
            **_element(node, "rectangle", spot, BOX),
            "config": {
                "text": {"mode": "fixed", "fixed": f"{node} · {role}\n{address}"},
                "color": {"fixed": "text"},
                "align": "center",
                "valign": "middle",
                "size": 12,
            },
            "background": {"color": {"fixed": "background"}},
            "border": {
                "color": {"field": f"node {node}", "fixed": "text"},
                "width": 3,
                "radius": 6,
            },
            "links": link_to(NODE, f"Node {node}", node=node),
            "connections": [
                _connection(wire, spots)
                for wire in wires(cluster)
                if wire.near == node and wire.far in spots
            ],
        }


def _connection(wire: Wire, spots: dict[str, Place]) -> Json:
    near, far = spots[wire.near], spots[wire.far]
    if near.top == far.top:
        ends = ({"x": 1, "y": 0}, {"x": -1, "y": 0})
    else:
        ends = ({"x": 0, "y": -1}, {"x": 0, "y": 1})
    return {
        "source": ends[0],
        "target": ends[1],
        "targetName": wire.far,
        "path": "straight",
        "color": {"field": f"link {wire.name}", "fixed": "text"},
        "size": {"fixed": 3, "min": 1, "max": 10},
    }


def _labels(cluster: Cluster, spots: dict[str, Place]) -> Iterator[Json]:
    """Beside each link: what was measured. Under the boxes, so that they are never covered."""
    for wire in wires(cluster):
        if wire.near not in spots or wire.far not in spots:
            continue
        near, far = spots[wire.near], spots[wire.far]
        if near.top == far.top:
            left, top = far.left - GAP, near.top + BOX[1] // 2 - 40
        else:
            left = far.left + BOX[0] // 2 + 4
            top = far.top - 44
        links = link_to(LINK, f"Link {wire.name}", node=wire.far, peer=wire.near)
        for line, kind in enumerate(("rtt", "rate")):
            yield {
                **_element(
                    f"{kind} {wire.name}", "metric-value", Place(left, top + 20 * line), (GAP, 18)
                ),
                "config": {
                    "text": {"mode": "field", "field": f"{kind} {wire.name}", "fixed": ""},
                    "color": {"fixed": "text"},
                    "align": "center",
                    "valign": "middle",
                    "size": 11,
                },
                "links": links,
            }


def _element(name: str, kind: str, at: Place, size: tuple[int, int]) -> Json:
    return {
        "name": name,
        "type": kind,
        "placement": {
            "left": at.left,
            "top": at.top,
            "width": size[0],
            "height": size[1],
            "rotation": 0,
        },
        "constraint": {"horizontal": "left", "vertical": "top"},
        "background": {"color": {"fixed": "transparent"}},
        "border": {"color": {"fixed": "transparent"}, "width": 0},
        "connections": [],
    }

"""A draft as the text of a cluster file, commented for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from smolmon.cluster import Cabling, Cluster, Kind, Node, Segment
from smolmon.setup.init.draft import Draft

HEAD = """\
# One file declares the cluster: routes, forwarding, probes and alerts all follow from it.
# `smolmon check` validates it, `smolmon setup --plan` shows what it leads to.
"""


def text_of(draft: Draft) -> str:
    """The cluster file."""
    return HEAD + "\n".join(_lines(draft)) + "\n"


def scalar(text: str) -> str:
    """`text` so that every YAML reader takes it for text; `no`, `1e3` and `null` need quotes."""
    try:
        plain = yaml.safe_load(text) == text
    except yaml.YAMLError:
        plain = False
    return text if plain else f'"{text}"'


def _lines(draft: Draft) -> Iterator[str]:
    cluster = draft.cluster
    yield from _todo(draft, "cluster")
    yield from (f"cluster: {scalar(cluster.name)}", "", "server:")
    yield from _todo(draft, "server.node", "  ")
    yield f"  node: {scalar(cluster.server.node)}"
    yield from _todo(draft, "server.port", "  ")
    yield f"  port: {cluster.server.port}"
    if not _obvious(cluster):
        yield f"  segment: {cluster.server.segment}"
    if cluster.internet:
        yield from ("", "internet:", f"  address: {cluster.internet.address}")
    yield from ("", "nodes: # `management` is where a node is scraped: never a cluster address")
    yield from _todo(draft, "nodes", "  ")
    for node in cluster.nodes:
        yield from _todo(draft, f"nodes.{node.name}", "  ")
        yield f"  {scalar(node.name)}: {_flow(_node(node))}"
    yield from ("", "segments:")
    yield from _todo(draft, "segments", "  ")
    for segment in cluster.segments:
        yield from _segment(draft, segment)


def _obvious(cluster: Cluster) -> bool:
    """Whether the server's segment is the one that is taken where the file names none."""
    on = cluster.segments_of(cluster.server.node)
    fast = [s.name for s in on if s.kind is Kind.THUNDERBOLT] or [s.name for s in on]
    return fast == [cluster.server.segment]


def _todo(draft: Draft, key: str, indent: str = "") -> Iterator[str]:
    return (f"{indent}# TODO: {todo.text}" for todo in draft.todo if todo.key == key)


def _node(node: Node) -> dict[str, str]:
    known = {"platform": node.platform.value, "ssh": node.ssh, "management": node.management}
    return {key: value for key, value in known.items() if value}


def _segment(draft: Draft, segment: Segment) -> Iterator[str]:
    key = f"segments.{segment.name}"
    yield from _todo(draft, key, "  ")
    yield from (f"  {segment.name}:", f"    kind: {segment.kind.value}")
    yield f"    subnet: {segment.subnet}"
    usual = Cabling.CHAIN if segment.kind is Kind.THUNDERBOLT else Cabling.STAR
    if segment.cabling is not usual or len(segment.members) > 2:
        wired = " - ".join(m.node for m in segment.members)
        how = f"{wired}, in this order" if segment.cabling is Cabling.CHAIN else "a switch or hub"
        yield f"    cabling: {segment.cabling.value} # {how}"
    if segment.gateway:
        yield f"    gateway: {scalar(segment.gateway)}"
    yield "    members:"
    for member in segment.members:
        yield from _todo(draft, f"{key}.members.{member.node}", "      ")
        port = {"interface": member.interface, "mac": member.mac}
        known = {"address": str(member.address), **{k: v for k, v in port.items() if v}}
        yield f"      {scalar(member.node)}: {_flow(known)}"


def _flow(values: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {scalar(value)}' for key, value in values.items())}}}"

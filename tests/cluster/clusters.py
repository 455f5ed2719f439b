"""Cluster files for tests: the examples, and random ones of any shape."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from smolmon.cluster import Cluster, load, parse

EXAMPLES = Path(__file__).parents[2] / "examples"
GUIDE = EXAMPLES / "guide.yaml"


def guide() -> Cluster:
    """The guide's cluster."""
    return load(GUIDE)


@st.composite
def cluster_files(draw: st.DrawFn) -> str:
    """The text of a sound cluster file: a random tree of segments around the server's own."""
    members: list[list[str]] = [["n0"]]
    count = 1
    for index in range(draw(st.integers(1, 6))):
        if index:
            below = draw(st.integers(0, len(members) - 1))
            members.append([draw(st.sampled_from(members[below]))])
        for _ in range(draw(st.integers(0 if index == 0 else 1, 4))):
            members[-1].append(f"n{count}")
            count += 1
    kinds = [draw(st.sampled_from(["thunderbolt", "ethernet"])) for _ in members]
    lines = ["cluster: random", "server: {node: n0, segment: s0}", "internet: {address: 8.8.8.8}"]
    lines.append("nodes:")
    lines += [f"  n{i}: {{platform: linux, management: 172.30.0.{i + 10}}}" for i in range(count)]
    lines.append("segments:")
    for index, (nodes, kind) in enumerate(zip(members, kinds, strict=True)):
        lines += [f"  s{index}:", f"    kind: {kind}", f"    subnet: 10.{index}.0.0/24"]
        lines.append("    members:")
        lines += [
            f"      {node}: {{address: 10.{index}.0.{host}, interface: port{index}}}"
            for host, node in enumerate(nodes, start=1)
        ]
    return "\n".join(lines) + "\n"


clusters = cluster_files().map(parse)

"""The picture shows the whole cluster, whatever its shape."""

from __future__ import annotations

from hypothesis import given

from smolmon.cluster import Cluster, parse
from smolmon.cluster.picture import BAD, Remark, draw
from tests.cluster.clusters import EXAMPLES, clusters, guide


@given(clusters)
def test_every_node_and_every_segment_stands_there_once(cluster: Cluster) -> None:
    lines = draw(cluster)
    nodes = [line.node for line in lines if line.node]
    assert sorted(nodes) == sorted(n.name for n in cluster.nodes)
    for segment in cluster.routed:
        assert sum(f"{segment.name}  {segment.subnet}" in line.text for line in lines) == 1
    remarks = [line.text for line in draw(cluster, {}) if line.node]
    assert len({len(text) for text in remarks}) <= 1, "remarks stand under each other"


def test_the_guides_cluster() -> None:
    picture = draw(guide(), {"pi4": Remark(BAD, "cannot reach the server")})
    assert (
        "\n".join(map(str, picture))
        == """\
fabric  10.10.0.0/24  thunderbolt chain
├─ mini1         10.10.0.1     server   ?
│  └─ edge50  192.168.50.0/24  ethernet cable, gateway 192.168.50.1
│     └─ pi5     192.168.50.2  worker   ?
├─ mini2         10.10.0.2     worker   ?
└─ mini3         10.10.0.3     gateway  ?
   └─ edge51  192.168.51.0/24  ethernet switch, gateway 192.168.51.2
      ├─ pi4     192.168.51.4  worker   ✗ cannot reach the server
      └─ jetson  192.168.51.5  worker   ?"""
    )


def test_two_links_behind_one_node_hang_on_one_stem() -> None:
    file = (EXAMPLES / "jetson-on-mini2.yaml").read_text(encoding="utf-8")
    both = file.replace("mini2: {address: 192.168.52.1, interface: en5}",
                        "mini3: {address: 192.168.52.1, interface: en6}")  # fmt: skip
    text = [str(line) for line in draw(parse(both))]
    first, second = (i for i, line in enumerate(text) if "edge5" in line and "edge50" not in line)
    assert text[first].strip().startswith("├─ edge51")
    assert text[second].strip().startswith("└─ edge52")
    assert {line.lstrip()[0] for line in text[first + 1 : second]} == {"│"}

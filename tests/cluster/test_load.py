"""Bad files: every problem with its line, its key and the remedy; good ones: what they mean."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smolmon.cluster import Apart, ClusterError, Kind, load, parse
from smolmon.cluster.rules import warnings_of
from tests.cluster.clusters import GUIDE, guide

TEXT = GUIDE.read_text()


def problems(text: str) -> list[str]:
    with pytest.raises(ClusterError) as caught:
        parse(text, "c.yaml")
    return [str(problem) for problem in caught.value.problems]


def replaced(old: str, new: str) -> tuple[str, int]:
    """The guide's file with `old` replaced, and the line where that happened."""
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new), TEXT[: TEXT.index(old)].count("\n") + 1


# What to break, what to write instead, the key that is named, and words that the message has.
BROKEN = [
    ("pi4: {address: 192.168.51.4,", "pi4: {address: 192.168.99.4,",
     "segments.edge51.members.pi4", "192.168.99.4 is not in 192.168.51.0/24"),
    ("pi4: {address: 192.168.51.4,", "pi4: {address: 192.168.51.5,",
     "segments.edge51.members.jetson", "already the address of pi4 on edge51"),
    ("pi4: {address: 192.168.51.4,", "pi4: {address: 192.168.51.255,",
     "segments.edge51.members.pi4", "not a host's address"),
    ("subnet: 192.168.51.0/24", "subnet: 192.168.0.0/16",
     "segments.edge51.subnet", "overlaps 192.168.50.0/24 of edge50"),
    ("subnet: 192.168.51.0/24", "subnet: 192.168.51.1/24",
     "segments.edge51.subnet", "write 192.168.51.0/24"),
    ("subnet: 192.168.51.0/24", "subnet: 192.168.51.0/33",
     "segments.edge51.subnet", "not an IPv4 subnet"),
    ("subnet: 192.168.51.0/24", "subnet: 192.168.51.0/31",
     "segments.edge51.subnet", "prefix from /8 to /30"),
    ("pi5: {address: 192.168.50.2, interface: eth0}", "pi5: 192.168.50.2",
     "segments.edge50.members.pi5", "which port is it?"),
    ("jetson: {address: 192.168.51.5, interface: enP8p1s0}",
     "jetson: {address: 192.168.51.5, mac: nonsense}",
     "segments.edge51.members.jetson.mac", "not a MAC address"),
    ("mini3: {address: 192.168.51.2, interface: en5}",
     "mini3: {address: 192.168.51.2, interface: bridge0}",
     "segments.edge51.members.mini3", "bridge0 of mini3 is already its port on fabric"),
    ("mini3: {address: 192.168.51.2, interface: en5}",
     "mini3: {address: 192.168.51.2, interface: 'en5; reboot'}",
     "segments.edge51.members.mini3.interface", "not the name of a network interface"),
    ("  node: mini1\n", "  node: mini9\n", "server.node", "mini9 is on no Thunderbolt"),
    ("  port: 65432", "  port: 99999", "server.port", "not a port from 1 to 65535"),
    ("  port: 65432", "  prot: 65432", "server.prot", "did you mean `port`?"),
    ("    cabling: chain", "    cabling: chian",
     "segments.fabric.cabling", "did you mean `chain`?"),
    ("    kind: thunderbolt", "    kind: infiniband", "segments.fabric.kind", "is one of"),
    ("      mini2: {address: 10.10.0.2", "      mini7: {address: 10.10.0.2",
     "segments.fabric.members.mini7", "there is no node mini7"),
    ("ssh: pi@192.168.1.14", "ssh: -oProxyCommand=x", "nodes.pi5.ssh", "is not a host name"),
    ("ssh: pi@192.168.1.14", "ssh: 'pi@x $(reboot)'", "nodes.pi5.ssh", "is not a host name"),
    ("management: 192.168.1.14", "management: 192.168.50.2",
     "nodes.pi5.management", "use the node's Wi-Fi address"),
    ("management: 192.168.1.14", "management: 192.168.1.11",
     "nodes.pi5.management", "already that of mini1"),
    ("  address: 8.8.8.8", "  address: 10.10.0.9", "internet.address", "inside fabric"),
    ("ssh: pi@192.168.1.14", "ssh: pi@192.168.1.15", "nodes.pi4.ssh", "already that of pi5"),
    ("management: 192.168.1.14", "management: 192.168.1.256",
     "nodes.pi5.management", "not an IPv4 address"),
    ("cluster: guide", "cluster: [guide]", "cluster", "a list is not lower-case letters"),
    ("cluster: guide", "clutser: guide", "clutser", "did you mean `cluster`?"),
    ("cluster: guide", "cluster: guide\nisolation: enforced", "isolation",
     "did you mean `enforce`?"),
    ("    subnet: 192.168.51.0/24", "    subnet: 192.168.51.0/24\n    static_neighbors: on",
     "segments.edge51.static_neighbors", "'on' is neither `true` nor `false`"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "words"), BROKEN)
def test_each_problem_names_line_key_and_remedy(old: str, new: str, key: str, words: str) -> None:
    text, _ = replaced(old, new)
    found = [p for p in problems(text) if f": {key}: " in p and words in p]
    assert len(found) == 1
    line = int(found[0].split(":")[1])
    assert key.rsplit(".", maxsplit=1)[-1] in text.splitlines()[line - 1]


def test_the_line_is_the_one_to_edit() -> None:
    text, line = replaced("pi4: {address: 192.168.51.4,", "pi4: {address: 192.168.99.4,")
    assert problems(text) == [
        f"c.yaml:{line}: segments.edge51.members.pi4: 192.168.99.4 is not in 192.168.51.0/24"
    ]


def test_what_is_asked_for_beside_addresses_and_routes() -> None:
    cluster = guide()
    assert cluster.isolation is Apart.REPORT
    assert not any(s.static_neighbors for s in cluster.segments)
    text = TEXT.replace("cluster: guide", "cluster: guide\nisolation: enforce").replace(
        "    subnet: 192.168.51.0/24", "    subnet: 192.168.51.0/24\n    static_neighbors: true"
    )
    cluster = parse(text)
    assert cluster.isolation is Apart.ENFORCE
    assert [s.name for s in cluster.segments if s.static_neighbors] == ["edge51"]


def test_all_problems_are_told_at_once() -> None:
    text = TEXT.replace("port: 65432", "port: x").replace("kind: thunderbolt", "kind: tb")
    assert len(problems(text)) == 2


def test_two_gateways_without_a_choice() -> None:
    text = TEXT + "      mini2: {address: 192.168.51.9, interface: en6}\n"
    (problem,) = problems(text)
    assert "mini3 and mini2 could both be its gateway; add `gateway: mini3 or mini2`" in problem
    chosen = text.replace(
        "    subnet: 192.168.51.0/24", "    subnet: 192.168.51.0/24\n    gateway: mini2"
    )
    assert parse(chosen).segment("edge51").gateway == "mini2"


def test_a_gateway_that_leads_nowhere() -> None:
    text = TEXT.replace(
        "    subnet: 192.168.51.0/24", "    subnet: 192.168.51.0/24\n    gateway: pi4"
    )
    (problem,) = problems(text)
    assert "segments.edge51.gateway: pi4 is on no segment nearer to the server" in problem


def test_an_unreachable_server() -> None:
    text = TEXT.replace("      mini3: {address: 192.168.51.2, interface: en5}\n", "")
    (problem,) = problems(text)
    assert "segments.edge51: its members cannot reach the server on fabric" in problem


def test_a_node_on_no_segment() -> None:
    text = TEXT.replace("nodes:\n", "nodes:\n  lost: {platform: linux, management: 192.168.1.99}\n")
    (problem,) = problems(text)
    assert "nodes.lost: is on no Thunderbolt or Ethernet segment" in problem


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty"),
        ("# only a comment\n", 1, "the file is empty"),
        ("a: [1,\n", 2, "not valid YAML"),
        ("cluster: x\ncluster: y\n", 2, "second time (first on line 1)"),
        ("? [a]\n: b\n", 1, "a key must be text"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("a: &x {b: *x}\n", 1, "nested too deeply"),
        ("a: \x07", 1, "not valid YAML"),
        (f"a: {'[' * 3000}", 1, "nested too deeply"),
        ("cluster: x\n", 1, "`nodes` is missing"),
    ],
)
def test_files_that_are_no_cluster(text: str, line: int, words: str) -> None:
    assert any(p.startswith(f"c.yaml:{line}: ") and words in p for p in problems(text))


def test_aliases_cannot_blow_up() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    (problem,) = problems(f"a0: &a0 [x]\n{levels}\n")
    assert "repeated too often" in problem


def test_unreadable_files(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    with pytest.raises(ClusterError, match=f"^{missing}: is not there; `smolmon init` writes one"):
        load(missing)
    with pytest.raises(ClusterError, match=f"^{tmp_path}: cannot be read: Is a directory; name"):
        load(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClusterError, match="not UTF-8"):
        load(binary)


@given(st.text(max_size=200))
@example("a: 2020-01-01 b: [")
@example("!!python/object:os.system x")
def test_any_text_is_a_cluster_or_a_list_of_problems(text: str) -> None:
    try:
        parse(text)
    except ClusterError as error:
        told = error.problems
    else:
        return
    assert told


@given(st.integers(0, TEXT.count("\n") - 1), st.text("ab1:{}[]-&*!|>'\"%@`, \t#", max_size=6))
def test_any_damage_to_a_line_is_told_or_harmless(line: int, noise: str) -> None:
    lines = TEXT.splitlines()
    lines[line] = lines[line][: len(lines[line]) // 2] + noise
    try:
        parse("\n".join(lines))
    except ClusterError as error:
        told = error.problems
    else:
        return
    assert told


def test_yaml_surprises_stay_text() -> None:
    text, _ = replaced("interface: enP8p1s0", "mac: 11:22:33:44:55:06")
    jetson = parse(text).segment("edge51").member("jetson")
    assert jetson is not None
    assert jetson.mac == "11:22:33:44:55:06"


def test_one_mac_address_on_two_nodes() -> None:
    text = TEXT.replace("interface: eth0", "mac: 02:00:00:00:00:01")
    (problem,) = problems(text)
    assert "segments.edge51.members.pi4: 02:00:00:00:00:01 is already the MAC address" in problem


def test_a_thunderbolt_port_on_linux_needs_a_name() -> None:
    text = TEXT.replace("{address: 10.10.0.2, interface: bridge0}", "10.10.0.2")
    (problem,) = problems(text.replace("mini2: {platform: macos", "mini2: {platform: linux"))
    assert "segments.fabric.members.mini2" in problem
    assert "thunderbolt0" in problem


def test_the_thunderbolt_bridge_is_the_port_of_a_mac() -> None:
    text = TEXT.replace("{address: 10.10.0.2, interface: bridge0}", "10.10.0.2")
    text = text.replace("mini2: {platform: linux", "mini2: {platform: macos")
    mini2 = parse(text).segment("fabric").member("mini2")
    assert mini2 is not None
    assert mini2.interface == "bridge0"


def test_wifi_segment_gives_management_addresses() -> None:
    cluster = load(GUIDE.parent / "switch.yaml")
    assert cluster.node("pi4").management == "192.168.178.24"
    assert cluster.node("pi4").ssh == "192.168.178.24"
    assert Kind.WIFI not in {s.kind for s in cluster.routed}


def test_expectations() -> None:
    cluster = load(GUIDE.parent / "switch.yaml")
    assert cluster.segment("switch").expect.rtt == pytest.approx(0.0015)
    assert cluster.segment("switch").expect.bandwidth == pytest.approx(900e6 / 8)
    assert cluster.segment("switch").expect.loss == 0.01
    assert guide().segment("fabric").expect.rtt == 0.0005
    assert guide().server_address == IPv4Address("10.10.0.1")


def test_warnings() -> None:
    text = TEXT.replace("192.168.51.", "172.18.0.")
    found = dict(warnings_of(parse(text)))
    assert "Docker" in found["segments.edge51.subnet"]
    assert "without mini2" in found["segments.fabric.cabling"]
    assert "ASUS" in found["segments.edge50.subnet"]

"""A first cluster file: by asking, from SmolCluster's files, and what is refused."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from attrs import evolve
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smolmon.cluster import (
    Cabling,
    Cluster,
    ClusterError,
    Internet,
    Kind,
    Member,
    Node,
    Platform,
    Segment,
    Server,
    load,
    parse,
)
from smolmon.cluster.model import EXPECTATIONS
from smolmon.commands.check import check
from smolmon.commands.init import init
from smolmon.setup.init import checks, smolcluster
from smolmon.setup.init.draft import Draft, edge_name
from smolmon.setup.init.guess import draft_of
from smolmon.setup.init.interview import interview
from smolmon.setup.init.smolcluster import SourceError
from smolmon.setup.init.text import scalar, text_of
from smolmon.setup.init.write import WriteError, write

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples" / "guide.yaml"
T = TypeVar("T")


# -- by asking --------------------------------------------------------------------------------


def answers(cluster: Cluster) -> Iterator[str]:
    """What a person says who has this cluster: one fabric, and links behind its machines."""
    fabric, *edges = cluster.segments
    yield from (cluster.name, fabric.kind.value, " ".join(m.node for m in fabric.members))
    if len(fabric.members) > 2:
        yield fabric.cabling.value
    yield from (cluster.server.node, str(cluster.server.port))
    for gateway in fabric.members:
        for edge in edges:
            if edge.members[0].node == gateway.node:
                yield ", ".join(m.node for m in edge.members[1:])
        yield "none"
    for node in cluster.nodes:
        yield from (node.platform.value, node.ssh, node.management)
    for segment in cluster.segments:
        yield str(segment.subnet)
        for member in segment.members:
            yield from (str(member.address), member.mac or member.interface or "")
    assert cluster.internet
    yield str(cluster.internet.address)


def asked(replies: Iterator[str]) -> Cluster:
    """The cluster that the file declares, which is written after these replies."""

    def ask(question: str, default: str, check: Callable[[str], T]) -> T:
        return check(next(replies))

    cluster = parse(text_of(interview(ask, lambda heading: None)))
    assert next(replies, None) is None
    return cluster


def test_the_guides_cluster_by_asking() -> None:
    guide = load(GUIDE)
    assert asked(answers(guide)) == guide


def test_enter_alone_gives_a_sound_cluster() -> None:
    def ask(question: str, default: str, check: Callable[[str], T]) -> T:
        return check(default)

    cluster = parse(text_of(interview(ask, lambda heading: None)))
    assert [n.name for n in cluster.nodes] == ["mini1", "mini2", "mini3"]
    assert str(cluster.server_address) == "10.10.0.1"


def test_the_plan_of_the_guide_stands_in_the_brackets() -> None:
    said = {"The machines on it": "a b", "an Ethernet link": "pi", "another": "none"}

    def ask(question: str, default: str, check: Callable[[str], T]) -> T:
        words = next((a for q, a in said.items() if q in question), default)
        return check(words)

    cluster = parse(text_of(interview(ask_once(ask), lambda heading: None)))
    edge = cluster.segment("edge50")
    assert [str(m.address) for m in edge.members] == ["192.168.50.1", "192.168.50.2"]
    assert [m.interface for m in edge.members] == ["en5", "eth0"]


def ask_once(ask: Callable[..., T]) -> Callable[..., T]:
    """Only the first gateway has a link: a name is given once."""
    given: list[str] = []

    def inner(question: str, default: str, check: Callable[[str], T]) -> T:
        if "an Ethernet link" in question:
            given.append(question)
            if len(given) > 1:
                return check("none")
        return ask(question, default, check)

    return inner


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda n: n not in ("controller", "internet", "none")
)
interfaces = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", fullmatch=True)
macs = st.from_regex(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", fullmatch=True)


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """What the questions can express."""
    count = draw(st.integers(1, 4))
    all_names = draw(st.lists(names, min_size=count, max_size=count + 6, unique=True))
    kind = draw(st.sampled_from((Kind.THUNDERBOLT, Kind.ETHERNET)))
    edges: list[list[str]] = []
    for name in all_names[count:]:
        gateway = draw(st.sampled_from(all_names[:count]))
        if edges and edges[-1][0] == gateway and draw(st.booleans()):
            edges[-1].append(name)
        else:
            edges.append([gateway, name])
    edges.sort(key=lambda link: all_names.index(link[0]))
    thirds = draw(st.permutations(range(50, 60)))
    segments: list[Segment] = []
    ports = draw(st.lists(st.one_of(interfaces, macs), min_size=30, max_size=30, unique=True))
    for index, link in enumerate([all_names[:count], *edges]):
        net = IPv4Network(f"192.168.{thirds[index]}.0/24" if index else "10.10.0.0/24")
        hosts = draw(st.permutations(range(1, 255)))
        members = []
        for host, name in zip(hosts, link, strict=False):
            port = ports.pop()
            is_mac = bool(checks.MAC.fullmatch(port))
            place = (None, port) if is_mac else (port, None)
            members.append(Member(name, net.network_address + host, *place))
        taken = [s.name for s in segments]
        usual = Cabling.CHAIN if kind is Kind.THUNDERBOLT else Cabling.STAR
        cabling = draw(st.sampled_from(Cabling)) if not index and count > 2 else usual
        segments.append(
            Segment(
                edge_name(net, taken) if index else "fabric",
                Kind.ETHERNET if index else kind,
                net,
                tuple(members),
                Cabling.STAR if index else cabling,
                EXPECTATIONS[Kind.ETHERNET if index else kind],
            )
        )
    order = dict.fromkeys(m.node for s in segments for m in s.members)
    nodes = tuple(
        Node(n, draw(st.sampled_from(Platform)), f"u@h{n}", f"172.20.0.{i + 1}")
        for i, n in enumerate(order)
    )
    server = Server(all_names[0], draw(st.integers(1, 65535)), "fabric")
    internet = Internet(IPv4Address("1.1.1.1"), EXPECTATIONS[Kind.WIFI])
    return Cluster(draw(names), nodes, tuple(segments), server, internet)


@given(clusters())
@settings(deadline=None)
def test_any_cluster_that_can_be_asked_for_is_what_is_written(cluster: Cluster) -> None:
    assert parse(text_of(Draft(cluster))) == cluster
    assert asked(answers(cluster)) == cluster


@pytest.mark.parametrize("text", ["no", "null", "1e3", "12", "0x1f", "yes", "1-1", "2020-01-01"])
def test_text_is_text_for_every_reader(text: str) -> None:
    assert yaml.safe_load(scalar(text)) == text


USED = {"fabric": IPv4Network("10.10.0.0/24")}
TEN = IPv4Network("10.10.0.0/24")
WRONG = [
    (lambda: checks.name("Mini 1"), "no name"),
    (lambda: checks.name("controller"), "kept for the emulated"),
    (lambda: checks.name("a$(reboot)"), "no name"),
    (lambda: checks.names("a b a"), "named already"),
    (lambda: checks.names("", at_least=1), "at least one"),
    (lambda: checks.choice("windows", {"linux": 1}), "none of linux"),
    (lambda: checks.port("0"), "not a port"),
    (lambda: checks.port("٣"), "not a port"),
    (lambda: checks.address("10.10.0.256"), "not an IPv4 address"),
    (lambda: checks.destination("-oProxyCommand=x", ()), "not a host or user@host"),
    (lambda: checks.destination("pi@x\nHost *", ()), "not a host or user@host"),
    (lambda: checks.destination("pi@192.168.1.999", ()), "not an IPv4 address"),
    (lambda: checks.management("mini1", ["mini1"]), "another machine already"),
    (lambda: checks.subnet("10.10.0.0/23", USED, (), 2), "overlaps 10.10.0.0/24 of fabric"),
    (lambda: checks.subnet("10.9.0.1/24", USED, (), 2), "write 10.9.0.0/24"),
    (lambda: checks.subnet("10.9.0.0/30", USED, (), 3), "no room for 3"),
    (lambda: checks.subnet("192.168.1.0/24", USED, ["pi@192.168.1.4"], 2), "192.168.1.4 is in"),
    (lambda: checks.subnet("ten", USED, (), 2), "not an IPv4 subnet"),
    (lambda: checks.member("10.10.0.255", TEN, {}), "not a host's address"),
    (lambda: checks.member("10.11.0.1", TEN, {}), "is not in"),
    (lambda: checks.member("10.10.0.1", TEN, {IPv4Address("10.10.0.1"): "a"}), "address of a"),
    (lambda: checks.interface("en5;x", (), ()), "neither an interface"),
    (lambda: checks.interface("en5", ["en5"], ()), "on another link already"),
    (lambda: checks.interface("02:00:00:00:00:0A", (), ["02:00:00:00:00:0a"]), "another port"),
]


@pytest.mark.parametrize(("answer", "words"), WRONG)
def test_a_wrong_answer_is_told_in_one_line(answer: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        answer()
    assert "\n" not in str(caught.value)


# -- on a terminal ----------------------------------------------------------------------------


def _own_terminal() -> None:
    """In the child: its terminal controls it, so that Ctrl-C there is a signal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test run in the background ignores it


class Terminal:
    """`smolmon init` on a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "smolmon", "init", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - no threads here
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"},
        )
        os.close(slave)
        self.seen = ""

    def until(self, words: str) -> None:
        """Read until `words` stand there, past what was read before."""
        end = time.monotonic() + 30
        while words not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{words!r} was not said: {self.seen}"
            self.seen += os.read(self.master, 4096).decode()
        self.seen = self.seen.partition(words)[2]

    def type(self, words: str) -> None:
        os.write(self.master, words.encode())

    def waits(self) -> None:
        """Return when it reads: Python misses a signal between the question and that."""
        status = Path(f"/proc/{self.process.pid}/status")
        end = time.monotonic() + 30
        while "State:\tS" not in status.read_text():
            assert time.monotonic() < end

    def code(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            os.close(self.master)


def test_the_guides_cluster_on_a_terminal(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "my cluster.yaml")
    for number, reply in enumerate(answers(load(GUIDE))):
        terminal.until("]: ")
        if number == 0:
            terminal.type("My Cluster\n")
            terminal.until("Error: 'My Cluster' is no name: lower-case letters")
            terminal.until("]: ")
        terminal.type(f"{reply}\n")
    terminal.until("wrote my cluster.yaml")
    terminal.until("smolmon check --cluster 'my cluster.yaml'")
    assert terminal.code() == 0
    assert [p.name for p in tmp_path.iterdir()] == ["my cluster.yaml"]
    assert load(tmp_path / "my cluster.yaml") == load(GUIDE)


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 1)])
def test_an_end_halfway_writes_nothing(tmp_path: Path, key: str, code: int) -> None:
    terminal = Terminal(tmp_path)
    terminal.until("Name of the cluster")
    terminal.type("x\n")
    terminal.until("It is made of (thunderbolt, ethernet) [thunderbolt]: ")
    terminal.waits()
    terminal.type(key)
    terminal.until("nothing was written")
    assert terminal.code() == code
    assert list(tmp_path.iterdir()) == []


# -- from SmolCluster's files -----------------------------------------------------------------

NODES = """\
nodes:
  - alias: mini1
    ip: 10.10.0.1
    user: ann
  - alias: mini3
    ip: 10.10.0.3
    user: bob
"""
CONFIG = """\
host_ip:
  mini1: "10.10.0.1"
  mini3: 10.10.0.1
  pi5: "192.168.50.1"
  pi4: 10.10.0.1
  win: 10.10.0.1
  jetson: 192.168.1.40
port: {default: 1000, mini1: 65000}
server: mini1
workers:
  regular:
  - {hostname: pi5, rank: 1}
  - {hostname: pi4, rank: 2}
  tablets:
  - {hostname: slate, rank: 3, ip: 172.20.10.3}
"""


def made(*texts: str) -> Draft:
    return draft_of([smolcluster.parse(t, f"{i}.yaml") for i, t in enumerate(texts)])


def test_what_smolclusters_files_know() -> None:
    draft = made(NODES, CONFIG)
    cluster = parse(text_of(draft))
    assert [n.name for n in cluster.nodes] == ["mini1", "mini3", "pi5", "pi4"]
    assert cluster.node("mini3").ssh == "bob@mini3"
    assert (cluster.node("mini3").platform, cluster.node("pi5").platform) == (
        Platform.MACOS,
        Platform.LINUX,
    )
    assert (cluster.server.node, cluster.server.port) == ("mini1", 65000)
    assert str(cluster.server_address) == "10.10.0.1"
    assert str(cluster.address("mini1", "edge50")) == "192.168.50.1"
    assert cluster.segment("edge50").member("pi5")
    # host_ip of pi4 says only that it gets to the fabric: through whom is not known.
    assert cluster.segment("edge51").member("pi4")
    assert ("segments.edge51.members.mini1", True) in [
        (t.key, t.text == "what is pi4 plugged into? mini1 is a guess") for t in draft.todo
    ]
    told = "\n".join(draft.remarks)
    assert "smolmon runs on Linux and macOS only: slate, win" in told
    assert "taking no part: jetson" in told


def test_every_todo_is_a_line_of_the_file() -> None:
    draft = made(NODES, CONFIG)
    lines = [line.strip() for line in text_of(draft).splitlines()]
    assert len(draft.todo) >= 4
    assert all(lines.count(f"# TODO: {todo.text}") >= 1 for todo in draft.todo)


def test_one_address_is_one_machine() -> None:
    topology = "allToAllTopology: {workers: {regular: [{hostname: MacMini_1, ip: 10.10.0.1}]}}"
    draft = made(NODES, topology)
    assert [n.name for n in draft.cluster.nodes] == ["mini1", "mini3"]
    assert "MacMini_1 is called mini1 here" in draft.remarks


def test_an_address_that_two_machines_have_is_left_to_the_first() -> None:
    nodes = "{alias: mini1, ip: 10.10.1.1}, {alias: mini2, ip: 10.10.0.1}, {alias: mini1, ip: %s}"
    draft = made(f"nodes: [{nodes % '10.10.0.1'}]")
    cluster = parse(text_of(draft))
    assert str(cluster.address("mini2", "edge0")) == "10.10.0.1"
    told = [todo.text for todo in draft.todo if todo.key == "nodes"]
    assert "10.10.0.1 is mini2's and mini1's in the files; left to mini2" in told


def test_an_address_outside_the_plan_is_a_wifi_address() -> None:
    draft = made("{server: mini1, workers: [{hostname: mini2, ip: 192.168.7.9}]}", NODES)
    cluster = parse(text_of(draft))
    assert cluster.node("mini2").management == "192.168.7.9"
    assert str(cluster.address("mini2", "fabric")) == "10.10.0.2"


def test_files_that_disagree_on_an_address_are_told_of() -> None:
    one = "{server: mini2, workers: [{hostname: mini1, ip: 192.168.7.9}, {hostname: pi5}]}"
    other = (
        "{server: mini2, workers: [{hostname: mini1}, {hostname: pi5}],"
        " host_ip: {mini1: 10.10.0.2, mini2: 10.10.0.9, pi5: 172.18.2.7}}"
    )
    third = "nodes: [{alias: mini1, ip: 192.168.9.5}, {alias: mini2, ip: 10.10.0.2}]"
    draft = made(one, other, third)
    assert draft.cluster.node("mini1").management == "192.168.7.9"
    told = {todo.key: todo.text for todo in draft.todo}
    assert told["nodes.mini1"] == (
        "the files disagree on its Wi-Fi address: 192.168.7.9, 192.168.9.5"
    )
    assert told["segments.fabric.members.mini2"] == (
        "the files disagree on its address: 10.10.0.2, 10.10.0.9"
    )
    assert "nodes.mini2" not in told
    assert f"# TODO: {told['nodes.mini1']}" in text_of(draft)


def test_a_flat_network_is_one_switch() -> None:
    flat = "".join(f"- {{alias: node{n}, ip: 192.168.7.{n}, user: u}}\n" for n in (1, 2, 3))
    cluster = parse(text_of(made(f"nodes:\n{flat}")))
    (segment,) = cluster.segments
    assert (segment.kind, len(segment.members)) == (Kind.ETHERNET, 3)


def test_the_fields_of_the_inner_block() -> None:
    inner = "syncPS: {host_ip: {mini1: 10.10.0.1}}\nport: 7\nserver: mini1\n"
    assert made(inner).cluster.server == Server("mini1", 7, "fabric")


def test_workers_that_are_bare_names_as_files_before_february_2026_have() -> None:
    old = "{server: mini1, host_ip: {mini1: 10.10.0.1, pi5: 192.168.50.1}, workers: %s}"
    for workers in ("[macbook, mini2, pi5]", "{regular: [macbook, mini2, pi5], tablets: [slate]}"):
        cluster = parse(text_of(made(old % workers)))
        assert [n.name for n in cluster.nodes] == ["mini1", "macbook", "mini2", "pi5"]
        # A number in a name is an address that no other machine gets.
        assert str(cluster.address("mini2", "fabric")) == "10.10.0.2"
        assert cluster.segment("edge50").member("pi5")


@pytest.mark.parametrize("server", ["macbook", "mini2", "mini7"])
def test_a_number_in_a_name_is_an_address_that_no_other_machine_gets(server: str) -> None:
    """Nor does the server, whatever its own name, or one with the same number."""
    workers = ["mini1", "macbook", "studio1", "mini2", "studio"]
    cluster = parse(text_of(made(f"{{server: {server}, workers: [{', '.join(workers)}]}}")))
    addresses = {m.node: str(m.address) for m in cluster.segment("fabric").members}
    assert addresses.keys() == {*workers, server}
    assert (addresses["mini1"], addresses["mini2"]) == ("10.10.0.1", "10.10.0.2")


def test_nor_does_one_whose_own_is_taken() -> None:
    old = "{server: macbook, host_ip: {macbook: 10.10.0.1}, workers: [mini1, mini2]}"
    fabric = parse(text_of(made(old))).segment("fabric")
    assert {m.node: str(m.address) for m in fabric.members} == {
        "macbook": "10.10.0.1",
        "mini2": "10.10.0.2",
        "mini1": "10.10.0.3",
    }


def test_machines_behind_no_mac_share_the_link_of_their_server() -> None:
    ways = "{jetson: 10.10.1.1, jetson2: 10.10.1.2, jetson3: 10.10.1.3}"
    workers = "[{hostname: jetson2}, {hostname: jetson3}]"
    cluster = parse(text_of(made(f"{{server: jetson, host_ip: {ways}, workers: {workers}}}")))
    (segment,) = cluster.segments
    assert [str(m.address) for m in segment.members] == ["10.10.1.1", "10.10.1.2", "10.10.1.3"]


HOSTILE = [
    ("nodes: [{alias: 'a\"b', ip: 10.0.0.1}]", "1: nodes[0].alias: 'a\"b' is not a host name"),
    ('nodes: [{alias: "a\\nb", ip: 10.0.0.1}]', "'a\\nb' is not a host name"),
    ("nodes: [{alias: $(reboot), ip: 10.0.0.1}]", "'$(reboot)' is not a host name"),
    ("nodes: [{alias: -oProxyCommand=x}]", "is not a host name"),
    ("nodes: [{alias: a, user: 'x; rm'}]", "'x; rm' is not a user name"),
    ("nodes: [{alias: a, ip: 10.0.0.1.5}]", "is not an IPv4 address"),
    ("nodes: [{alias: a, ip: 0.0.0.0}]", "is not the address of a machine"),
    ("nodes: [{alias: !!python/name:os.system a}]", "has a YAML tag"),
    ("!!python/object/apply:os.system [reboot]", "has a YAML tag"),
    ("nodes: {alias: a}", "must be a list of machines"),
    ("nodes: [a, b]", "`alias` is missing"),
    ("nodes: []", "name no machine"),
    ("nodes: [{alias: controller}]", "cannot be a node's name"),
    ("host_ip: {'a\\n\\e[2J': 10.0.0.1}", "is not a host name"),
    ('host_ip: {"a\\n\\e[2J": 10.0.0.1}', "'a\\n\\x1b[2J' is not a host name"),
    ("{server: a, port: {a: 99999}}", "not a port"),
    ("a: &x [*x]\nnodes: *x", "nested too deeply"),
    ("workers: 3\nserver: mini1", "must be a list of machines"),
    ("cluster: x", "is neither a nodes.yaml nor"),
    ("nodes: [", "not valid YAML"),
    ("", "is neither a nodes.yaml nor"),
]


@pytest.mark.parametrize(("text", "words"), HOSTILE)
def test_what_cannot_be_right_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        made(text)
    said = str(caught.value)
    assert words in said
    assert said.isprintable()


@given(st.text(max_size=300))
@example("nodes: [{alias: mini1, ip: 10.10.0.1, user: u}]\nserver: 2020-01-01")
def test_any_text_is_a_draft_or_one_line(text: str) -> None:
    said = "a draft"
    try:
        made(text)
    except SourceError as error:
        said = str(error)
    assert said.isprintable()


hosts = st.sampled_from(
    ["mini1", "mini2", "Mac_3", "pi4", "pi5", "jetson", "win", "ipad", "box", "node.7"]
)
ips = st.builds(
    lambda net, host: f"{net}.{host}",
    st.sampled_from(["10.10.0", "10.10.1", "192.168.50", "192.168.52", "192.168.1", "172.18.2"]),
    st.integers(1, 254),
)
entries = st.lists(st.fixed_dictionaries({"alias": hosts}, optional={"ip": ips}), max_size=6)
workers = st.lists(st.fixed_dictionaries({"hostname": hosts}, optional={"ip": ips}), max_size=6)
configs = st.fixed_dictionaries(
    {"host_ip": st.dictionaries(hosts, ips, max_size=8)},
    optional={"server": hosts, "workers": st.one_of(workers, st.fixed_dictionaries(
        {"regular": workers, "tablets": workers}))},
)  # fmt: skip


@given(entries, configs)
@settings(deadline=None)
def test_a_sensible_file_gives_a_file_that_passes_check(nodes: object, config: object) -> None:
    """Whatever the files say of names and addresses, what follows is a sound cluster."""
    try:
        draft = made(yaml.safe_dump({"nodes": nodes}), yaml.safe_dump(config))
    except SourceError as error:
        said = str(error)
    else:
        cluster = parse(text_of(draft))
        assert cluster.nodes[0].name == cluster.server.node
        return
    assert "name no machine" in said


def test_from_files_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nodes.yaml").write_text(NODES)
    Path("config.yaml").write_text(CONFIG)
    done = CliRunner().invoke(init, ["--from", "nodes.yaml", "--from", "config.yaml"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("wrote cluster.yaml\n")
    lines = Path("cluster.yaml").read_text().splitlines()
    told = re.findall(r"^cluster.yaml:(\d+): TODO: (.*)$", done.output, re.MULTILINE)
    assert told
    assert all(lines[int(number) - 1].endswith(f"# TODO: {words}") for number, words in told)
    assert CliRunner().invoke(check, []).exit_code == 0


def test_problems_that_remain_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nodes.yaml").write_text("nodes: [{alias: mini1, ip: 10.10.0.255}]")
    done = CliRunner().invoke(init, ["--from", "nodes.yaml"])
    assert done.exit_code == 1
    assert (
        "cluster.yaml:22: segments.fabric.members.mini1: 10.10.0.255 is not a host" in done.output
    )
    with pytest.raises(ClusterError):
        load(Path("cluster.yaml"))


# -- the file ---------------------------------------------------------------------------------


def test_an_existing_file_stays(tmp_path: Path) -> None:
    there = tmp_path / "there.yaml"
    there.write_text("mine")
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(NODES)
    done = CliRunner().invoke(init, [str(there), "--from", str(nodes)])
    assert (done.exit_code, there.read_text()) == (2, "mine")
    assert "is there already" in done.output
    assert len(done.output.splitlines()) == 1
    done = CliRunner().invoke(init, [str(there), "--from", str(nodes), "--force"])
    assert done.exit_code == 0, done.output
    assert load(there).server.node == "mini1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nodes.yaml", "there.yaml"]


def test_force_spares_a_source_whose_option_was_forgotten(tmp_path: Path) -> None:
    nodes, config = tmp_path / "nodes.yaml", tmp_path / "config.yaml"
    nodes.write_text(NODES)
    config.write_text(CONFIG)
    done = CliRunner().invoke(init, ["--force", "--from", str(nodes), str(config)])
    assert (done.exit_code, config.read_text()) == (2, CONFIG)
    assert f"--from {nodes} --from {config}" in done.output


def test_a_file_that_appears_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appears between the look and the rename, which nobody can foresee."""
    there = tmp_path / "c.yaml"
    fsync = os.fsync

    def late(descriptor: int) -> None:
        there.write_text("mine")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", late)
    with pytest.raises(WriteError, match="is there already"):
        write(there, "new", force=False)
    assert there.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.parametrize("target", ["no/such/folder.yaml", ".", "nodes.yaml/x", "/proc/c.yaml"])
def test_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nodes.yaml").write_text(NODES)
    done = CliRunner().invoke(init, [target, "--from", "nodes.yaml"])
    assert done.exit_code == 2
    assert len(done.output.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["nodes.yaml"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"nodes: []\n" * 1_000_000])
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    source = tmp_path / "source.yaml"
    if content is not None:
        source.write_bytes(content)
    done = CliRunner().invoke(init, [str(tmp_path / "c.yaml"), "--from", str(source)])
    assert done.exit_code == 2
    assert done.output.startswith(f"{source}: ")
    assert len(done.output.splitlines()) == 1
    assert not (tmp_path / "c.yaml").exists()


def test_without_a_terminal_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smolmon", "init"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    assert "--from PATH" in done.stderr


def test_a_kept_management_address_is_not_written_twice() -> None:
    """A node without one leaves the key to the loader."""
    cluster = load(GUIDE)
    nodes = tuple(evolve(n, management="") for n in cluster.nodes)
    text = text_of(Draft(evolve(cluster, nodes=nodes)))
    assert "management:" not in text
    assert parse(text).node("pi5").management == "192.168.1.14"

"""Every query of every board, asked of the emulated cluster's own Prometheus."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from string import ascii_uppercase

import pytest

from smolmon.cluster import load
from smolmon.dashboards.boards import boards
from smolmon.dashboards.checklist import FAIL, state
from smolmon.dashboards.checks import CHECKS
from smolmon.exporter.vocabulary import TABLE
from tests.dashboards.questions import Question, ask, filled, questions
from tests.dashboards.test_queries import metrics_of
from tests.lab.client import ROOT, Lab, refuse_to_replace_a_lab, smolmon, until

SPEED = 20
BANDWIDTH = "\nbandwidth: {period: 70s, duration: 1s, guard: 500ms, daily_budget: 1TB}\n"

# Queries, as board / panel / reference, that say nothing while all is well, and what fills them.
# Where that is a fault of the lab, it is shown below; the others are facts that no emulated Linux
# node has.
QUIET = {
    f"home / Checklist / {ascii_uppercase[len(CHECKS)]}": "forwarding-off",  # since when
    "home / Firing alerts / A": "forwarding-off",
    "gateways / Paths that a known cause breaks / A": "forwarding-off",
    "gateways / Declared routes / C": "return-route-gone",
    "* / annotation Alerts / ": "forwarding-off",
    "* / annotation Training / ": "training",
    "training / Round trip to the server, during training / A": "training",
    "node / The training server's port / D": "training",
    "link / Time to connect / A": "training",
    "link / Time to connect / B": "training",
    "* / annotation Bandwidth tests / ": "only while a test runs",
    "link / Bandwidth tests / C": "a recorded baseline",
    "training / Last results / C": "a recorded baseline",
    "training / Round trip to the server, during tests / A": "only while a test runs",
    "link / Neighbour's hardware address / B": "a MAC address in the cluster file",
    "node / Wi-Fi / A": "a Wi-Fi adapter",
    "node / Wi-Fi / B": "a Wi-Fi adapter",
    "node / Firewall / A": "macOS",
    "node / Firewall / B": "macOS",
    "node / Firewall / C": "macOS",
    "meta / Certificate days left / A": "certificates",
    "meta / Files could be used / B": "certificates",
}
CLUSTER = "guide"
pytestmark = pytest.mark.long

SERVER = """
import socket, time
server = socket.create_server(("10.10.0.1", 65432))
kept = []
while True:
    kept.append(server.accept())
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The guide's cluster of Linux nodes, with bandwidth tests where smolmon has them."""
    text = (ROOT / "examples" / "guide.yaml").read_text().replace("macos", "linux")
    if "smolmon_bandwidth_period_seconds" in TABLE:
        text += BANDWIDTH
    path = tmp_path_factory.mktemp("boards") / "cluster.yaml"
    path.write_text(text)
    refuse_to_replace_a_lab()
    try:
        smolmon("lab", "up", "--cluster", str(path), "--speed", str(SPEED))
        yield Lab(path)
    finally:
        smolmon("lab", "down")


def published(question: Question) -> bool:
    """Whether all metrics that it asks for are; the checklist and the picture do without some."""
    asked_for = {m for m in metrics_of(question.expr) if m.startswith("smolmon_")}
    does_without = question.panel == "Checklist" or question.panel.startswith("Topology of ")
    return asked_for <= TABLE.keys() or does_without


@pytest.fixture(scope="module")
def asked(lab: Lab) -> dict[str, Question]:
    """Every query, but for those whose metrics are not published yet."""
    cluster = load(lab.cluster_file)
    own = {
        str(q): q for board in boards(cluster).values() for q in questions(board) if published(q)
    }
    assert len(own) > 100
    return own


def answered(lab: Lab, question: Question) -> bool:
    """Whether any node, or any pair of it and a peer of its, gives the query data."""
    choices = [{}]
    if "$peer" in question.expr:
        choices = [{"node": n, "peer": p} for n, p in (("pi5", "mini1"), ("mini3", "mini1"))]
    elif "$node" in question.expr:
        choices = [{"node": n} for n in ("mini1", "pi4", "mini3")]
    fixed = {"cluster": CLUSTER, "probe": "server", "__rate_interval": "20s"}
    for chosen in choices:
        expr = filled(question.expr, {**fixed, **chosen})
        found = ask(lab.monitor["prometheus"], "query", query=expr)["result"]
        if any(sample["value"][1] != "NaN" for sample in found):  # 0 / 0 is no answer
            return True
    return False


def quiet(key: str) -> str | None:
    """What fills a query that says nothing while all is well; None: it must say something."""
    board = key.split(" / ", maxsplit=1)[0]
    return QUIET.get(key) or QUIET.get(key.replace(f"{board} / ", "* / ", 1))


def silent(lab: Lab, asked: dict[str, Question]) -> set[str]:
    return {key for key, q in asked.items() if not quiet(key) and not answered(lab, q)}


def test_every_query_of_a_healthy_cluster_gives_data(lab: Lab, asked: dict[str, Question]) -> None:
    """But for those that are listed above."""
    missing: set[str] = set()

    def complete() -> bool:
        missing.clear()
        missing.update(silent(lab, asked))
        return not missing

    with contextlib.suppress(AssertionError):  # what is missing says more than how long it took
        until("all queries have data", complete, 90)
    assert missing == set()


def test_bandwidth_tests_fill_what_is_listed_for_them(lab: Lab, asked: dict[str, Question]) -> None:
    """A test lasts a second: what is asked for is whether there was data since the lab is up."""
    wanted = {key: q for key, q in asked.items() if quiet(key) == "only while a test runs"}
    assert wanted

    def drawn(question: Question) -> bool:
        expr = filled(question.expr, {"cluster": CLUSTER, "__rate_interval": "20s"})
        span = {"start": time.time() - 300, "end": time.time(), "step": 0.5}
        found = ask(lab.monitor["prometheus"], "query_range", query=expr, **span)["result"]
        return any(value != "NaN" for series in found for _, value in series["values"])

    until(f"tests fill {', '.join(wanted)}", lambda: all(drawn(q) for q in wanted.values()), 80)


def verdict(lab: Lab) -> float:
    """What Home says: 0 is READY, 1 DEGRADED, 2 BLOCKED."""
    asked = next(q for q in questions(boards()["home"]) if q.panel.startswith("May I"))
    (sample,) = lab.query(filled(asked.expr, {"cluster": CLUSTER}))
    return float(sample["value"])


def test_a_healthy_cluster_is_not_blocked(lab: Lab) -> None:
    """DEGRADED it may be: ports of the emulated machines are slower than Thunderbolt."""
    until("not blocked", lambda: verdict(lab) < 2, 30)


def test_what_is_listed_for_a_fault_is_filled_by_it(lab: Lab, asked: dict[str, Question]) -> None:
    for fault in ("forwarding-off", "return-route-gone"):
        wanted = {key: q for key, q in asked.items() if quiet(key) == fault}
        assert wanted
        smolmon("lab", "break", fault)
        try:
            until(
                f"{fault} fills {', '.join(wanted)}",
                lambda wanted=wanted: all(answered(lab, q) for q in wanted.values()),
                40,
            )
            until("the verdict is BLOCKED", lambda: verdict(lab) == 2, 40)
        finally:
            smolmon("lab", "heal")


# What makes each row of the checklist fail, and at which node; more than one fault where it takes
# that. A row not listed fails in this lab without one (the bandwidth of Thunderbolt), or cannot be
# made to (tests/dashboards/test_checklist.py has those).
FAILS = {
    "cable-pulled@jetson": {"Cables and interfaces are up": "jetson"},
    "switch-port-dead@jetson": {
        "The gateway answers": "jetson",
        "Workers answer their gateway": "mini3",
    },
    "node-dead@mini2": {
        "The fabric answers": "mini3",
        "Nodes can be reached for management": "mini2",
    },
    "forwarding-off@mini3": {"Gateways forward": "mini3", "The server answers": "pi4"},
    "forward-route-gone@pi4": {"Routes to the fabric": "pi4"},
    "return-route-gone@mini1": {"Return routes to the workers": "mini1"},
    "route-overruled@pi4": {"Paths are as declared": "pi4"},
    "isolation-broken@pi5": {"Workers' segments are kept apart": "pi5"},
    "internet-blocked@pi4": {"The internet answers": "pi4"},
    "default-route-stolen@pi4": {"Internet traffic leaves by Wi-Fi": "pi4"},
    "neighbor-wrong@pi4": {"Neighbours' hardware addresses are right": "pi4"},
    "server-exposed@mini1 firewall-drop@mini1": {
        "The server listens on the fabric only": "mini1",
        "The training port answers while a server listens": "pi4",
    },
    "latency@pi5": {"Round trips are as expected": "pi5"},
    "packet-loss@pi5": {"Packet loss stays below 1 %": "pi5"},
    "address-lost@jetson": {"Declared addresses are set": "jetson"},
    "mtu-mismatch@pi5": {"Packet size and duplex agree": "pi5"},
    "bridge-loop@mini3": {"No packets run in circles": "mini3"},
}
ELSEWHERE = {"Interfaces see no errors", "Clocks are right"}


def failed(lab: Lab, name: str) -> dict[str, str]:
    """The nodes at which a row of the checklist fails, and the command that it shows."""
    (check,) = (each for each in CHECKS if each.name == name)
    asked = filled(state(check), {"cluster": CLUSTER})
    return {s["node"]: s.get("fix", "") for s in lab.query(asked) if s["value"] == FAIL}


@pytest.mark.parametrize("broken", FAILS)
def test_each_row_of_the_checklist_fails_in_its_fault(lab: Lab, broken: str) -> None:
    for fault, _, node in (one.partition("@") for one in broken.split()):
        smolmon("lab", "break", fault, "--node", node)
    try:
        for name, node in FAILS[broken].items():
            assert until(
                f"{name}: FAIL at {node}", lambda n=name, o=node: failed(lab, n).get(o), 150
            )
    finally:
        smolmon("lab", "heal")


def test_no_row_of_the_checklist_is_left_out(lab: Lab) -> None:
    shown = {name for rows in FAILS.values() for name in rows}
    assert {check.name for check in CHECKS} - shown - ELSEWHERE == {"Bandwidth is as expected"}
    until("Thunderbolt's bandwidth fails", lambda: failed(lab, "Bandwidth is as expected"), 150)


def test_training_fills_what_is_listed_for_it(lab: Lab, asked: dict[str, Question]) -> None:
    wanted = {key: q for key, q in asked.items() if quiet(key) == "training"}
    assert wanted
    started = "systemd-run --quiet --collect --unit training"
    lab.run("mini1", *started.split(), "python3", "-c", SERVER)
    client = (
        "import socket, time; s = socket.create_connection(('10.10.0.1', 65432)); time.sleep(60)"
    )
    try:
        until(
            "the server listens",
            lambda: "65432" in lab.run("mini1", "ss", "-Htln").stdout,
        )
        lab.run("pi5", *started.split(), "python3", "-c", client)
        until(
            f"training fills {', '.join(wanted)}",
            lambda: all(answered(lab, q) for q in wanted.values()),
            40,
        )
    finally:
        for node in ("pi5", "mini1"):
            lab.run(node, "systemctl", "stop", "training", check=False)


def test_the_list_names_what_is_asked(asked: dict[str, Question], lab: Lab) -> None:
    cluster = load(lab.cluster_file)
    keys = {str(q) for board in boards(cluster).values() for q in questions(board)}
    for key in QUIET:
        assert any(k == key or k.endswith(key.removeprefix("*")) for k in keys), key

"""Expected against seen: recorded output, and every way in which it can differ."""

from __future__ import annotations

import re
import socket
import subprocess
from ipaddress import IPv4Address

import pytest
from attrs import evolve

from smolmon.cluster import derive
from smolmon.setup.linux.system import LinuxSystem
from smolmon.setup.looks import Hop, Ping, parse_ping
from smolmon.setup.report import summary, table
from smolmon.setup.verify import Seen, Verdict, judge, parse, script
from tests.setup.material import guide, recorded

NODES = ("mini1", "mini2", "mini3", "pi5", "pi4", "jetson")
DEAD = Ping(3, 0)


def healthy(node: str) -> Seen:
    """What a node shows when all is as declared."""
    cluster = guide()
    routes = derive.routes(cluster, node)
    member = {s.name: s.member(node) for s in cluster.segments_of(node)}
    ports = tuple(member[r.link].interface for r in routes)
    return Seen(
        probes=tuple(Ping(3, 3, "0.1") for _ in derive.probes(cluster, node)),
        routes=tuple(Hop(port, r.via) for r, port in zip(routes, ports, strict=True)),
        ports=ports,
        isolation=tuple((DEAD, Ping(3, 3, "0.1")) for _ in derive.isolation(cluster, node)),
        forwarding=node in derive.gateways(cluster),
        training="" if node == cluster.server.node else "refused",
    )


def everywhere(**changes: Seen) -> dict[str, Seen]:
    return {node: changes.get(node) or healthy(node) for node in NODES}


def dead(node: str, *targets: str) -> Seen:
    seen = healthy(node)
    probes = zip(derive.probes(guide(), node), seen.probes, strict=True)
    return evolve(seen, probes=tuple(DEAD if p.target in targets else ping for p, ping in probes))


def differences(seen: dict[str, Seen]) -> list[tuple[str, str, str]]:
    return [
        (c.node, c.what, c.reason) for c in judge(guide(), seen) if c.verdict is not Verdict.PASS
    ]


@pytest.mark.parametrize("node", ["mini1", "pi5"])
def test_a_recorded_healthy_node(node):
    seen = parse(guide(), node, LinuxSystem(guide(), node), recorded(f"{node}-verify"))
    checks = judge(guide(), {node: seen})
    assert [c for c in checks if c.verdict is not Verdict.PASS] == []
    assert summary(checks) == f"all {len(checks)} checks are as expected"


def test_all_is_well():
    assert differences(everywhere()) == []


def test_a_missing_return_route_is_the_reason_of_what_it_breaks():
    mini1 = evolve(healthy("mini1"), routes=(Hop("wlan0", IPv4Address("192.168.1.1")),))
    found = differences(everywhere(mini1=mini1, pi4=dead("pi4", "mini1")))
    assert found[0][:2] == ("mini1", "route 192.168.51.0/24 (return)")
    lacking = "mini1 lacks the return route 192.168.51.0/24 via 10.10.0.3"
    assert ("pi4", "ping server mini1 10.10.0.1", lacking) in found


def test_forwarding_is_the_reason_of_what_it_breaks():
    mini3 = evolve(healthy("mini3"), forwarding=False)
    found = differences(everywhere(mini3=mini3, pi4=dead("pi4", "mini1")))
    assert [f[:2] for f in found] == [
        ("mini3", "forwarding"),
        ("pi4", "ping server mini1 10.10.0.1"),
    ]
    assert found[1][2] == "mini3 does not forward"


def test_a_missing_route_of_one_s_own_comes_first():
    pi5 = evolve(dead("pi5", "mini1"), routes=(None,))
    reasons = [r for _, what, r in differences(everywhere(pi5=pi5)) if what.startswith("ping")]
    assert reasons[0] == "pi5 lacks the route 10.10.0.0/24 via 192.168.50.1"


def test_a_dead_link_names_the_link():
    found = differences(everywhere(pi4=dead("pi4", "mini1", "mini3")))
    assert all("over edge51: its cable, its port, or mini3" in reason for *_, reason in found)


def test_beyond_a_gateway_that_answers():
    found = differences(everywhere(pi4=dead("pi4", "mini1")))
    assert found[0][2] == "mini3 answers, what is behind it does not: look at mini1 and its links"


def test_isolation_fails_when_the_target_answers_and_proves_nothing_without_its_control():
    pi5 = healthy("pi5")
    broken = evolve(pi5, isolation=((Ping(3, 3, "0.2"), Ping(3, 3, "0.1")),))
    (check,) = [c for c in judge(guide(), everywhere(pi5=broken)) if c.verdict is Verdict.FAIL]
    assert "passes these packets on" in check.reason
    blind = evolve(pi5, isolation=((DEAD, DEAD),))
    verdicts = {c.verdict for c in judge(guide(), everywhere(pi5=blind))}
    assert verdicts == {Verdict.PASS, Verdict.INCONCLUSIVE}


def test_the_table_gives_the_reason_below_the_difference():
    mini3 = evolve(healthy("mini3"), forwarding=False)
    lines = list(table(judge(guide(), everywhere(mini3=mini3))))
    at = next(n for n, line in enumerate(lines) if line.startswith("FAIL"))
    assert re.split(r"  +", lines[at]) == ["FAIL", "mini3", "forwarding", "on", "off"]
    assert "it drops what is not for itself" in lines[at + 1]


@pytest.mark.parametrize(
    ("text", "ping"),
    [
        (
            "3 packets transmitted, 3 received, 0% packet loss, time 403ms\n"
            "rtt min/avg/max/mdev = 0.033/0.060/0.077/0.019 ms",
            Ping(3, 3, "0.060"),
        ),
        (
            "3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2050ms\npipe 3",
            Ping(3, 0),
        ),
        (
            "3 packets transmitted, 2 packets received, 33% packet loss\n"
            "round-trip min/avg/max = 0.1/0.2/0.3 ms",
            Ping(3, 2, "0.2"),
        ),
        (
            "PING 8.8.8.8\nping: connect: Network is unreachable\n",
            Ping(0, 0, said="ping: connect: Network is unreachable"),
        ),
        ("", Ping(0, 0)),
    ],
)
def test_ping_summaries(text, ping):
    assert parse_ping(text) == ping


def test_a_loss_is_told_though_the_address_answers():
    assert str(Ping(3, 2, "0.2")) == "0.2 ms, 1 of 3 lost"
    assert str(Ping(3, 0)) == "no answer"


def test_a_ping_that_never_ran_says_so_and_proves_nothing():
    missing = Ping(0, 0, said="/bin/sh: 9: ping: not found")
    pi5 = healthy("pi5")
    pi5 = evolve(
        pi5,
        probes=tuple(missing for _ in pi5.probes),
        isolation=tuple((missing, missing) for _ in pi5.isolation),
    )
    found = [c for c in judge(guide(), everywhere(pi5=pi5)) if c.verdict is not Verdict.PASS]
    assert {c.node for c in found} == {"pi5"}
    assert {c.verdict for c in found} == {Verdict.INCONCLUSIVE}
    assert {c.seen for c in found} == {missing.said}
    assert {c.reason for c in found} == {"no request was sent, so it proves nothing about the link"}
    half = evolve(healthy("pi5"), isolation=((DEAD, missing),))
    ((_, _, reason),) = differences(everywhere(pi5=half))
    assert reason.endswith("did not run: /bin/sh: 9: ping: not found")
    lost = evolve(pi5, routes=(None,))
    assert "pi5 lacks the route 10.10.0.0/24 via 192.168.50.1" in {
        reason for *_, reason in differences(everywhere(pi5=lost))
    }


@pytest.mark.parametrize("part", ["forwarding", "port 0", "route 0", "ping probe 1"])
def test_a_part_that_was_not_printed_is_an_error(part):
    text = recorded("mini1-verify")
    assert f"@@{part}" in text
    with pytest.raises(ValueError, match=r"^it (lacks the part|names 0 interfaces)"):
        parse(guide(), "mini1", LinuxSystem(guide(), "mini1"), text.replace(f"@@{part}", "@@gone"))


def test_the_summary_counts_the_nodes_that_did_not_answer():
    checks = judge(guide(), {"pi5": healthy("pi5")})
    assert summary([], ["a", "b"]) == "nothing was checked; 2 nodes did not answer"
    said = f"{len(checks)} checks are as expected; 1 node did not answer"
    assert summary(checks, ["a"]) == said
    bad = judge(guide(), {"pi5": evolve(healthy("pi5"), routes=(None,))})
    assert summary(bad, ["a"]).endswith("not as expected; 1 node did not answer")


@pytest.mark.parametrize("node", NODES)
def test_the_script_is_sound_shell(node):
    text = script(guide(), node, LinuxSystem(guide(), node))
    assert subprocess.run(["/bin/sh", "-n"], input=text, text=True, check=False).returncode == 0


def test_answers_that_took_another_way_are_a_difference():
    pi5, pi4 = healthy("pi5"), healthy("pi4")
    assert [p.target for p in derive.probes(guide(), "pi4")] == ["mini1", "mini3", "internet"]
    hops = zip(pi4.probes, (1, 0, 9), strict=True)
    there = evolve(pi4, probes=tuple(evolve(probe, hops=n) for probe, n in hops))
    assert differences(everywhere(pi4=there)) == []
    around = evolve(pi5, probes=tuple(evolve(p, hops=1) for p in pi5.probes))
    found = differences(everywhere(pi5=around))
    assert {what for _, what, _ in found} == {
        "ping server mini1 10.10.0.1",
        "ping gateway mini1 192.168.50.1",
    }
    ((expected, seen),) = [
        (c.expected, c.seen)
        for c in judge(guide(), everywhere(pi4=there))
        if c.node == "pi4" and c.what.startswith("ping server")
    ]
    assert (expected, seen) == ("answers through 1 gateway", "0.1 ms through 1 gateway")


@pytest.mark.parametrize(
    ("said", "reachable", "seen", "verdict"),
    [
        ("open", True, "accepts", Verdict.PASS),
        ("refused", True, "nothing listens", Verdict.PASS),
        ("silent", True, "no answer", Verdict.FAIL),
        ("silent", False, "no answer", Verdict.INCONCLUSIVE),
    ],
)
def test_the_training_port_is_reported_and_its_absence_is_no_fault(said, reachable, seen, verdict):
    pi4 = evolve(healthy("pi4") if reachable else dead("pi4", "mini1"), training=said)
    (check,) = [
        c
        for c in judge(guide(), everywhere(pi4=pi4))
        if c.node == "pi4" and c.what.startswith("connect")
    ]
    assert (check.seen, check.verdict) == (seen, verdict)


def test_a_connection_is_tried_by_the_real_shell():
    def says(address: str, port: int) -> str:
        command = LinuxSystem(guide(), "pi4").connect(IPv4Address(address), port)
        return subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, check=True
        ).stdout.strip()

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert says("127.0.0.1", port) == "open"
    assert says("127.0.0.1", port) == "refused"


@pytest.mark.parametrize(
    ("ttl", "hops"), [(64, 0), (62, 2), (128, 0), (127, 1), (254, 1), (30, 34)]
)
def test_how_many_routers_an_answer_passed(ttl, hops):
    text = (
        f"64 bytes from 10.10.0.1: icmp_seq=1 ttl={ttl} time=0.06 ms\n\n"
        "1 packets transmitted, 1 received, 0% packet loss, time 0ms\n"
    )
    assert parse_ping(text).hops == hops

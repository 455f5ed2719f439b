"""Leave to test, asked and given over real sockets; and by three nodes with the real libiperf."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.cluster import Cluster, parse
from smolmon.cluster.timetable import between, timetable
from smolmon.exporter.bandwidth import collect, consent, end
from smolmon.exporter.bandwidth.consent import Question, ask, give, question
from smolmon.exporter.bandwidth.end import Turn
from smolmon.exporter.bandwidth.job import Role
from smolmon.exporter.bandwidth.local import DURING, Local
from smolmon.exporter.bandwidth.outcome import Aborted, Result, Skipped
from smolmon.exporter.system import Connection, NotAvailableError, TcpSockets
from smolmon.exporter.system_linux import LinuxSystem
from tests.cluster.clusters import guide
from tests.exporter import netns
from tests.exporter.fakes import FakeSystem, error
from tests.exporter.netns import A, B, C, inside, ip, sh, until

SERVER, ASKER, OTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
TRAINER = Connection(IPv4Address(SERVER), 65432, IPv4Address("127.0.0.9"), 40000)
SECOND = Connection(IPv4Address(SERVER), 65432, IPv4Address("127.0.0.9"), 40001)


def chain(port: int = 9743, more: str = "") -> Cluster:
    """Three nodes in a row, all of whose addresses are this machine's; the first one serves."""
    return parse(text("127.0.0", port, more))


def text(first: str, port: int = 9743, more: str = "") -> str:
    names = ("one", "two", "three")
    nodes = "".join(f"  {n}: {{platform: linux, management: {n}.local}}\n" for n in names)
    members = "".join(
        f"      {n}: {{address: {first}.{i}, interface: eth0}}\n" for i, n in enumerate(names, 1)
    )
    return (
        f"cluster: row\nserver: {{node: one}}\nnodes:\n{nodes}segments:\n  row:\n"
        f"    kind: thunderbolt\n    subnet: {first}.0/24\n    members:\n{members}"
        f"bandwidth: {{port: {port}, duration: 1s, guard: 500ms{more}}}\n"
    )


SILENT = (Skipped.UNKNOWN, "one does not say whether training runs")


def heard(leave: consent.Leave) -> bool:
    """Whether somebody has given it."""
    return bool(leave._connection) and leave.refused is None


@pytest.fixture
def port():
    """One that nobody uses."""
    with socket.create_server((SERVER, 0)) as found:
        return found.getsockname()[1]


class Giver:
    """The server's node, which sees the `connections` that a test says."""

    def __init__(self, port: int) -> None:
        self.looks = 0
        giver = self

        class Counting(FakeSystem):
            def tcp(self, port: int) -> TcpSockets:
                giver.looks += 1
                return super().tcp(port)

        self.system = Counting()
        self.worker = ThreadPoolExecutor(1)
        self.local = Local(chain(), "one", self.system, self.worker)
        self.place = (SERVER, port)

    def train(self, *connections: Connection) -> None:
        self.system.sockets = TcpSockets((), connections)

    @contextlib.asynccontextmanager
    async def giving(self, seconds: float = 20.0, askers=(ASKER, OTHER)):
        task = asyncio.create_task(give(self.local, self.place, askers, seconds))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def asked(self, own: str = ASKER):
        """The answer."""
        return await ask(Question(IPv4Address(own), IPv4Address(SERVER), "one"), self.place[1])


@pytest.fixture
def giver(port):
    return Giver(port)


class TestTheAnswer:
    def test_is_leave_until_training_begins(self, giver):
        async def main():
            async with giver.giving():
                leave = await giver.asked()
                assert not leave.refused
                giver.train(TRAINER)
                began = time.monotonic()
                assert await asyncio.wait_for(leave.withdrawn(), 5) == (
                    Aborted.TRAINING,
                    "training began",
                )
                leave.close()
                return time.monotonic() - began

        assert asyncio.run(main()) < 1

    def test_is_no_while_training_runs(self, giver):
        async def main():
            giver.train(TRAINER)
            async with giver.giving():
                assert (await giver.asked()).refused == (Skipped.TRAINING, "training runs")
                giver.train()
                over = time.monotonic() + 3 * DURING
                while (await giver.asked()).refused:
                    assert time.monotonic() < over

        asyncio.run(main())

    def test_is_the_same_for_all_who_take_part(self, giver):
        async def main():
            async with giver.giving():
                leaves = [await giver.asked(own) for own in (ASKER, OTHER)]
                assert [leave.refused for leave in leaves] == [None, None]
                giver.train(TRAINER)
                await asyncio.wait_for(asyncio.gather(*(one.withdrawn() for one in leaves)), 5)

        asyncio.run(main())

    def test_is_for_nobody_else(self, giver):
        async def main():
            async with giver.giving(askers=(ASKER,)):
                assert not (await giver.asked()).refused
                assert (await giver.asked(OTHER)).refused == SILENT

        asyncio.run(main())

    def test_goes_to_who_asked_last_at_an_address(self, giver):
        """An exporter that was started again has forgotten its first connection."""

        async def main():
            async with giver.giving():
                first, second = await giver.asked(), await giver.asked()
                giver.train(TRAINER)
                await asyncio.wait_for(second.withdrawn(), 5)
                assert await asyncio.wait_for(first._connection[0].read(), 5) in (b"", consent.GO)

        asyncio.run(main())

    def test_ends_with_the_slot_and_leaves_the_address_free(self, giver):
        async def main():
            async with giver.giving(seconds=1.0) as task:
                leave = await giver.asked()
                await asyncio.wait_for(task, 5)
                # As libiperf listens in the next slot, whatever is left of these connections.
                with socket.create_server(giver.place):
                    pass
                await asyncio.wait_for(leave._connection[0].read(), 5)
                waiting = asyncio.create_task(leave.withdrawn())
                done, _ = await asyncio.wait((waiting,), timeout=0.2)
                assert not done  # the node has no more to say, which is no reason to end
                waiting.cancel()

        asyncio.run(main())

    def test_waits_for_an_address_that_is_in_use_a_moment_longer(self, giver, monkeypatch):
        taken = socket.create_server(giver.place)
        refusals = []
        listen = asyncio.start_server

        async def listening(*words):
            try:
                return await listen(*words)
            except OSError as refusal:
                refusals.append(refusal)
                taken.close()  # so the next attempt is let in
                raise

        monkeypatch.setattr(asyncio, "start_server", listening)

        async def main():
            async with giver.giving():
                over = time.monotonic() + 5
                while not refusals:
                    assert time.monotonic() < over
                    await asyncio.sleep(0)
                assert heard(await giver.asked())

        asyncio.run(main())
        assert len(refusals) == 1

    @pytest.mark.parametrize("trouble", [error(24), NotAvailableError("no such file")])
    def test_is_none_where_the_node_cannot_see(self, giver, trouble):
        """And then there is no test either."""
        giver.system.fails_with = trouble

        async def main():
            async with giver.giving():
                return (await giver.asked()).refused

        assert asyncio.run(main()) == SILENT

    @pytest.mark.parametrize("trouble", [error(24), NotAvailableError("no such file")])
    def test_goes_on_once_the_node_can_see_again(self, giver, trouble, caplog):
        """To who has asked before, too; and one slot has one line of it in the log."""

        async def until_looked(times):
            giver.looks, over = 0, time.monotonic() + 10
            while giver.looks < times:
                assert time.monotonic() < over
                await asyncio.sleep(0.01)

        async def main():
            async with giver.giving():
                leave = await giver.asked()
                assert heard(leave)
                giver.system.fails_with = trouble
                await until_looked(4)
                giver.system.fails_with = None
                giver.train(TRAINER)
                await asyncio.wait_for(leave.withdrawn(), 5)

        asyncio.run(main())
        assert len([r for r in caplog.records if "cannot tell others" in r.message]) == 1

    def test_that_does_not_come_from_a_node_that_is_there_is_none(self, port):
        """It is slow, or cannot see: whether training runs is not known."""

        async def main():
            began = time.monotonic()
            leave = await ask(Question(IPv4Address(ASKER), IPv4Address(SERVER), "one"), port)
            assert time.monotonic() - began < consent.ANSWER + 0.5
            return leave.refused

        with socket.create_server((SERVER, port)):
            assert asyncio.run(main()) == SILENT

    def test_that_cannot_come_takes_a_second_at_most(self, port, caplog):
        caplog.set_level("INFO")

        async def main():
            began = time.monotonic()
            leave = await ask(Question(IPv4Address(ASKER), IPv4Address(SERVER), "one"), port)
            assert time.monotonic() - began < consent.ANSWER + 0.5
            assert leave.refused is None
            waiting = asyncio.create_task(leave.withdrawn())
            assert not (await asyncio.wait((waiting,), timeout=0.1))[0]
            waiting.cancel()

        asyncio.run(main())
        (line,) = [r.message for r in caplog.records if "cannot ask one" in r.message]
        assert "refused" in line or "Connect call failed" in line


@given(st.lists(st.sets(st.sampled_from((TRAINER, SECOND))), min_size=2, max_size=12))
@settings(deadline=None, max_examples=50)
def test_training_is_what_two_looks_in_a_row_see(looks):
    """Attempts to connect, as our own probes make, are there for one look at most."""
    seen = iter(looks)

    class Table(FakeSystem):
        def tcp(self, port: int) -> TcpSockets:
            return TcpSockets((), tuple(next(seen)))

    async def main():
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as worker:
            patch.setattr("smolmon.exporter.bandwidth.local.DURING", 0.0)
            patch.setattr("smolmon.exporter.bandwidth.local.AGAIN", 0.0)
            said = Local(chain(), "one", Table(), worker).training()
            return [await anext(said) for _ in looks[1:]]

    assert asyncio.run(main()) == [bool(a & b) for a, b in itertools.pairwise(looks)]


class TestInTheTimetable:
    def test_a_test_asks_where_it_has_no_end_at_the_server(self):
        two_three = between(guide(), "mini2", "mini3")
        assert question(guide(), two_three) == Question(
            IPv4Address("10.10.0.2"), IPv4Address("10.10.0.1"), "mini1"
        )
        assert question(guide(), between(guide(), "pi4", "mini1")) is None
        # From the address at which the server knows it, not from that of the test.
        behind = question(guide(), between(guide(), "mini3", "pi4"))
        assert str(behind.own) == "10.10.0.3"

    @pytest.mark.parametrize("target", ["three", "one"])
    def test_the_server_answers_in_slots_that_ask_and_in_no_other(self, port, target):
        cluster = chain(port=port, more=", period: 60s")
        local = Local(cluster, "one", FakeSystem(), ThreadPoolExecutor(1))
        slots = timetable(cluster).slots(1.7e9, 1.7e9 + 60)
        slot = next(s for s in slots if (s.test.source, s.test.target) == ("two", target))
        asked = Question(cluster.address("two", "row"), cluster.server_address, "one")
        ahead = slot.start - 0.5 - time.time()  # as if it began at once

        def now():
            return time.time() + ahead

        async def main():
            """When there was an answer."""
            task = asyncio.create_task(consent.keep(cluster, local, now))
            answered = []
            while now() < slot.end + 0.3:
                leave = await ask(asked, port)
                answered += [now()] * heard(leave)
                leave.close()
                await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return answered

        answered = asyncio.run(main())
        if target == "one":  # which receives it at that very address
            assert answered == []
        else:
            assert slot.start <= answered[0] <= slot.sending + 0.5
            assert slot.end - 1 < answered[-1] < slot.end + 0.1

    @pytest.mark.parametrize("node", ["mini1", "mini3"])
    def test_asking_is_no_test_in_progress(self, node):
        """On the fabric, while mini3 -> pi4 uses edge51."""
        slots = timetable(guide()).slots(1.7e9, 1.7e9 + 3600)
        slot = next(s for s in slots if (s.test.source, s.test.target) == ("mini3", "pi4"))
        ends = {"mini1": ("10.10.0.1", 9743), "mini3": ("10.10.0.3", 40000)}
        mine, other = ends.pop(node), *ends.values()
        asking = Connection(IPv4Address(mine[0]), mine[1], IPv4Address(other[0]), other[1])
        system = FakeSystem(sockets=TcpSockets((), (asking,)))

        def on_the_fabric(now):
            found = collect.in_progress(guide(), node, None, now, system)
            samples = next(m for m in found if m.name.endswith("in_progress")).samples
            return next(s.value for s in samples if s.labels == {"link": "fabric"})

        assert on_the_fabric(slot.sending + 1) == 0
        assert on_the_fabric(slot.start - 30) == 1  # then it is somebody's test by hand


def row() -> Cluster:
    return parse(row_text())


def row_text() -> str:
    return text("10.10.0", more=", period: 100s")


@pytest.fixture
def three():
    """`two` in A and `three` in B, on slow wires to a bridge of `one`, the server, in C."""
    netns.require_root()
    netns.remove()
    try:
        for name in (A, B, C):
            subprocess.run(["ip", "netns", "add", name], check=True)
            ip(name, "link set lo up")
        ip(C, "link add eth0 type bridge")
        for number, name in enumerate((A, B), start=2):
            ip(name, f"link add eth0 type veth peer name port{number} netns {C}")
            ip(C, f"link set port{number} master eth0 up")
            ip(name, f"addr add 10.10.0.{number}/24 dev eth0")
            ip(name, "link set eth0 up")
            sh(
                name,
                *[
                    "tc",
                    "qdisc",
                    "add",
                    "dev",
                    "eth0",
                    "root",
                    "tbf",
                    "rate",
                    "200mbit",
                    "burst",
                    "64kb",
                    "latency",
                    "50ms",
                ],
            )
        ip(C, "addr add 10.10.0.1/24 dev eth0")
        ip(C, "link set eth0 up")
        with ThreadPoolExecutor(4) as pool:
            yield pool
    finally:
        netns.remove()


def away(pool, namespace, node, work):
    """What `work` returns, a coroutine of the node's own view, on its way in that namespace."""

    async def main():
        with ThreadPoolExecutor(1, initializer=partial(netns.enter, namespace)) as worker:
            system = LinuxSystem()
            try:
                return await work(Local(row(), node, system, worker))
            finally:
                worker.submit(system.close)

    return pool.submit(inside, namespace, lambda: asyncio.run(main()))


def ends(pool, duration=1, seconds=8.0):
    """Both ends of two -> three, under way."""
    cluster = evolve(row(), bandwidth=evolve(row().bandwidth, duration=duration))
    test = between(cluster, "two", "three")
    now = time.time()
    turns = (
        Turn(test, Role.SEND, now + 1.0, now + seconds, asked=question(cluster, test)),
        Turn(test, Role.RECEIVE, now + 1.0, now + seconds),
    )
    return [
        away(pool, namespace, node, partial(end.run, turn, cluster.bandwidth))
        for namespace, node, turn in ((A, "two", turns[0]), (B, "three", turns[1]))
    ]


def giving(pool, seconds):
    """The server's node answers."""
    place = ("10.10.0.1", 9743)
    return away(pool, C, "one", lambda local: give(local, place, {"10.10.0.2"}, seconds))


@contextlib.contextmanager
def training():
    """Somebody trains whom neither end can see."""

    def begin():
        server = socket.create_server(("10.10.0.1", 65432))
        return server, socket.create_connection(("10.10.0.1", 65432), 5)

    sockets = inside(C, begin)
    try:
        yield
    finally:
        for sock in sockets:
            sock.close()


def sent() -> int:
    """Bytes that `two` has sent."""
    command = ["ip", "netns", "exec", A, "cat", "/sys/class/net/eth0/statistics/tx_bytes"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


class TestThreeNodes:
    @pytest.mark.parametrize("asked", [True, False])
    def test_without_training_the_wire_is_measured(self, three, asked):
        """Whether or not the server's node can be asked."""
        answering = giving(three, 5.0) if asked else None
        source, target = (one.result(30) for one in ends(three))
        assert (source.result, target.result) == (Result.SUCCESS, Result.SUCCESS)
        assert target.measurement.rate == pytest.approx(25e6, rel=0.1)
        if answering:
            answering.result(30)

    def test_a_test_does_not_start_while_a_third_node_trains(self, three):
        with training():
            answering = giving(three, 3.0)
            source, target = (one.result(30) for one in ends(three))
        assert source.reason is Skipped.TRAINING
        assert target.reason is Skipped.PEER_BUSY
        assert sent() < 1e5
        answering.result(30)

    def test_a_test_ends_within_a_second_when_a_third_node_begins_to_train(self, three):
        answering = giving(three, 8.0)
        source, target = ends(three, duration=6, seconds=10.0)
        until(lambda: sent() > 5e6)
        with training():
            began = time.monotonic()
            assert source.result(30).reason is Aborted.TRAINING
            took = time.monotonic() - began
            assert target.result(30).reason is Aborted.PEER
        assert took < 1
        answering.result(30)

    def test_the_server_says_it_to_who_tests_by_hand(self, three, tmp_path):
        """What `smolmon bandwidth run two three` asks of `one` first."""
        file = tmp_path / "cluster.yaml"
        file.write_text(row_text())
        words = ["bandwidth", "training", "--cluster", str(file), "--node", "one"]
        argv = ["ip", "netns", "exec", C, sys.executable, "-m", "smolmon", *words]

        def said():
            return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)

        assert said()["reason"] is None
        with training():
            assert said()["reason"] == "training"

"""The bandwidth tests' own conduct: reports, reasons, accounts, the timetable kept or missed."""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import timetable
from smolmon.exporter.bandwidth import collect, report
from smolmon.exporter.bandwidth.accounts import Accounts
from smolmon.exporter.bandwidth.cage import caged, command
from smolmon.exporter.bandwidth.job import (
    Job,
    Measurement,
    Role,
    Trouble,
    answer_as_json,
    answer_from_json,
)
from smolmon.exporter.bandwidth.local import Local
from smolmon.exporter.bandwidth.outcome import (
    Aborted,
    Failed,
    Outcome,
    Result,
    Skipped,
    reason_of,
    remedy,
)
from smolmon.exporter.bandwidth.runner import Runner
from smolmon.exporter.bandwidth.service import Bandwidth
from smolmon.exporter.declaration import load
from smolmon.exporter.host import Host
from smolmon.exporter.observer import Observer
from smolmon.exporter.system import Connection, Counters, Interface, TcpSockets
from smolmon.exporter.vocabulary import TABLE
from tests.cluster.clusters import GUIDE, guide
from tests.exporter.fakes import FakeSystem, error

GOOD = Measurement(bytes=500_000_000, rate=100e6, cpu=0.3, remote_cpu=0.2, retransmits=4)
END = {
    "sum_sent": {"bytes": 1000, "seconds": 2.0, "retransmits": 3},
    "sum_received": {"bytes": 900, "seconds": 2.0},
    "cpu_utilization_percent": {"host_total": 34.0, "remote_total": 120.0},
}


class TestAJob:
    @pytest.mark.parametrize(
        "bad",
        [
            {"duration": 0},  # libiperf would run for ever
            {"duration": -1},
            {"duration": 100000},
            {"duration": 1.5},
            {"streams": 0},
            {"streams": 1000},  # libiperf would abort the process
            {"port": 0},
            {"rate": 0.0},
            {"lifetime": 0.0},
            {"lifetime": 1e9},
            {"patience": -1.0},
            {"server": "localhost"},
            {"role": "attack"},
        ],
        ids=str,
    )
    def test_is_bounded_before_anything_starts(self, bad):
        with pytest.raises((ValueError, TypeError)):
            Job(**{"role": Role.SEND, **bad})
        with pytest.raises((ValueError, TypeError)):
            Job.from_json(json.dumps({"role": "send", **bad}))

    def test_comes_through_the_pipe_as_it_is(self):
        job = Job(Role.RECEIVE, "10.0.0.1", "10.0.0.2", 9743, 5, 4, 1e6, 17e8, 2.0, 9.5)
        assert Job.from_json(job.as_json()) == job

    @pytest.mark.parametrize("answer", [GOOD, Trouble("it broke", 109), None])
    def test_has_an_answer_that_does_too(self, answer):
        assert answer_from_json(answer_as_json(answer)) == answer

    @given(st.text())
    def test_is_not_answered_by_any_text(self, text):
        with pytest.raises(ValueError, match=r"not an answer"):
            answer_from_json(text)


class TestAReport:
    def test_of_the_sender(self):
        seen = report.read(json.dumps({"end": END}), Role.SEND, 0, "")
        assert seen == Measurement(1000, 500.0, 0.34, 1.2, 3)

    def test_of_the_receiver(self):
        start = {"accepted_connection": {"host": "10.0.0.2"}}
        seen = report.read(json.dumps({"start": start, "end": END}), Role.RECEIVE, 0, "")
        assert seen == Measurement(900, 450.0, 0.34, 1.2, None, "10.0.0.2")

    def test_that_is_good_in_spite_of_an_error_number(self):
        """As libiperf 3.18 leaves it behind; one that was broken off has the same."""
        text, said = json.dumps({"end": END}), "unable to read from stream socket: "
        assert report.read(text, Role.RECEIVE, 206, said, 1.8) == Measurement(900, 450.0, 0.34, 1.2)
        assert report.read(text, Role.RECEIVE, 206, said, 4.5) == Trouble(said.strip(), 206)
        early = report.read(text, Role.RECEIVE, 0, "", 4.5)
        assert early == Trouble("the test ended after 2.0 s")

    def test_without_what_the_system_does_not_count(self):
        end = {"sum_sent": {"bytes": 1000, "seconds": 2.0, "retransmits": -1}}
        seen = report.read(json.dumps({"end": end}), Role.SEND, 0, "")
        assert seen == Measurement(1000, 500.0)

    @pytest.mark.parametrize(
        ("text", "code", "said", "words"),
        [
            ('{"error": "unable to connect to server: Connection refused"}', 103, "", "refused"),
            ("", 102, "unable to start listener", "unable to start listener"),
            ('{"end": {}}', 0, "", "no result"),
            ('{"end": {"sum_sent": {"bytes": 0, "seconds": 2}}}', 0, "", "no result"),
            ("[1, 2", 0, "", "no result"),
            ("[]", 0, "", "no result"),
        ],
    )
    def test_of_trouble(self, text, code, said, words):
        seen = report.read(text, Role.SEND, code, said)
        assert isinstance(seen, Trouble)
        assert words in seen.text
        assert seen.code == code

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from([*END, "end", "error", "start"]), inner)
            ),
        )
    )
    def test_is_never_more_than_trouble_whatever_it_holds(self, anything):
        seen = report.read(json.dumps(anything), Role.SEND, 0, "")
        assert isinstance(seen, Trouble)


@pytest.mark.parametrize(
    ("trouble", "role", "reason"),
    [
        (Trouble("no such file", library=True), Role.SEND, Skipped.UNAVAILABLE),
        (Trouble("", late=True), Role.SEND, Failed.TIMEOUT),
        (Trouble("", killed=True), Role.SEND, Failed.KILLED),
        (Trouble("x: Connection refused", 103), Role.SEND, Failed.REFUSED),
        (Trouble("x: No route to host", 103), Role.SEND, Failed.UNREACHABLE),
        (Trouble("x: Connection timed out", 103), Role.SEND, Failed.CONNECT_TIMEOUT),
        (Trouble("x: something new", 103), Role.SEND, Failed.ERROR),
        (Trouble("", 102), Role.RECEIVE, Failed.ADDRESS),
        (Trouble("", 121), Role.SEND, Skipped.PEER_BUSY),
        (Trouble("", 106), Role.RECEIVE, Skipped.PEER_BUSY),
        (Trouble("", 109), Role.RECEIVE, Aborted.PEER),
        (Trouble("", 205), Role.SEND, Aborted.PEER),
        (Trouble("", 1), Role.SEND, Failed.ERROR),
    ],
)
def test_trouble_has_a_reason(trouble, role, reason):
    assert reason_of(trouble, role) is reason


class TestTheLibrary:
    """Where it is looked for, by a real child that is told other places than ours."""

    def check(self, *places) -> Trouble | None:
        code = (
            "from smolmon.exporter.bandwidth import child\n"
            f"child.LIBRARIES = {tuple(map(str, places))!r}\n"
            "child.main()"
        )
        job = Job(Role.CHECK, lifetime=30.0)
        return asyncio.run(caged(job, [sys.executable, "-c", code]))

    def test_is_found_by_its_path_where_the_loader_does_not_look(self):
        """As Homebrew's, for a service without any environment."""
        found = next(Path("/usr/lib").glob("*/libiperf.so.0"), None)
        if found is None:
            pytest.skip("needs libiperf (Debian: libiperf0)")
        assert self.check("libnone.so.0", "/nowhere/libiperf.dylib", found) is None

    def test_that_is_nowhere_is_said_with_all_places(self):
        trouble = self.check("libnone.so.0", "/nowhere/libiperf.dylib")
        assert trouble.library
        assert trouble.text == (
            "there is no libiperf (looked for libnone.so.0, /nowhere/libiperf.dylib)"
        )
        assert remedy(trouble.text).startswith("install it: ")

    def test_that_cannot_be_loaded_is_not_called_absent(self, tmp_path):
        """As one made for another processor; to install it again would be of no use."""
        broken = tmp_path / "libiperf.dylib"
        broken.write_text("no library")
        trouble = self.check("libnone.so.0", broken)
        assert trouble.library
        assert trouble.text.startswith(f"{broken} cannot be loaded: {broken}: ")
        assert "install" not in remedy(trouble.text)
        assert len(trouble.text.splitlines()) == 1


class Clock:
    """A wall clock that a test sets; asyncio's sleep moves it on at once."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Bench:
    """A runner of pi5 whose tests are played: `outcomes` are what comes of them, in turn."""

    def __init__(self, monkeypatch, cluster: Cluster | None = None, node: str = "pi5") -> None:
        self.cluster = cluster or guide()
        self.clock = Clock(1.7e9)
        self.turns = []
        self.outcomes = []
        self.asleep = 0.0  # added to the next sleep: the machine was suspended
        system = FakeSystem()
        local = Local(self.cluster, node, system, ThreadPoolExecutor(1))
        self.runner = Runner(self.cluster, node, local, self.measure, self.clock)
        self.runner.available = True
        monkeypatch.setattr("smolmon.exporter.bandwidth.due.asyncio", self)
        self.Event = asyncio.Event

    async def sleep(self, seconds: float) -> None:
        self.clock.now += seconds + self.asleep
        self.asleep = 0.0
        await asyncio.sleep(0)

    async def measure(self, turn):
        self.turns.append((self.clock.now, turn))
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome(GOOD, bytes=GOOD.bytes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run(self, turns: int) -> None:
        async def main():
            task = asyncio.create_task(self.runner.run())
            while len(self.turns) < turns and not task.done():
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())

    def count(self, reason) -> int:
        return self.runner.accounts.reasons[reason]


class TestTheRunner:
    def test_keeps_every_slot_of_its_node_and_no_other(self, monkeypatch):
        bench = Bench(monkeypatch)
        bench.run(6)
        slots = [
            slot
            for slot in timetable(bench.cluster).slots(1.7e9, 1.7e9 + 4 * 3600)
            if "pi5" in (slot.test.source, slot.test.target)
        ][:6]
        assert [turn.test for _, turn in bench.turns] == [slot.test for slot in slots]
        assert [turn.role for _, turn in bench.turns] == [
            Role.SEND if slot.test.source == "pi5" else Role.RECEIVE for slot in slots
        ]
        for (now, turn), slot in zip(bench.turns, slots, strict=True):
            assert slot.start - 1 < now <= slot.start
            assert (turn.sending, turn.end) == (slot.sending, slot.end)

    def test_misses_what_it_slept_through(self, monkeypatch):
        bench = Bench(monkeypatch)
        bench.asleep = 3000  # of the first hour: one of the two is over
        bench.run(2)
        assert bench.count(Skipped.MISSED) >= 1
        assert bench.count(Skipped.MISSED) <= 2

    def test_does_not_go_through_a_year_of_slots(self, monkeypatch):
        bench = Bench(monkeypatch)
        bench.asleep = 365 * 86400.0
        bench.run(1)
        assert bench.count(Skipped.MISSED) <= 3

    def test_goes_on_when_the_clock_is_set_back(self, monkeypatch):
        bench = Bench(monkeypatch)
        bench.run(1)
        bench.clock.now -= 7 * 86400
        before = bench.clock.now
        bench.turns.clear()
        bench.run(2)
        assert all(before < now < before + 2 * 3600 for now, _ in bench.turns)

    def test_outlives_a_test_that_breaks(self, monkeypatch):
        bench = Bench(monkeypatch)
        bench.outcomes = [error(24)]  # EMFILE: no child can be started
        bench.run(3)
        assert bench.count(Failed.ERROR) == 1
        results = [a.results[Result.SUCCESS] for a in bench.runner.accounts.of.values()]
        assert sum(results) == 2

    def test_stops_at_the_days_budget_and_goes_on_the_next_day(self, monkeypatch):
        cluster = guide()
        limited = evolve(cluster.bandwidth, daily_budget=2.2 * GOOD.bytes)
        monkeypatch.setattr("smolmon.exporter.bandwidth.end.decline", nothing)
        bench = Bench(monkeypatch, evolve(cluster, bandwidth=limited))
        bench.run(6)
        assert bench.count(Skipped.BUDGET) > 40  # two a day of two an hour
        days = [int(now // 86400) for now, _ in bench.turns]
        assert max(days.count(day) for day in set(days)) == 2

    def test_says_once_that_there_is_no_libiperf(self, monkeypatch, caplog):
        bench = Bench(monkeypatch)
        bench.outcomes = [Outcome(reason=Skipped.UNAVAILABLE, text="there is no libiperf")] * 3
        bench.run(3)
        assert bench.runner.available is False
        assert [r.message for r in caplog.records if "no tests" in r.message] == [
            "bandwidth: no tests: there is no libiperf; install it: `sudo apt install libiperf0`, "
            "on macOS `brew install iperf3`"
        ]
        assert bench.count(Skipped.UNAVAILABLE) == 3

    def test_counts_what_it_has_to_break_off(self, monkeypatch):
        bench = Bench(monkeypatch)

        async def stop(turn):
            bench.turns.append((0, turn))
            raise asyncio.CancelledError

        bench.runner._measure = stop
        bench.run(1)
        assert bench.count(Aborted.STOPPED) == 1
        assert bench.runner.busy is None

    def test_takes_over_what_an_older_version_of_the_file_had(self, monkeypatch):
        first = Bench(monkeypatch)
        first.run(4)
        slower = evolve(guide(), bandwidth=evolve(guide().bandwidth, period=7200.0))
        second = Runner(slower, "pi5", first.runner._local, now=first.clock)
        second.take_over(first.runner)
        assert second.accounts.of == first.runner.accounts.of
        assert second.accounts.spent == first.runner.accounts.spent > 0


async def nothing(*_: object) -> None:
    """Takes no time."""


class TestAccounts:
    def test_a_bad_test_leaves_the_last_good_result(self):
        cluster = guide()
        runner = Runner(cluster, "pi5", Local(cluster, "pi5", FakeSystem(), ThreadPoolExecutor(1)))
        clock = Clock(1000.0)
        accounts = Accounts(runner.mine, clock)
        mine = runner.mine[0]
        accounts.add(mine, Outcome(GOOD, bytes=7))
        clock.now = 2000.0
        accounts.add(mine, Outcome(reason=Failed.REFUSED, bytes=2))
        account = accounts.of[mine.key]
        assert (account.last, account.time) == (GOOD, 1000.0)
        assert (account.results[Result.SUCCESS], account.results[Result.FAILURE]) == (1, 1)
        assert accounts.spent == 9
        clock.now += 86400
        assert accounts.spent == 0

    def test_every_reason_is_counted_apart(self):
        """A test that was skipped since training ran is not one that was ended when it began."""
        bandwidth = observed(guide(), "pi5", FakeSystem())
        mine = bandwidth.runner.mine[0]
        kinds = {"skipped": Skipped, "aborted": Aborted, "failed": Failed}
        number = 0
        expected = {}
        for name, kind in kinds.items():
            for reason in kind:
                number += 1
                expected[f"tests_{name}_total", reason.value] = number
                for _ in range(number):
                    bandwidth.runner.accounts.add(mine, Outcome(reason=reason))
        seen = samples(collect.results(bandwidth.runner, guide()))
        names = {name for name, _ in expected}
        assert {key: n for key, n in seen.items() if key[0] in names} == expected

    def test_every_reason_counts_as_one_result(self):
        for kind, result in (
            (Skipped, Result.SKIPPED),
            (Aborted, Result.ABORTED),
            (Failed, Result.FAILURE),
        ):
            assert {Outcome(reason=reason).result for reason in kind} == {result}


def observed(cluster: Cluster, node: str, system: FakeSystem) -> Bandwidth:
    return Bandwidth(cluster, node, system, system, frozenset)


def samples(metrics) -> dict:
    return {
        (s.name.removeprefix("smolmon_bandwidth_"), *s.labels.values()): s.value
        for metric in metrics
        for s in metric.samples
    }


class TestMetrics:
    def test_all_of_the_table_is_exported(self):
        cluster = guide()
        settings = evolve(cluster.bandwidth, daily_budget=1e9)
        bandwidth = observed(evolve(cluster, bandwidth=settings), "mini1", FakeSystem())
        bandwidth.runner.available = True
        for mine in bandwidth.runner.mine:
            bandwidth.runner.accounts.add(mine, Outcome(GOOD))
        names = {
            sample.name
            for collect_one in bandwidth.collectors().values()
            for metric in collect_one()
            for sample in metric.samples
        }
        wanted = {name for name in TABLE if name.startswith("smolmon_bandwidth_")}
        assert names == wanted - {"smolmon_bandwidth_baseline_bytes_per_second"}

    def test_nothing_is_known_before_the_first_result(self):
        bandwidth = observed(guide(), "pi5", FakeSystem())
        seen = samples(collect.results(bandwidth.runner, guide()))
        names = {name for name, *_ in seen}
        assert not names & {"bytes_per_second", "last_success_timestamp_seconds", "available"}
        assert seen["expected_bytes_per_second", "mini1", "edge50", "transmit"] == 100e6
        assert seen["tests_total", "mini1", "edge50", "receive", "success"] == 0
        assert seen["tests_skipped_total", "training"] == 0

    def test_switched_off_there_is_nothing(self):
        cluster = guide()
        off = evolve(cluster, bandwidth=evolve(cluster.bandwidth, enabled=False))
        assert observed(off, "pi5", FakeSystem()).collectors() == {}

    def test_once_takes_no_part(self):
        host = Host(lambda *_: None, FakeSystem(), lambda _: None)
        worker = ThreadPoolExecutor(1)
        assert "bandwidth" not in Observer(load(GUIDE, "pi5"), host, worker).collectors()
        taking_part = Observer(load(GUIDE, "pi5"), host, worker, measuring=True)
        assert "bandwidth" in taking_part.collectors()


class TestInProgress:
    def at(self, node, now, busy=None, sockets=None):
        system = FakeSystem(sockets=sockets or TcpSockets((), ()))
        seen = samples(collect.in_progress(guide(), node, busy, now, system))
        return {k[1]: v for k, v in seen.items() if k[0] == "test_in_progress"}, seen

    def slot(self, source, target):
        slots = timetable(guide()).slots(1.7e9, 1.7e9 + 3600)
        return next(s for s in slots if (s.test.source, s.test.target) == (source, target))

    def test_every_node_whose_segment_is_crossed_knows_by_the_timetable(self):
        slot = self.slot("pi4", "mini1")
        middle = slot.sending + 1
        assert self.at("mini2", middle)[0] == {"fabric": 1}
        assert self.at("mini3", middle)[0] == {"fabric": 1, "edge51": 1}
        assert self.at("jetson", middle)[0] == {"edge51": 1}
        assert self.at("pi5", middle)[0] == {"edge50": 0}
        assert self.at("mini2", slot.start - 5)[0] == {"fabric": 0}
        assert self.at("mini2", slot.end + 5)[0] == {"fabric": 0}

    def test_the_ends_know_whether_it_really_runs(self):
        slot = self.slot("pi4", "mini1")
        assert self.at("pi4", slot.sending)[0] == {"edge51": 0}  # skipped
        assert self.at("pi4", slot.sending, busy="edge51")[0] == {"edge51": 1}

    def test_a_test_by_hand_is_seen_in_the_socket_table(self):
        connection = Connection(IPv4Address("10.10.0.1"), 9743, IPv4Address("192.168.51.4"), 40000)
        quiet = self.slot("mini2", "mini1").end + 100
        seen, _ = self.at("mini1", quiet, sockets=TcpSockets((), (connection,)))
        assert seen == {"fabric": 1, "edge50": 0}

    def test_when_a_segment_was_last_used_outlasts_the_slot(self):
        slot = self.slot("pi5", "mini1")
        _, seen = self.at("pi5", slot.end + 100)
        assert seen["last_slot_timestamp_seconds", "edge50"] == slot.end + 2
        _, seen = self.at("pi5", slot.sending)
        assert seen["last_slot_timestamp_seconds", "edge50"] == slot.sending


class Table:
    """What a node sees, look by look: how many train, and how much its interface has carried."""

    def __init__(self, looks, carrier=True):
        self.looks = iter(looks)
        self.carrier = carrier
        self.now = (0, 0)

    def tcp(self, port):
        self.now = next(self.looks, self.now)
        if isinstance(self.now, OSError):
            raise self.now
        server, mine = IPv4Address("10.10.0.1"), IPv4Address("192.168.50.2")
        return TcpSockets((), [Connection(mine, n, server, 65432) for n in self.now[0]])

    def interfaces(self):
        counters = Counters(self.now[1], 1, 0, 0)
        return [
            Interface(
                "eth0", up=True, carrier=self.carrier, mac="", transmit=counters, receive=counters
            )
        ]


class TestYielding:
    def local(self, looks, own=(), carrier=True):
        table = Table(looks, carrier)
        return Local(guide(), "pi5", table, ThreadPoolExecutor(1), lambda: frozenset(own))

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        monkeypatch.setattr("smolmon.exporter.bandwidth.local.BEFORE", 0.01)
        monkeypatch.setattr("smolmon.exporter.bandwidth.local.DURING", 0.01)

    def before(self, looks, own=()):
        found = asyncio.run(self.local(looks, own).reason_to_skip("edge50"))
        return found[0] if found else None

    def test_training_is_a_connection_that_stays(self):
        assert self.before([({5}, 0), ({5}, 0)]) is Skipped.TRAINING
        assert self.before([({5}, 0), ({6}, 0)]) is None  # two that were given up at once

    def test_our_own_attempts_are_none(self):
        assert self.before([({5}, 0), ({5}, 0)], own={5}) is None

    def test_a_busy_interface(self):
        assert self.before([((), 0), ((), 10**9)]) is Skipped.LINK_BUSY
        assert self.before([((), 0), ((), 1000)]) is None

    def test_what_cannot_be_seen_is_a_reason_too(self):
        assert self.before([error(12)]) is Skipped.UNKNOWN

    def test_during_a_test(self):
        def end(looks, **options):
            local = self.local(looks, **options)
            return asyncio.run(local.reason_to_end("edge50", force=False))[0]

        assert end([((), 0), ({5}, 0), ({6}, 0), ({6}, 0)]) is Aborted.TRAINING
        assert end([((), 0), ({5}, 0), error(12), ({5}, 0)]) is Aborted.TRAINING
        assert end([((), 0)], carrier=False) is Failed.LINK_DOWN


class TestTheCage:
    def test_runs_this_very_smolmon(self):
        assert Path(command()[-1], "smolmon", "exporter", "bandwidth", "child.py").exists()

    def test_says_whether_there_is_libiperf(self):
        answer = asyncio.run(caged(Job(Role.CHECK, lifetime=30.0)))
        assert answer is None or "libiperf" in answer.text

    def test_leaves_no_descriptor_behind(self):
        async def main():
            await caged(Job(Role.CHECK, lifetime=30.0), ["true"])
            before = len(list(Path("/proc/self/fd").iterdir()))
            for _ in range(5):
                await caged(Job(Role.CHECK, lifetime=30.0), ["true"])
            return before, len(list(Path("/proc/self/fd").iterdir()))

        before, after = asyncio.run(main())
        assert after <= before

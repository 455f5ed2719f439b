"""Sending goes on whatever the socket does, and on time."""

import asyncio
import errno
import threading
import time
from contextlib import asynccontextmanager
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmon.exporter.echo import Clock, Reply
from smolmon.exporter.pinger import Pinger, Result
from smolmon.exporter.prober import BURST, UNREAD, Prober, next_slot, shares
from tests.exporter.fakes import FakeEcho, error


def answer(address, sequence, payload):
    return [Reply(address, sequence, payload, time.monotonic(), elapsed=0.0)]


class Sockets:
    """Opens fake sockets and remembers them."""

    def __init__(self):
        self.opened = []
        self.fails_with = None
        self.rx = Clock.USER

    def __call__(self, device, ipv6=False):
        if self.fails_with is not None:
            raise self.fails_with
        self.opened.append(FakeEcho(answer))
        self.opened[-1].rx = self.rx
        return self.opened[-1]


@pytest.fixture
def sockets():
    return Sockets()


def probe(sockets, scenario, addresses=("10.10.0.1",)):
    """Run `scenario` with a prober; the results for the first address."""

    async def main():
        prober = Prober(Pinger(addresses, timeout=5.0), sockets)
        try:
            await scenario(prober)
        finally:
            prober.close()
        return {r.value: n for r, n in prober.pinger.tallies()[0].results.items() if n}

    return asyncio.run(main())


async def until(condition, seconds=5.0):
    async def with_deadline():
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(with_deadline(), seconds)


@asynccontextmanager
async def running(prober, interval):
    task = asyncio.ensure_future(prober.run(interval))
    yield task
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class TestReading:
    async def first(self, prober):
        async with running(prober, 60.0):
            await until(lambda: prober.pinger.tallies()[0].requests)

    def test_replies_that_nobody_else_stamps_are_read_as_they_come(self, sockets):
        assert probe(sockets, self.first) == {"reply": 1}

    def test_a_socket_that_breaks_meanwhile_ends_nothing(self, sockets, caplog):
        async def scenario(prober):
            async with running(prober, 0.02):
                await until(lambda: prober.pinger.tallies()[0].requests)
                sockets.opened[0].broken = True
                await until(lambda: len(sockets.opened) > 1)
                await until(lambda: prober.trouble is None)

        probe(sockets, scenario)
        assert "the ICMP socket broke" in caplog.messages[0]

    def test_one_that_somebody_closes_meanwhile_ends_nothing(self, sockets):
        async def scenario(prober):
            async with running(prober, 0.02):
                for count in range(1, 20):
                    await until(lambda count=count: len(sockets.opened) >= count)
                    prober.close()

        assert set(probe(sockets, scenario)) <= {"reply"}

    def test_stamped_ones_may_wait_but_not_in_any_number(self, sockets):
        unread = []

        async def scenario(prober):
            sockets.rx = Clock.KERNEL
            receive = FakeEcho.receive

            def counted(echo):
                unread.append(prober.pinger.in_flight)
                return receive(echo)

            with patch.object(FakeEcho, "receive", counted):
                async with running(prober, 0.01):
                    await until(lambda: len(unread) > 3)

        probe(sockets, scenario, [f"10.10.0.{i}" for i in range(7)])
        assert unread[:3] == [UNREAD // 7 * 7] * 3

    def test_whoever_wants_to_know_needs_not_wait(self, sockets):
        async def scenario(prober):
            sockets.rx = Clock.KERNEL
            async with running(prober, 60.0):
                await until(lambda: sockets.opened and sockets.opened[0].sent)
                prober.settle()
                assert prober.pinger.in_flight == 0

        assert probe(sockets, scenario) == {"reply": 1}

    def test_nothing_that_has_come_is_forgotten_at_the_end(self, sockets):
        async def scenario(prober):
            sockets.rx = Clock.KERNEL
            async with running(prober, 60.0):
                await until(lambda: sockets.opened and sockets.opened[0].sent)

        assert probe(sockets, scenario) == {"reply": 1}


def test_every_address_has_its_turn(sockets):
    addresses = [f"10.10.0.{i}" for i in range(1, 7)]

    async def scenario(prober):
        task = asyncio.ensure_future(prober.run(0.03))
        await until(lambda: sockets.opened and len(sockets.opened[0].sent) >= 18)
        task.cancel()

    probe(sockets, scenario, addresses)
    assert sockets.opened[0].sent[:18] == addresses * 3


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EPERM])
def test_a_refused_request_is_counted_and_the_socket_kept(sockets, number):
    async def scenario(prober):
        prober.open().fails_with = error(number)
        prober.send(0)
        sockets.opened[0].fails_with = None
        prober.send(0)
        prober.settle()

    counted = probe(sockets, scenario)
    assert sum(counted.values()) == 2
    assert counted["reply"] == 1
    assert len(sockets.opened) == 1


def test_a_socket_whose_interface_is_gone_is_opened_again(sockets):
    async def scenario(prober):
        prober.open().fails_with = error(errno.ENODEV)
        prober.send(0)
        prober.send(0)
        prober.settle()

    assert probe(sockets, scenario) == {"send_error": 1, "reply": 1}
    assert [s.closed for s in sockets.opened] == [True, True]


def test_a_socket_that_breaks_while_listening_is_opened_again(sockets, caplog):
    async def scenario(prober):
        prober.send(0)
        sockets.opened[0].broken = True
        prober.settle()
        assert prober.trouble is not None
        assert prober.pinger.in_flight == 0
        prober.send(0)
        prober.settle()
        assert prober.trouble is None

    assert probe(sockets, scenario) == {"reply": 1}  # what was in flight is unknown, not lost
    assert len(caplog.messages) == 2


def test_without_a_socket_nothing_is_counted_and_one_line_logged(sockets, caplog):
    sockets.fails_with = error(errno.EACCES)

    async def scenario(prober):
        for _ in range(3):
            prober.send(0)
        assert "Permission denied" in prober.trouble
        sockets.fails_with = None
        prober.send(0)
        prober.settle()

    assert probe(sockets, scenario) == {"reply": 1}
    assert caplog.messages == ["ping: no ICMP socket: Permission denied", "ping: sending again"]


class TestSchedule:
    def test_does_not_drift(self, sockets):
        """What a turn takes does not move the next: each leaves at the start of a slot."""
        left = []

        def send(index):
            left.append(time.monotonic())
            time.sleep(0.008)  # a turn that takes its time

        async def scenario(prober):
            prober._send = send
            async with running(prober, 0.01):
                await until(lambda: len(left) > 50)

        probe(sockets, scenario)
        # One after the other they would be 18 ms apart, each and every one.
        assert min(after - before for before, after in pairwise(left)) < 0.015

    @given(st.integers(0, 10**6), st.integers(1, 50), st.floats(0, 10**6))
    def test_never_goes_back_nor_swaps_turns(self, slot, count, late):
        after = next_slot(slot, count, slot + late)
        assert after >= slot + 1
        assert after % count == (slot + 1) % count

    @given(st.integers(0, 10**6), st.integers(1, 50), st.floats(0, 10**6))
    def test_after_a_pause_at_most_one_round_is_made_up(self, slot, count, late):
        after = next_slot(slot, count, slot + late)
        assert slot + late - after < count + 1

    def test_goes_on_without_a_pause(self):
        assert next_slot(7, 3, 7.01) == 8


class TestBursts:
    @given(st.integers(1, 2000))
    def test_hold_everyone_once_and_few(self, count):
        bursts = shares(count)
        assert [i for burst in bursts for i in burst] == list(range(count))
        assert max(map(len, bursts)) <= BURST
        assert max(map(len, bursts)) - min(map(len, bursts)) <= 1
        assert len(bursts) == -(-count // BURST)

    def test_are_spread_over_the_interval(self, sockets):
        addresses = [f"10.10.0.{i}" for i in range(60)]
        left = []

        async def scenario(prober):
            send, rest = prober._send, prober._rest
            rests: list[float] = []
            prober._rest = lambda until, stop: (rests.append(until), rest(until, stop))[1]
            prober._send = lambda index: (left.append((rests[-1], index)), send(index))
            task = asyncio.ensure_future(prober.run(0.3))
            await until(lambda: len(left) >= 120)
            task.cancel()

        probe(sockets, scenario, addresses)
        due = {index: at for at, index in left[:60]}
        assert len({due[i] for i in range(20)}) == 1  # nobody rested in between
        assert due[20] - due[0] == pytest.approx(0.1)
        assert due[40] - due[0] == pytest.approx(0.2)

    def test_that_leave_late_are_measured_and_left_out_ones_counted(self, sockets):
        async def scenario(prober):
            task = asyncio.ensure_future(prober.run(0.01))
            await until(lambda: sockets.opened and len(sockets.opened[0].sent) >= 2)
            with prober.lock:
                overruns, lateness = prober.overruns, prober.lateness.total
                time.sleep(0.05)  # the process is held up
            await until(lambda: prober.overruns >= overruns + 3)
            assert prober.lateness.worst >= 0.03
            assert prober.lateness.total >= lateness + 0.03
            task.cancel()

        assert probe(sockets, scenario)["reply"] >= 2

    def test_end_with_the_trouble_that_ends_them(self, sockets):
        async def scenario(prober):
            prober.pinger.expire = lambda: 1 / 0
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(prober.run(0.01), 5)

        probe(sockets, scenario)

    def test_leave_no_thread_behind(self, sockets):
        async def scenario(prober):
            async with running(prober, 60.0):
                await until(lambda: sockets.opened)
                assert "ping" in [t.name for t in threading.enumerate()]
            assert "ping" not in [t.name for t in threading.enumerate()]

        probe(sockets, scenario)


def test_results_are_those_of_the_enumeration():
    assert [r.value for r in Result] == ["reply", "timeout", "unreachable", "send_error"]

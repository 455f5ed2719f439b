"""The pings on a network that misbehaves: the real kernel, two network namespaces."""

import asyncio
import ctypes
import os
import random
import socket
import time
from functools import partial

import pytest

from smolmon.exporter import echo_linux
from smolmon.exporter.clock import StepWatch
from smolmon.exporter.echo import Clock, Code, Invalid, checksum
from smolmon.exporter.echo_linux import HEADER, RX_SOFTWARE, SOFTWARE, UNSTAMPED, LinuxEcho
from smolmon.exporter.pinger import STAMP_ERROR, USER_ERROR, Pinger
from smolmon.exporter.prober import Prober
from tests.exporter import test_kernel
from tests.exporter.netns import A, B, cable, inside, ip, require_root, sh
from tests.exporter.test_kernel import NODE, PEER, SECOND, drop, heard, responder, results, times

pytestmark = pytest.mark.lab

firewalls = test_kernel.firewalls
NODE6, PEER6 = "fd00:50::2", "fd00:50::1"
CAP_NET_RAW = 13


@pytest.fixture(scope="module")
def wire():
    require_root()
    with cable(f"{NODE}/24", f"{PEER}/24"):
        ip(B, f"addr add {SECOND}/24 dev en5")
        ip(A, f"-6 addr add {NODE6}/64 dev eth0 nodad")
        ip(B, f"-6 addr add {PEER6}/64 dev en5 nodad")
        yield


def ping(addresses, scenario, timeout=0.3, open_echo=LinuxEcho, **options):
    """Run `scenario` with a prober on the near side; the pinger."""

    async def main():
        prober = Prober(Pinger(addresses, timeout, **options), open_echo)
        try:
            await scenario(prober)
        finally:
            prober.close()
        return prober.pinger

    return inside(A, lambda: asyncio.run(main()))


def bursts(count, size):
    """Send so many bursts to the first address; wait until all are accounted for."""

    async def scenario(prober):
        for _ in range(count):
            for _ in range(size):
                prober.send(0)
            prober.settle()
            await asyncio.sleep(0)
        deadline = time.monotonic() + 5
        while prober.pinger.in_flight:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
            prober.settle()

    return scenario


class TestLoss:
    def test_at_random_is_reported_within_the_binomial_bounds(self, firewalls):
        drop(B, "input icmp type echo-request numgen random mod 100 < 20 drop")
        tally = results(ping([PEER], bursts(50, 20)))
        assert sum(tally.values()) == 1000
        # 1000 draws at 0.2: the standard deviation is 12.6; one run in a million is outside of 5.
        assert 200 - 64 < tally["timeout"] < 200 + 64

    @pytest.mark.parametrize("rule", ["icmp type echo-request", "icmp type echo-reply"])
    def test_in_one_direction_only_is_loss_all_the_same(self, firewalls, rule):
        drop(B, f"{'input' if 'request' in rule else 'output'} {rule} drop")
        assert results(ping([PEER], bursts(1, 10), timeout=0.1)) == {"timeout": 10}

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            ("net-unreachable", Code.NETWORK),
            ("host-unreachable", Code.HOST),
            ("port-unreachable", Code.PORT),
            ("admin-prohibited", Code.PROHIBITED),
            ("prot-unreachable", Code.OTHER),
        ],
    )
    def test_has_the_reason_that_was_given(self, firewalls, answer, code):
        drop(B, f"input reject with icmp {answer}")
        pinger = ping([PEER], bursts(1, 3))
        assert results(pinger) == {"unreachable": 3}
        assert {c: n for c, n in pinger.tallies()[0].unreachable.items() if n} == {code: 3}

    def test_nobody_with_that_address_is_an_unreachable_host(self, wire):
        pinger = ping(["192.168.50.99"], bursts(1, 1), timeout=8.0)
        assert pinger.tallies()[0].unreachable[Code.HOST] == 1

    def test_no_way_to_go_is_told_apart(self, wire):
        pinger = ping(["203.0.113.1"], bursts(1, 2))
        assert pinger.tallies()[0].unreachable[Code.NO_ROUTE] == 2


class TestForgery:
    def test_from_another_address_is_no_answer(self, wire):
        with responder(lambda sequence, payload: [(0, sequence, payload)], source=SECOND):
            pinger = ping([PEER], times(3), timeout=0.1)
        assert results(pinger) == {"timeout": 3}
        assert pinger.invalid[Invalid.SOURCE] == 3

    def test_a_thousand_malformed_packets_change_nothing(self, wire):
        idents = []

        def remember(device, ipv6=False):
            echo = LinuxEcho(device, ipv6)
            idents.append(socket.socket(fileno=os.dup(echo.fileno())).getsockname()[1])
            return echo

        sender = inside(
            B, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        )
        chance = random.Random(1)  # noqa: S311 - the same packets every time

        def malformed(i):
            kind, code = chance.choice([0, 0, 0, 3, 5, 8, 11, 12, 200]), chance.randrange(20)
            body = chance.randbytes(chance.choice([0, 3, 8, 56, 180]))
            packet = HEADER.pack(kind, code, 0, idents[0], chance.randrange(2**16)) + body
            if i % 5:  # the rest has a wrong checksum
                packet = packet[:2] + checksum(packet).to_bytes(2, "big") + packet[4:]
            return packet[: chance.choice([len(packet)] * 9 + [5])]

        async def scenario(prober):
            for i in range(1000):
                if i % 10 == 0:
                    prober.send(0)
                sender.sendto(malformed(i), (NODE, 0)) if idents else None
                if i % 50 == 49:
                    prober.settle()
            await times(1)(prober)

        pinger = ping([PEER], scenario, open_echo=remember)
        sender.close()
        assert results(pinger) == {"reply": 101}
        # About a third are replies with a right checksum to our identifier; all are noticed.
        assert 150 < sum(pinger.invalid.values()) < 400
        assert pinger.tallies()[0].duplicates == pinger.tallies()[0].late == 0


class SteppedClock:
    """Sets the clock by `seconds` at some moment, for this process only.

    No namespace can shift CLOCK_REALTIME, and the machine's own must be left alone; so its readings
    are shifted where they come in: the kernel's stamps, and time.time().
    """

    def __init__(self, monkeypatch, seconds):
        self.moment = None
        self.by = round(seconds * 1e9)
        stamp = echo_linux._stamp

        def shifted(ancillary):
            taken = stamp(ancillary)
            return taken and self.as_read(taken)

        monkeypatch.setattr(echo_linux, "_stamp", shifted)
        monkeypatch.setattr(echo_linux.time, "time_ns", self.wall)
        self._real = time.clock_gettime_ns

    def as_read(self, real):
        return real + self.by if self.moment and real >= self.moment else real

    def wall(self):
        return self.as_read(time.clock_gettime_ns(time.CLOCK_REALTIME))

    def step(self):
        self.moment = time.clock_gettime_ns(time.CLOCK_REALTIME)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 0.3, -0.3, 0.02, -0.02])
def test_setting_the_clock_falsifies_nothing(wire, monkeypatch, seconds):
    clock = SteppedClock(monkeypatch, seconds)

    async def scenario(prober):
        prober.clock = StepWatch(wall=clock.wall)
        for i in range(5):
            prober.send(0)
            await asyncio.sleep(0.05)
            if i == 2:
                clock.step()  # while the reply is on its way
            await heard(prober, lambda tally, i=i: tally.requests == i + 1)
        assert prober.clock.steps == 1

    with responder(lambda sequence, payload: [(0.1, sequence, payload)]):
        pinger = ping([PEER], scenario, timeout=2.0)
    [tally] = pinger.tallies()
    assert results(pinger) == {"reply": 5}
    assert 4 <= sum(tally.counts) <= 5
    assert tally.rtt_sum / sum(tally.counts) == pytest.approx(0.1, abs=0.02)


class TestLadder:
    @pytest.mark.parametrize(
        ("ladder", "stamped_by"),
        [
            (echo_linux.LADDER, (Clock.KERNEL, Clock.KERNEL)),
            ((RX_SOFTWARE | SOFTWARE,), (Clock.USER, Clock.KERNEL)),
            ((), (Clock.USER, Clock.USER)),
        ],
    )
    def test_every_rung_measures(self, wire, ladder, stamped_by):
        async def scenario(prober):
            task = asyncio.ensure_future(prober.run(0.02))
            await heard(prober, lambda tally: sum(tally.counts) >= 10)
            task.cancel()

        pinger = ping([PEER], scenario, open_echo=partial(LinuxEcho, ladder=ladder))
        [tally] = pinger.tallies()
        assert set(results(pinger)) == {"reply"}
        # The kernel begins to stamp a moment after it was asked to (net_enable_timestamp defers
        # it to a work queue): the first replies may have no round trip, and are replies.
        assert tally.requests - sum(tally.counts) <= UNSTAMPED
        assert tally.stamped_by == stamped_by
        assert 0 < tally.rtt_sum / sum(tally.counts) < 0.005
        if stamped_by[1] is Clock.KERNEL:
            exact = stamped_by[0] is Clock.KERNEL
            assert tally.error == (STAMP_ERROR if exact else USER_ERROR)
        else:
            assert tally.error >= USER_ERROR

    def test_a_busy_thread_does_not_show(self, wire):
        """Kernel stamps: what takes the processor away from the pings changes no round trip."""
        stop = False

        def burn():
            while not stop:
                pass

        async def scenario(prober):
            busy = asyncio.get_running_loop().run_in_executor(None, burn)
            task = asyncio.ensure_future(prober.run(0.05))
            await heard(prober, lambda tally: tally.requests >= 20)
            task.cancel()
            nonlocal stop
            stop = True
            await busy

        [tally] = ping([PEER], scenario, limits=[0.0005]).tallies()
        assert tally.rtt_sum / tally.requests < 0.0003
        assert tally.results == {**dict.fromkeys(tally.results, 0), "reply": tally.requests}


class TestRawSocket:
    @pytest.fixture
    def refused(self, wire):
        sh(A, "sysctl", "-qw", "net.ipv4.ping_group_range=1 0")
        yield
        sh(A, "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")

    @pytest.mark.parametrize("peer", [PEER, PEER6])
    def test_steps_in_for_a_process_that_may(self, refused, peer):
        pinger = ping([peer], times(10))
        assert results(pinger) == {"reply": 10}
        assert pinger.tallies()[0].stamped_by == (Clock.KERNEL, Clock.KERNEL)
        assert sum(pinger.invalid.values()) == 0

    def test_overhears_nothing(self, refused):
        """What is not for it is not for it, though it hears every reply on the machine."""

        async def scenario(prober):
            prober.open()
            other = Prober(Pinger([PEER], 0.3), LinuxEcho)
            for _ in range(5):
                other.send(0)
            prober.send(0)
            await heard(prober, lambda tally: tally.requests)
            other.close()

        pinger = ping([PEER], scenario)
        assert results(pinger) == {"reply": 1}
        assert sum(pinger.invalid.values()) == 0

    def test_unreachable_is_told(self, refused, firewalls):
        drop(B, "input reject with icmp admin-prohibited")
        assert ping([PEER], times(2)).tallies()[0].unreachable[Code.PROHIBITED] == 2

    def test_without_the_right_to_one_the_remedy_is_named(self, refused):
        def unprivileged():
            header = (ctypes.c_uint32 * 2)(0x20080522, 0)
            sets = (ctypes.c_uint32 * 6)()
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.capget(header, sets) == 0
            sets[0] &= ~(1 << CAP_NET_RAW)  # of this thread only, which ends with the test
            assert libc.capset(header, sets) == 0
            LinuxEcho()

        with pytest.raises(PermissionError, match=r"is `1 0`; run: sudo sysctl -w"):
            inside(A, unprivileged)


class TestIPv6:
    def test_both_families_side_by_side(self, wire):
        pinger = ping([PEER, PEER6, NODE6], times(5))
        assert [results(pinger, i) for i in range(3)] == [{"reply": 5}] * 3
        assert pinger.tallies()[1].stamped_by == (Clock.KERNEL, Clock.KERNEL)
        assert pinger.tallies()[1].rtt_sum < 0.0025

    def test_no_route_is_unreachable(self, wire):
        pinger = ping(["2001:db8::1"], times(1))
        assert pinger.tallies()[0].unreachable[Code.NO_ROUTE] == 1

    def test_nobody_with_that_address_is_an_unreachable_host(self, wire):
        pinger = ping(["fd00:50::99"], times(1), timeout=8.0)
        assert pinger.tallies()[0].unreachable[Code.HOST] == 1

"""The accounting is right for every order in which things can happen."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from smolmon.exporter.echo import (
    PAYLOAD_BYTES,
    Clock,
    Code,
    Garbled,
    Invalid,
    Reply,
    Unreachable,
)
from smolmon.exporter.pinger import EDGES, MEMORY, STAMP_ERROR, USER_ERROR, Pinger, Result
from tests.exporter.fakes import error

A, B = "10.10.0.1", "10.10.0.2"
TIMEOUT = 1.0


class Time:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def pinger(clock):
    return Pinger([A, B], TIMEOUT, clock=clock, wall=lambda: clock() + 1e9)


def reply_to(request, received, **changes):
    return Reply(request.address, request.sequence, request.payload, received)._replace(**changes)


def results(pinger, index=0):
    return {r.value: n for r, n in pinger.tallies()[index].results.items() if n}


class TestRequest:
    def test_is_not_counted_in_flight(self, pinger):
        pinger.begin(0)
        tally = pinger.tallies()[0]
        assert (tally.requests, pinger.in_flight, tally.up) == (0, 1, None)

    def test_answered_in_time(self, pinger, clock):
        request = pinger.begin(0)
        clock.now += 0.25
        pinger.heard(reply_to(request, clock.now))
        tally = pinger.tallies()[0]
        assert results(pinger) == {"reply": 1}
        assert tally.rtt_sum == 0.25
        assert tally.counts[EDGES.index(0.25)] == 1
        assert (tally.up, tally.last_reply) == (True, clock.now + 1e9)
        assert results(pinger, 1) == {}

    def test_times_out_at_its_deadline_and_not_before(self, pinger, clock):
        pinger.begin(0)
        clock.now += TIMEOUT - 0.001
        pinger.expire()
        assert results(pinger) == {}
        clock.now += 0.002
        pinger.expire()
        assert results(pinger) == {"timeout": 1}

    def test_answered_late_stays_lost(self, pinger, clock):
        request = pinger.begin(0)
        clock.now += TIMEOUT + 0.1
        pinger.expire()
        pinger.heard(reply_to(request, clock.now))
        tally = pinger.tallies()[0]
        assert results(pinger) == {"timeout": 1}
        assert (tally.late, sum(tally.counts), tally.last_reply) == (1, 0, None)

    def test_late_reply_that_is_heard_before_the_timeout_is_noticed(self, pinger, clock):
        request = pinger.begin(0)
        clock.now += TIMEOUT + 0.1
        pinger.heard(reply_to(request, clock.now))
        pinger.expire()
        assert results(pinger) == {"timeout": 1}
        assert pinger.tallies()[0].late == 1

    def test_reply_in_time_that_is_read_late_counts(self, pinger, clock):
        """The process was held up for 3 s; the kernel's stamps say what really happened."""
        request = pinger.begin(0)
        clock.now += 3
        pinger.heard(reply_to(request, clock.now, elapsed=0.0003, tx=Clock.KERNEL, rx=Clock.KERNEL))
        pinger.expire()
        assert results(pinger) == {"reply": 1}
        tally = pinger.tallies()[0]
        assert tally.rtt_sum == 0.0003
        assert tally.last_reply == pytest.approx(clock.now + 1e9 - 3 + 0.0003, abs=1e-6)

    def test_answered_twice(self, pinger, clock):
        request = pinger.begin(0)
        for _ in range(3):
            pinger.heard(reply_to(request, clock.now))
        assert results(pinger) == {"reply": 1}
        assert pinger.tallies()[0].duplicates == 2

    @pytest.mark.parametrize(
        "forged", [{"source": B}, {"sequence": 7}, {"payload": bytes(PAYLOAD_BYTES)}]
    )
    def test_answered_by_somebody_else(self, pinger, clock, forged):
        request = pinger.begin(0)
        pinger.heard(reply_to(request, clock.now, **forged))
        assert (results(pinger), sum(pinger.invalid.values()), pinger.in_flight) == ({}, 1, 1)
        pinger.heard(reply_to(request, clock.now))
        assert results(pinger) == {"reply": 1}

    def test_icmp_error(self, pinger):
        request = pinger.begin(0)
        pinger.heard(Unreachable(B, request.sequence))
        assert results(pinger) == {}
        pinger.heard(Unreachable(A, request.sequence))
        pinger.heard(Unreachable(A, request.sequence))
        assert results(pinger) == {"unreachable": 1}

    @pytest.mark.parametrize(
        ("number", "result"),
        [
            (errno.ENETUNREACH, "unreachable"),
            (errno.EHOSTUNREACH, "unreachable"),
            (errno.ENETDOWN, "unreachable"),
            (errno.EPERM, "send_error"),
            (errno.ENOBUFS, "send_error"),
            (errno.EAGAIN, "send_error"),
        ],
    )
    def test_that_could_not_be_sent(self, pinger, number, result):
        pinger.refused(pinger.begin(0), error(number))
        assert results(pinger) == {result: 1}

    def test_is_forgotten_with_its_socket(self, pinger, clock):
        pinger.begin(0)
        pinger.abandon()
        clock.now += 100
        pinger.expire()
        assert results(pinger) == {}

    def test_is_not_remembered_for_ever(self, pinger, clock):
        first = pinger.begin(0)
        pinger.heard(reply_to(first, clock.now))
        clock.now += TIMEOUT + MEMORY + 1
        pinger.expire()
        pinger.heard(reply_to(first, clock.now))
        assert (pinger.tallies()[0].duplicates, sum(pinger.invalid.values())) == (0, 1)

    def test_says_what_is_wrong_with_a_reply(self, pinger, clock):
        request = pinger.begin(0)
        for forged in ({"source": B}, {"sequence": 7}, {"payload": b""}):
            pinger.heard(reply_to(request, clock.now, **forged))
        pinger.heard(Garbled())
        assert pinger.invalid == dict.fromkeys(Invalid, 1)

    def test_unreachable_has_its_reason(self, pinger):
        pinger.heard(Unreachable(A, pinger.begin(0).sequence, Code.PROHIBITED))
        pinger.refused(pinger.begin(0), error(errno.ENETUNREACH))
        found = {c: n for c, n in pinger.tallies()[0].unreachable.items() if n}
        assert found == {Code.PROHIBITED: 1, Code.NO_ROUTE: 1}
        assert results(pinger) == {"unreachable": 2}

    def test_of_one_socket_is_forgotten_without_the_others(self, pinger, clock):
        pinger.begin(0)
        pinger.begin(1)
        pinger.abandon([1])
        assert [t.in_flight for t in pinger.tallies()] == [1, 0]
        clock.now += TIMEOUT
        pinger.expire()
        assert (results(pinger, 0), results(pinger, 1)) == ({"timeout": 1}, {})


STAMPED = {"tx": Clock.KERNEL, "rx": Clock.KERNEL}


class TestStamps:
    @pytest.mark.parametrize("elapsed", [-0.5, 0.5])
    def test_of_a_clock_that_was_set_meanwhile_are_not_believed(self, pinger, clock, elapsed):
        request = pinger.begin(0)
        clock.now += 0.002
        pinger.heard(reply_to(request, clock.now, elapsed=elapsed, **STAMPED))
        tally = pinger.tallies()[0]
        assert tally.rtt_sum == pytest.approx(0.002)
        assert tally.stamped_by == (Clock.USER, Clock.USER)

    def test_are_believed_within_what_the_process_saw(self, pinger, clock):
        request = pinger.begin(0)
        clock.now += 0.002
        pinger.heard(reply_to(request, clock.now, elapsed=0.0002, **STAMPED))
        tally = pinger.tallies()[0]
        assert tally.rtt_sum == 0.0002
        assert tally.stamped_by == (Clock.KERNEL, Clock.KERNEL)

    @pytest.mark.parametrize(
        ("step", "elapsed", "counted"),
        [
            (3600.0, 0.0002, True),  # no step fits in between
            (-3600.0, 0.0002, True),
            (3600.0, 3600.0002, False),  # it does, but by how much exactly nobody knows
            (-3600.0, -3599.9998, False),
            (0.0001, 0.0002, False),  # either is possible
            (-0.3, 0.0002, False),
        ],
    )
    def test_across_a_step_count_only_when_beyond_doubt(
        self, pinger, clock, step, elapsed, counted
    ):
        request = pinger.begin(0)
        clock.now += 0.9
        pinger.stepped(step)
        pinger.heard(reply_to(request, clock.now, elapsed=elapsed, prompt=False, **STAMPED))
        tally = pinger.tallies()[0]
        assert results(pinger) == {"reply": 1}
        assert tally.rtt_sum == (elapsed if counted else 0)
        assert sum(tally.counts) == counted

    def test_of_a_clock_that_nobody_can_set_are_believed_across_a_step(self, pinger, clock):
        request = pinger.begin(0)
        clock.now += 0.9
        pinger.stepped(0.0001)
        pinger.heard(
            reply_to(request, clock.now, elapsed=0.0002, prompt=False, steps=False, **STAMPED)
        )
        assert pinger.tallies()[0].rtt_sum == 0.0002

    def test_after_several_steps_prove_nothing(self, pinger, clock):
        request = pinger.begin(0)
        clock.now += 0.5
        pinger.stepped(3600.0)
        pinger.stepped(-3600.0)
        pinger.heard(reply_to(request, clock.now, elapsed=0.0002, prompt=False, **STAMPED))
        assert results(pinger) == {"reply": 1}
        assert sum(pinger.tallies()[0].counts) == 0

    def test_that_are_missing_leave_a_reply_read_late_without_a_round_trip(self, pinger, clock):
        request = pinger.begin(0)
        clock.now += 0.9
        pinger.heard(reply_to(request, clock.now, prompt=False))
        assert results(pinger) == {"reply": 1}
        assert pinger.tallies()[0].stamped_by is None


class TestSlow:
    """A round trip above the expectation by no more than its own error is not slow."""

    @pytest.mark.parametrize(
        ("rtt", "clocks", "slow"),
        [
            (0.0005, (Clock.KERNEL, Clock.KERNEL), 0),
            (0.0005 + STAMP_ERROR - 1e-6, (Clock.KERNEL, Clock.KERNEL), 0),
            (0.0005 + STAMP_ERROR + 1e-6, (Clock.KERNEL, Clock.KERNEL), 1),
            (0.0005 + USER_ERROR - 1e-6, (Clock.USER, Clock.KERNEL), 0),
            (0.0005 + USER_ERROR + 1e-6, (Clock.USER, Clock.KERNEL), 1),
            (0.0005 + USER_ERROR + 0.003 - 1e-6, (Clock.USER, Clock.USER), 0),
            (0.0005 + USER_ERROR + 0.003 + 1e-6, (Clock.USER, Clock.USER), 1),
        ],
    )
    def test_beyond_the_error_only(self, clock, rtt, clocks, slow):
        pinger = Pinger([A], TIMEOUT, limits=[0.0005], clock=clock)
        pinger.lag = 0.003
        request = pinger.begin(0)
        clock.now += 0.5
        tx, rx = clocks
        pinger.heard(reply_to(request, clock.now, elapsed=rtt, tx=tx, rx=rx))
        tally = pinger.tallies()[0]
        assert tally.slow == slow
        assert tally.error == pinger.error(tx, rx)


def test_another_pinger_goes_on_with_the_accounts(clock):
    before = Pinger([A, B], TIMEOUT, limits=[0.1, 0.1], clock=clock)
    for index in (0, 1, 1):
        before.heard(reply_to(before.begin(index), clock.now))
    before.begin(1)
    after = Pinger(["10.10.0.3", B], TIMEOUT, limits=[0.2, 0.2], clock=clock)
    after.take_over(before, [None, 1])
    assert (results(after, 0), results(after, 1)) == ({}, {"reply": 2})
    assert after.in_flight == 0
    clock.now += 100
    after.expire()
    after.heard(reply_to(after.begin(1), clock.now))
    assert results(after, 1) == {"reply": 3}


@pytest.mark.parametrize(
    ("history", "up"),
    [
        ("", None),
        ("0", None),
        ("00", None),
        ("000", False),
        ("1", True),
        ("100", True),
        ("1000", False),
        ("0001", True),
    ],
)
def test_up_is_what_the_last_three_say(pinger, clock, history, up):
    for answered in history:
        request = pinger.begin(0)
        if answered == "1":
            pinger.heard(reply_to(request, clock.now))
        clock.now += TIMEOUT
        pinger.expire()
    assert pinger.tallies()[0].up is up


def test_sequence_numbers_start_again_after_the_last(pinger, clock):
    for i in range(2**16 + 10):
        request = pinger.begin(0)
        pinger.heard(reply_to(request, clock.now))
        clock.now += 0.01
        if i % 100 == 0:
            pinger.expire()
    assert results(pinger) == {"reply": 2**16 + 10}


@given(st.floats(min_value=0, max_value=TIMEOUT, exclude_max=True, allow_subnormal=False))
def test_a_round_trip_is_in_the_bucket_that_prometheus_expects(rtt):
    pinger = Pinger([A], TIMEOUT, clock=lambda: 0.0)
    pinger.heard(reply_to(pinger.begin(0), TIMEOUT, elapsed=rtt))
    counts = pinger.tallies()[0].counts
    for i, edge in enumerate(pinger.edges):
        assert sum(counts[: i + 1]) == (rtt <= edge)


class Accounts(RuleBasedStateMachine):
    """Any interleaving of sending, answers of all kinds, errors, and time, against a plain model.

    The model keeps each request with what it must have become.
    """

    def __init__(self):
        super().__init__()
        self.clock = Time()
        self.pinger = Pinger([A, B], TIMEOUT, clock=self.clock)
        self.sent = []  # [request, result or None, replied]
        self.late = self.duplicates = self.foreign = 0

    @rule(index=st.integers(0, 1))
    def send(self, index):
        self.sent.append([self.pinger.begin(index), None, False])

    @rule(index=st.integers(0, 1), number=st.sampled_from([errno.EPERM, errno.ENETUNREACH]))
    def fail_to_send(self, index, number):
        request = self.pinger.begin(index)
        self.pinger.refused(request, error(number))
        result = Result.SEND_ERROR if number == errno.EPERM else Result.UNREACHABLE
        self.sent.append([request, result, False])

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), stamped=st.booleans())
    def reply(self, data, stamped):
        entry = data.draw(st.sampled_from(self.sent[-8:]))
        request, result, replied = entry
        age = self.clock.now - request.sent
        self.pinger.heard(reply_to(request, self.clock.now, elapsed=age if stamped else None))
        if replied:
            self.duplicates += 1
        elif result is None and age < TIMEOUT:
            entry[1] = Result.REPLY
        else:
            self.late += 1
            entry[1] = result or Result.TIMEOUT
        entry[2] = True

    @precondition(lambda self: self.sent)
    @rule(
        data=st.data(), source=st.sampled_from([A, B, "192.0.2.1"]), payload=st.binary(max_size=8)
    )
    def forge(self, data, source, payload):
        request = data.draw(st.sampled_from(self.sent[-8:]))[0]
        self.pinger.heard(Reply(source, request.sequence, payload, self.clock.now))
        self.foreign += 1

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def icmp_error(self, data):
        entry = data.draw(st.sampled_from(self.sent[-8:]))
        self.pinger.heard(Unreachable(entry[0].address, entry[0].sequence))
        entry[1] = entry[1] or Result.UNREACHABLE

    @rule(seconds=st.sampled_from([0.0, 0.0001, 0.3, 0.7, 1.0]))
    def wait(self, seconds):
        # Short enough that the last eight requests are still remembered when they are drawn.
        if self.sent and self.clock.now + seconds - self.sent[-8:][0][0].sent > MEMORY:
            return
        self.clock.now += seconds

    @rule()
    def expire(self):
        self.pinger.expire()
        for entry in self.sent:
            if entry[1] is None and self.clock.now - entry[0].sent >= TIMEOUT:
                entry[1] = Result.TIMEOUT

    @invariant()
    def agrees_with_the_model(self):
        tallies = self.pinger.tallies()
        for index, tally in enumerate(tallies):
            mine = [result for request, result, _ in self.sent if request.index == index]
            assert dict(tally.results) == {r: mine.count(r) for r in Result}
            assert tally.requests == len(mine) - mine.count(None)
            assert sum(tally.counts) == tally.results[Result.REPLY]
            assert tally.rtt_sum >= 0
        assert self.pinger.in_flight == sum(result is None for _, result, _ in self.sent)
        assert sum(t.late for t in tallies) == self.late
        assert sum(t.duplicates for t in tallies) == self.duplicates
        assert sum(self.pinger.invalid.values()) == self.foreign


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

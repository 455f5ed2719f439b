"""Which echo requests were answered: pure accounting, with the clocks handed in.

The rule is fping's: a request counts only once it was answered, has timed out, or could not be
sent. So a ratio of results is right at every moment, and nothing in flight ever looks like loss.
"""

from __future__ import annotations

import errno
import math
import os
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from attrs import define, field, frozen

from smolmon.exporter.echo import (
    PAYLOAD_BYTES,
    Clock,
    Code,
    Event,
    Garbled,
    Invalid,
    Reply,
    Unreachable,
)

# Upper ends of the histogram's buckets, in seconds: close together where the expectations lie.
EDGES = (
    *(25e-6, 50e-6, 75e-6, 100e-6, 150e-6, 200e-6, 250e-6, 300e-6, 400e-6, 500e-6, 750e-6),
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

UP_AFTER = 3  # so many accounted requests decide whether a target is up
MEMORY = 10.0  # seconds after the timeout in which a late or duplicate reply is still recognised
CLOCK_SLACK = 0.001  # seconds by which a stepless clock may run apart from the monotonic one
NONCE_BYTES = 8
NONCES_AT_ONCE = 256

# How far a round trip may be off, in seconds, by who stamped it: for the kernel what benchmarks/rtt
# finds against a packet capture, rounded up; for this process an allowance. Reading a reply late
# comes on top where nobody else stamped it.
STAMP_ERROR = 20e-6
USER_ERROR = 200e-6

UNREACHABLE_ERRORS = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


class Result(str, Enum):
    """What became of a request."""

    REPLY = "reply"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"  # an ICMP error, or no route to begin with
    SEND_ERROR = "send_error"  # refused on this machine: a firewall, no carrier, a full buffer


@frozen
class Tally:
    """What is known about one address.

    `unreachable` are the results of that name by their reason. `counts` are the replies in each
    bucket of the pinger's edges, and above the last; `rtt_sum` is in seconds. Replies whose round
    trip is not known, because the clock was set meanwhile or the kernel had not begun to stamp, are
    in neither. `slow` are the replies
    that broke the limit by more than the error of their own measurement. `last_reply` is Unix
    time; `up` is None until it is known. `stamped_by` are the clocks behind the last round trip:
    transmission, reception; `error` is how far it may be off, in seconds.
    """

    results: Mapping[Result, int]
    unreachable: Mapping[Code, int]
    late: int
    duplicates: int
    slow: int
    counts: Sequence[int]
    rtt_sum: float
    last_reply: float | None
    up: bool | None
    stamped_by: tuple[Clock, Clock] | None
    error: float | None
    in_flight: int

    @property
    def requests(self) -> int:
        """The requests accounted for."""
        return sum(self.results.values())


@define(eq=False)
class Request:
    """A request that was sent or is about to be. `sent` is monotonic time, in seconds."""

    index: int
    address: str
    sequence: int
    payload: bytes
    sent: float
    result: Result | None = None  # None while in flight
    answered: bool = False  # a reply has come, in time or late


@define(eq=False)
class _Running:
    """A tally that is still being made."""

    limit: float
    counts: list[int]
    replies: int = 0
    lost: dict[Result, int] = field(
        factory=lambda: dict.fromkeys((r for r in Result if r is not Result.REPLY), 0)
    )
    unreachable: dict[Code, int] = field(factory=lambda: dict.fromkeys(Code, 0))
    late: int = 0
    duplicates: int = 0
    slow: int = 0
    rtt_sum: float = 0.0
    last_reply: float | None = None
    recent: deque[bool] = field(factory=lambda: deque(maxlen=UP_AFTER))
    tx: Clock | None = None  # of the last round trip
    rx: Clock = Clock.USER
    in_flight: int = 0


class Pinger:
    """Accounts for the echo requests to some addresses.

    Addresses are referred to by their index. `timeout` is in seconds; `limits` are the expected
    round trips, in seconds, one for each address. `clock` is the monotonic clock that the replies
    carry, `wall` gives Unix time. `lag`, in seconds, is how late this process lately was to do
    anything; whoever knows sets it. `observe`, if set, is told the index, the sequence number and
    the round trip in seconds of each reply in time.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        timeout: float,
        *,
        limits: Sequence[float] | None = None,
        edges: Iterable[float] = EDGES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.addresses = tuple(addresses)
        self.edges = tuple(sorted(edges))
        self.invalid = dict.fromkeys(Invalid, 0)
        self.lag = 0.0
        self.observe: Callable[[int, int, float], None] | None = None
        self._timeout = timeout
        self._clock = clock
        self._wall = wall
        self._random_bytes = random_bytes
        self._nonces: list[bytes] = []
        self._running = [
            _Running(limit, [0] * (len(self.edges) + 1))
            for limit in limits or [math.inf] * len(self.addresses)
        ]
        self._stepped, self._step = -math.inf, 0.0
        # By sequence number: those in flight, and for MEMORY those settled.
        self._requests: dict[int, Request] = {}
        self._waiting: deque[Request] = deque()  # oldest first, until the timeout
        self._remembered: deque[Request] = deque()  # oldest first, until they are forgotten
        self._next = 0

    def begin(self, index: int) -> Request:
        """A new request to that address, in flight from now on."""
        sequence = self._next
        while sequence in self._requests:
            sequence = (sequence + 1) & 0xFFFF
        self._next = (sequence + 1) & 0xFFFF
        if not self._nonces:
            random = self._random_bytes(NONCE_BYTES * NONCES_AT_ONCE)
            self._nonces = [random[i : i + NONCE_BYTES] for i in range(0, len(random), NONCE_BYTES)]
        payload = self._nonces.pop() * (PAYLOAD_BYTES // NONCE_BYTES)
        request = Request(index, self.addresses[index], sequence, payload, self._clock())
        self._requests[sequence] = request
        self._waiting.append(request)
        self._running[index].in_flight += 1
        return request

    def refused(self, request: Request, error: OSError) -> None:
        """`request` could not be sent."""
        if error.errno in UNREACHABLE_ERRORS:
            self._unreachable(request, Code.NO_ROUTE)
        else:
            self._lose(request, Result.SEND_ERROR)

    def heard(self, event: Event) -> None:
        """Something came in."""
        if type(event) is Reply:
            self._reply(event)
        elif type(event) is Unreachable:
            request = self._requests.get(event.sequence)
            if request and request.result is None and request.address == event.address:
                self._unreachable(request, event.code)
        elif type(event) is Garbled:
            self.invalid[event.reason] += 1

    def stepped(self, seconds: float) -> None:
        """The clock of the stamps was set by so many seconds, at some moment before now."""
        now = self._clock()
        several = now - self._stepped < self._timeout + MEMORY
        self._step = math.nan if several else seconds
        self._stepped = now

    def expire(self) -> None:
        """Account for what has timed out. Hear what has come before: it may have come in time."""
        now = self._clock()
        waiting, remembered = self._waiting, self._remembered
        due = now - self._timeout
        while waiting and waiting[0].sent <= due:
            request = waiting.popleft()
            if request.result is None:
                self._lose(request, Result.TIMEOUT)
            remembered.append(request)
        due -= MEMORY
        while remembered and remembered[0].sent < due:
            del self._requests[remembered.popleft().sequence]

    def abandon(self, indices: Iterable[int] | None = None) -> None:
        """The socket is gone: what became of the requests in flight will never be known.

        `indices` are the addresses it was for; all of them if None.
        """
        gone = set(range(len(self.addresses)) if indices is None else indices)
        kept: deque[Request] = deque()
        for request in self._waiting:
            if request.result is None and request.index in gone:
                del self._requests[request.sequence]
                self._running[request.index].in_flight -= 1
            else:
                kept.append(request)
        self._waiting = kept

    def take_over(self, other: Pinger, indices: Sequence[int | None]) -> None:
        """Go on with the accounts of another pinger, which is used no more.

        `indices` has, for each address here, the index of the same probe there, or None for one
        that is new. What is still in flight there is never accounted for.
        """
        for here, there in enumerate(indices):
            if there is None:
                continue
            running = other._running[there]
            running.limit = self._running[here].limit
            running.in_flight = 0
            if other.edges != self.edges:
                running.counts = [0] * (len(self.edges) + 1)
                running.rtt_sum = 0.0
            self._running[here] = running
        self.invalid = other.invalid
        self._next = other._next

    @property
    def in_flight(self) -> int:
        """How many requests have no result yet."""
        return sum(r.in_flight for r in self._running)

    def error(self, tx: Clock, rx: Clock) -> float:
        """How far a round trip may be off, in seconds, that these clocks measured."""
        if rx is Clock.USER:
            return USER_ERROR + self.lag
        return STAMP_ERROR if tx is Clock.KERNEL else USER_ERROR

    def tallies(self) -> tuple[Tally, ...]:
        """What is known now, for each address."""
        return tuple(
            Tally(
                results={Result.REPLY: r.replies, **r.lost},
                unreachable=dict(r.unreachable),
                late=r.late,
                duplicates=r.duplicates,
                slow=r.slow,
                counts=tuple(r.counts),
                rtt_sum=r.rtt_sum,
                last_reply=r.last_reply,
                up=_up(r.recent),
                stamped_by=(r.tx, r.rx) if r.tx else None,
                error=self.error(r.tx, r.rx) if r.tx else None,
                in_flight=r.in_flight,
            )
            for r in self._running
        )

    def _reply(self, reply: Reply) -> None:
        request = self._requests.get(reply.sequence)
        if request is None:
            self.invalid[Invalid.SEQUENCE] += 1
            return
        if reply.payload != request.payload:
            self.invalid[Invalid.PAYLOAD] += 1
            return
        if reply.source != request.address:
            self.invalid[Invalid.SOURCE] += 1
            return
        running = self._running[request.index]
        if request.answered:
            running.duplicates += 1
            return
        request.answered = True

        # The stamped interval lies within the one that this process saw. Where it does not, the
        # clock was set in between, and only the monotonic one is right; and that measures the round
        # trip only when the reply was read as it came. Without either it is not known.
        seen = max(0.0, reply.received - request.sent)
        rtt: float | None = reply.elapsed
        tx, rx = reply.tx, reply.rx
        in_time = True
        if (
            rtt is None
            or not 0.0 <= rtt <= seen + CLOCK_SLACK
            or (request.sent <= self._stepped and self._doubtful(request, reply))
        ):
            rtt = seen if reply.prompt else None
            tx = rx = Clock.USER
        if rtt is not None:
            in_time = rtt < self._timeout
        elif reply.elapsed is None or request.sent > self._stepped:
            in_time = seen < self._timeout
        if request.result is not None or not in_time:
            running.late += 1
            if request.result is None:
                self._lose(request, Result.TIMEOUT)
            return
        request.result = Result.REPLY
        running.in_flight -= 1
        running.replies += 1
        running.recent.append(True)
        running.last_reply = self._wall()
        if rtt is None:
            return
        running.last_reply -= max(0.0, seen - rtt)  # for so long it waited to be read
        running.counts[bisect_left(self.edges, rtt)] += 1
        running.rtt_sum += rtt
        running.tx, running.rx = tx, rx
        if rtt > running.limit and rtt > running.limit + self.error(tx, rx):
            running.slow += 1
        if self.observe is not None:
            self.observe(request.index, request.sequence, rtt)

    def _doubtful(self, request: Request, reply: Reply) -> bool:
        """Whether the clock may have been set between the stamps, and they do not show it."""
        if not reply.steps or reply.elapsed is None:
            return False
        without = reply.elapsed - self._step  # what it would be, had it been in between
        return not (without < 0.0 or without > reply.received - request.sent + CLOCK_SLACK)

    def _unreachable(self, request: Request, code: Code) -> None:
        self._running[request.index].unreachable[code] += 1
        self._lose(request, Result.UNREACHABLE)

    def _lose(self, request: Request, result: Result) -> None:
        request.result = result
        running = self._running[request.index]
        running.in_flight -= 1
        running.lost[result] += 1
        running.recent.append(False)


def _up(recent: Sequence[bool]) -> bool | None:
    if any(recent):
        return True
    return False if len(recent) == UP_AFTER else None

"""Which echo requests were answered: pure accounting, with the clocks handed in.

The rule is fping's: a request counts only once it was answered, has timed out, or could not be
sent. So a ratio of results is right at every moment, and nothing in flight ever looks like loss.
"""

from __future__ import annotations

import errno
import os
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from attrs import define, field, frozen

from smolmon.exporter.echo import PAYLOAD_BYTES, Clock, Reply, Unreachable

# Upper ends of the histogram's buckets, in seconds: close together where the expectations lie.
EDGES = (
    *(25e-6, 50e-6, 75e-6, 100e-6, 150e-6, 200e-6, 250e-6, 300e-6, 400e-6, 500e-6, 750e-6),
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

UP_AFTER = 3  # so many accounted requests decide whether a target is up
MEMORY = 10.0  # seconds after the timeout in which a late or duplicate reply is still recognised
CLOCK_SLACK = 0.001  # seconds by which a stepless clock may run apart from the monotonic one
NONCE_BYTES = 8

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

    `counts` are the replies in each bucket of the pinger's edges, and above the last; `rtt_sum` is
    in seconds; `last_reply` is Unix time; `up` is None until it is known. `stamped_by` are the
    clocks behind the last round trip: transmission, reception.
    """

    results: Mapping[Result, int]
    late: int
    duplicates: int
    counts: Sequence[int]
    rtt_sum: float
    last_reply: float | None
    up: bool | None
    stamped_by: tuple[Clock, Clock] | None

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


@define
class _Running:
    """A tally that is still being made."""

    counts: list[int]
    results: dict[Result, int] = field(factory=lambda: dict.fromkeys(Result, 0))
    late: int = 0
    duplicates: int = 0
    rtt_sum: float = 0.0
    last_reply: float | None = None
    recent: deque[bool] = field(factory=lambda: deque(maxlen=UP_AFTER))
    stamped_by: tuple[Clock, Clock] | None = None


class Pinger:
    """Accounts for the echo requests to some addresses, sent over one socket.

    Addresses are referred to by their index. `timeout` is in seconds; `clock` is the monotonic
    clock that the socket's replies carry, `wall` gives Unix time.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        timeout: float,
        *,
        edges: Iterable[float] = EDGES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.addresses = tuple(addresses)
        self.edges = tuple(sorted(edges))
        self.foreign = 0
        self._timeout = timeout
        self._clock = clock
        self._wall = wall
        self._random_bytes = random_bytes
        self._running = [_Running([0] * (len(self.edges) + 1)) for _ in self.addresses]
        # By sequence number, oldest first: those in flight, and for MEMORY those settled.
        self._requests: dict[int, Request] = {}
        self._next = 0

    def begin(self, index: int) -> Request:
        """A new request to that address, in flight from now on."""
        while self._next in self._requests:
            self._next = (self._next + 1) % 2**16
        nonce = self._random_bytes(NONCE_BYTES)
        payload = nonce * (PAYLOAD_BYTES // NONCE_BYTES)
        request = Request(index, self.addresses[index], self._next, payload, self._clock())
        self._requests[self._next] = request
        self._next = (self._next + 1) % 2**16
        return request

    def refused(self, request: Request, error: OSError) -> None:
        """`request` could not be sent."""
        unreachable = error.errno in UNREACHABLE_ERRORS
        self._settle(request, Result.UNREACHABLE if unreachable else Result.SEND_ERROR)

    def heard(self, event: Reply | Unreachable) -> None:
        """Something came in."""
        if isinstance(event, Reply):
            self._reply(event)
            return
        request = self._requests.get(event.sequence)
        if request and request.result is None and request.address == event.address:
            self._settle(request, Result.UNREACHABLE)

    def expire(self) -> None:
        """Account for what has timed out. Hear what has come before: it may have come in time."""
        now = self._clock()
        forgotten = []
        for sequence, request in self._requests.items():
            age = now - request.sent
            if age < self._timeout:
                break
            if request.result is None:
                self._settle(request, Result.TIMEOUT)
            if age > self._timeout + MEMORY:
                forgotten.append(sequence)
        for sequence in forgotten:
            del self._requests[sequence]

    def abandon(self) -> None:
        """The socket is gone: what became of the requests in flight will never be known."""
        self._requests = {s: r for s, r in self._requests.items() if r.result is not None}

    @property
    def in_flight(self) -> int:
        """How many requests have no result yet."""
        return sum(r.result is None for r in self._requests.values())

    def tallies(self) -> tuple[Tally, ...]:
        """What is known now, for each address."""
        return tuple(
            Tally(
                results=dict(r.results),
                late=r.late,
                duplicates=r.duplicates,
                counts=tuple(r.counts),
                rtt_sum=r.rtt_sum,
                last_reply=r.last_reply,
                up=_up(r.recent),
                stamped_by=r.stamped_by,
            )
            for r in self._running
        )

    def _reply(self, reply: Reply) -> None:
        request = self._requests.get(reply.sequence)
        if request is None or (reply.source, reply.payload) != (request.address, request.payload):
            self.foreign += 1
            return
        running = self._running[request.index]
        if request.answered:
            running.duplicates += 1
            return
        request.answered = True
        rtt, stamped_by = _round_trip(request, reply)
        if request.result is None and rtt < self._timeout:
            running.counts[bisect_left(self.edges, rtt)] += 1
            running.rtt_sum += rtt
            running.last_reply = self._wall()
            running.stamped_by = stamped_by
            self._settle(request, Result.REPLY)
            return
        running.late += 1
        if request.result is None:
            self._settle(request, Result.TIMEOUT)

    def _settle(self, request: Request, result: Result) -> None:
        request.result = result
        running = self._running[request.index]
        running.results[result] += 1
        running.recent.append(result is Result.REPLY)


def _round_trip(request: Request, reply: Reply) -> tuple[float, tuple[Clock, Clock]]:
    """Seconds from request to reply, and whose clocks say so.

    The stamped interval lies within the one that this process saw. Where it does not, the clock
    was set in between, and only the monotonic one is right.
    """
    seen = max(0.0, reply.received - request.sent)
    if reply.elapsed is not None and 0.0 <= reply.elapsed <= seen + CLOCK_SLACK:
        return reply.elapsed, (reply.tx, reply.rx)
    return seen, (Clock.USER, Clock.USER)


def _up(recent: Sequence[bool]) -> bool | None:
    if any(recent):
        return True
    return False if len(recent) == UP_AFTER else None

"""How many links a path crosses: a short traceroute, with all its requests at once.

A request whose time to live ends at a gateway is sent back by it; the smallest that is answered by
the address itself is the number of links. The way back is another matter and is not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

ROUNDS = 3  # of requests: one lost packet must not make the path look longer
TIMEOUT = 1.0  # seconds for each round
SPARE = 3  # so many links more than declared are looked for


@frozen
class Answer:
    """Who answered the request with that time to live. `reached`: the address itself."""

    ttl: int
    source: str
    reached: bool


class Tracer(Protocol):
    """A socket for echo requests of limited life. Never blocks."""

    def send(self, address: str, ttl: int) -> None:
        """Send one. Raises OSError."""

    def receive(self) -> Sequence[Answer]:
        """What has come since the last call. Raises OSError."""

    def fileno(self) -> int:
        """The descriptor that becomes readable when something has come."""

    def close(self) -> None:
        """Give the descriptor back."""


OpenTracer = Callable[[], Tracer]


@frozen
class Path:
    """A path: its number of links, and the gateways that answered, by their place from 1."""

    hops: int
    gateways: Mapping[int, str]


async def trace(
    open_tracer: OpenTracer, address: str, expected: int, timeout: float = TIMEOUT
) -> Path | None:
    """The path to `address`; None where it does not answer, or is much longer than `expected`.

    Raises OSError.
    """
    loop = asyncio.get_running_loop()
    tracer = open_tracer()
    answers: dict[int, Answer] = {}
    news = asyncio.Event()
    trouble: list[OSError] = []
    wanted = range(1, expected + SPARE + 1)

    def take() -> None:
        try:
            answers.update((a.ttl, a) for a in tracer.receive())
        except OSError as error:
            trouble.append(error)
            loop.remove_reader(tracer.fileno())
        news.set()

    def missing() -> list[int]:
        end = _hops(answers) or wanted.stop
        return [ttl for ttl in range(1, end) if ttl not in answers]

    loop.add_reader(tracer.fileno(), take)
    try:
        for _ in range(ROUNDS):
            for ttl in missing():
                tracer.send(address, ttl)
            deadline = loop.time() + timeout
            while missing() and not trouble and (left := deadline - loop.time()) > 0:
                news.clear()
                try:
                    await asyncio.wait_for(news.wait(), left)
                except asyncio.TimeoutError:
                    break
            if trouble:
                raise trouble[0]
            if not missing():
                break
    finally:
        loop.remove_reader(tracer.fileno())
        tracer.close()
    hops = _hops(answers)
    if hops is None:
        return None
    return Path(hops, {ttl: answers[ttl].source for ttl in range(1, hops) if ttl in answers})


def _hops(answers: Mapping[int, Answer]) -> int | None:
    return min((a.ttl for a in answers.values() if a.reached), default=None)

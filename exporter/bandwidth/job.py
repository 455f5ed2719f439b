"""What the child process is told to do, and what it answers: one line of JSON each way."""

from __future__ import annotations

import json
from enum import Enum
from ipaddress import IPv4Address
from typing import Any

from attrs import asdict, field, frozen, validators

from smolmon.bounds import DURATIONS, STREAMS

CONNECT_TIMEOUT = 2.0  # seconds; without one a SYN that is dropped takes 135 s to fail
LONGEST = 300.0  # seconds that a child may live
ABSENT = "there is no libiperf"  # how the text begins of a child that finds none


class Role(str, Enum):
    """Which end of a test this is."""

    SEND = "send"  # libiperf's client
    RECEIVE = "receive"  # a server for one test
    CHECK = "check"  # none: only whether libiperf can be loaded


def _in(bounds: range) -> Any:  # noqa: ANN401 - attrs' own type is not public
    return validators.and_(validators.instance_of(int), validators.in_(bounds))


def _between(low: float, high: float) -> Any:  # noqa: ANN401
    return validators.and_(validators.ge(low), validators.le(high))


def _address(text: str) -> str:
    return str(IPv4Address(text))


@frozen
class Job:
    """One run of libiperf. Raises ValueError or TypeError for what it must never be given.

    The server listens on `server`, the client connects from `client`. The client sends from `begin`
    (Unix time) on, and tries for `patience` seconds while nobody listens yet. `rate` (bytes per
    second, all streams together; None: as fast as it goes). After `lifetime` seconds the process
    ends itself.
    """

    role: Role = field(converter=Role)
    server: str = field(default="127.0.0.1", converter=_address)
    client: str = field(default="127.0.0.1", converter=_address)
    port: int = field(default=9743, validator=_in(range(1, 65536)))
    duration: int = field(default=1, validator=_in(DURATIONS))
    streams: int = field(default=1, validator=_in(STREAMS))
    rate: float | None = field(default=None, validator=validators.optional(_between(1.0, 1e12)))
    begin: float = 0.0
    patience: float = field(default=0.0, validator=_between(0.0, LONGEST))
    lifetime: float = field(default=LONGEST, validator=_between(0.1, LONGEST))

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        """The job of :meth:`as_json`."""
        return cls(**json.loads(line))


@frozen
class Measurement:
    """What one end saw. `rate` is in bytes per second.

    `cpu` is the processor time of this end's process by the time the test took, `remote_cpu` the
    other end's: 1.0 is one core. Only who sends knows of `retransmits`.
    """

    bytes: int
    rate: float
    cpu: float | None = None
    remote_cpu: float | None = None
    retransmits: int | None = None
    peer: str = ""  # the address of the client that came to a server


@frozen
class Trouble:
    """Why there is no measurement: libiperf's error number (iperf_api.h), and its words.

    0 where it was not libiperf. `library`: there is none.
    """

    text: str
    code: int = 0
    library: bool = False
    killed: bool = False  # by a signal that was not ours
    late: bool = False  # by us, when its time was over


Answer = Measurement | Trouble


def answer_as_json(answer: Answer | None) -> str:
    """One line; None is the answer to a check."""
    kind = {Measurement: "measured", Trouble: "trouble"}.get(type(answer), "fine")
    return json.dumps({kind: asdict(answer) if answer else {}})


def answer_from_json(line: str) -> Answer | None:
    """The answer of :func:`answer_as_json`. Raises ValueError."""
    try:
        ((kind, values),) = json.loads(line).items()
        if kind == "fine":
            return None
        return Measurement(**values) if kind == "measured" else Trouble(**values)
    except (AttributeError, TypeError, ValueError) as error:  # the last: also bad JSON
        raise ValueError(f"not an answer: {line[:80]!r}") from error

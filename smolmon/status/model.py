"""What the screen shows: plain frozen data, made by :mod:`smolmon.status.judge`.

Seconds, bytes per second and ratios throughout. What is not known is None, never 0.
"""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen


class State(str, Enum):
    """How a thing is, from good to bad. What is not known is none of them."""

    OK = "ok"
    DEGRADED = "degraded"
    BROKEN = "broken"
    UNKNOWN = "unknown"

    @property
    def mark(self) -> str:
        """What says it without colour."""
        return {"ok": "✓", "degraded": "!", "broken": "✗", "unknown": "?"}[self.value]


class Word(str, Enum):
    """The answer to: may I start a training run?"""

    READY = "READY"
    DEGRADED = "DEGRADED"
    BLOCKED = "BLOCKED"
    UNKNOWN = "UNKNOWN"

    @property
    def state(self) -> State:
        """The same as a state, for its colour and mark."""
        states = (State.OK, State.DEGRADED, State.BROKEN, State.UNKNOWN)
        return dict(zip(Word, states, strict=True))[self]


@frozen
class Verdict:
    """`reason` is one line."""

    word: Word
    reason: str


@frozen
class Node:
    """A node; `words` say why it is not ok, "" where it is."""

    name: str
    role: str
    state: State
    words: str = ""


@frozen
class Link:
    """A drawn link: `far` hangs on `near`, which is nearer to the server, over `segment`.

    `rate` is the lower of both directions' last tests.
    """

    near: str
    far: str
    segment: str
    state: State
    rtt: float | None = None
    loss: float | None = None
    rate: float | None = None
    rate_time: float | None = None


@frozen
class Path:
    """What `source` measures towards `target`. `rate` is what it received from there last.

    That test ended at `rate_time` (Unix).

    `pinged` and `tested` say what the cluster file wants measured; the states are UNKNOWN where
    that has given nothing.
    """

    source: str
    target: str
    pinged: bool = False
    tested: bool = False
    answers: bool | None = None
    rtt: float | None = None
    rtt_state: State = State.UNKNOWN
    loss: float | None = None
    loss_state: State = State.UNKNOWN
    rate: float | None = None
    rate_state: State = State.UNKNOWN
    rate_time: float | None = None

    @property
    def state(self) -> State:
        """The worst of what is known."""
        if self.answers is False:
            return State.BROKEN
        known = [s for s in (self.rtt_state, self.loss_state, self.rate_state) if s in _ORDER]
        return max(known, key=_ORDER.index, default=State.UNKNOWN)


_ORDER = (State.OK, State.DEGRADED, State.BROKEN)


@frozen
class Trouble:
    """What is wrong, most important first on the screen. `fix` is a command or a sentence.

    `since` is Unix time; None where nobody kept it.
    """

    name: str
    node: str
    state: State
    summary: str
    fix: str
    since: float | None = None


@frozen
class Tested:
    """A bandwidth test that ended at `time` (Unix); `least` is what is expected of it."""

    source: str
    target: str
    rate: float
    least: float | None
    time: float


@frozen
class Picture:
    """All that is shown. `time` is when it was seen, `source` who was asked, `address` where.

    `window` are the seconds that round-trip times are means of, `loss_window` those of the loss.
    `period` is the timetable's: results of tests that are two of them old are stale. `note` is what
    to know of the source. `training` counts connections to the training server.
    """

    cluster: str
    source: str
    time: float
    verdict: Verdict
    nodes: tuple[Node, ...] = ()
    links: tuple[Link, ...] = ()
    paths: tuple[Path, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    tested: Tested | None = None
    seen: int = 0
    training: int | None = None
    window: float = 0.0
    loss_window: float = 0.0
    period: float = 3600.0
    note: str = ""
    address: str = ""
    stale: bool = field(default=False, kw_only=True)

    def node(self, name: str) -> Node:
        """The node called `name`. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def link(self, far: str, segment: str) -> Link | None:
        """The link by which `far` hangs on `segment`."""
        return next((x for x in self.links if (x.far, x.segment) == (far, segment)), None)

    def path(self, source: str, target: str) -> Path | None:
        """The path between two nodes, if anything is declared to be measured there."""
        return next((p for p in self.paths if (p.source, p.target) == (source, target)), None)

"""Trials: break a healthy lab in one way or two, see what is notified, heal it, see that resolved.

For scripts/fault-matrix and for the tests; a lab must be up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from attrs import frozen

from smolmon.cluster import Cluster
from smolmon.lab import faults, sink
from smolmon.lab.machines import run_in
from smolmon.lab.monitor import alerts, samples, silences
from smolmon.lab.place import Lab
from smolmon.lab.plan import CONTROLLER

T = TypeVar("T")

# Seconds, whatever the speed, and those that the speed divides; nothing takes as long. What loses
# packets does so within two minutes at any speed, and is over as long after; files may differ for
# ten minutes of real time.
PATIENCE = 180.0
RULES_PATIENCE = 900.0
# Seconds: who used an address that has gone asks anew when the kernel's own time is up (15 to 45 s
# until an entry is stale, then 8 s).
FIX_PATIENCE = 60.0
# Seconds, whatever the speed: by then three pings have been lost, the last of them has timed out,
# and somebody has been told. At speed 1 symptoms, which wait for 30 s and then for each other, may
# take so much longer.
SYMPTOMS = 5.0
SYMPTOMS_WAIT = 60.0
SILENT = ("Watchdog", "SmolmonExplained")
# A repair that is a command and not advice; those that only look begin likewise.
COMMAND = ("ssh ", "smolmon ")
SETUP = "smolmon setup"
LOOKS = (
    "SmolmonServerUnreachable",
    "SmolmonTrainingPortFiltered",
    "SmolmonRouteOverruled",
    "SmolmonIsolationBroken",
    "SmolmonPacketLoss",
    "SmolmonLatencyHigh",
    "SmolmonPeerUnreachable",
    "SmolmonInternetUnreachable",
    "SmolmonDefaultRouteMissing",
)


@frozen
class Told:
    """What a notification is about."""

    alert: str
    node: str


@frozen
class Trial:
    """What came of breaking a lab. `seconds`: from the fault to the first notification.

    `fix_healed` is None where the repair is no command, or was not tried.
    """

    faults: tuple[tuple[str, str], ...]
    expected: frozenset[Told]
    permitted: frozenset[Told]  # what may be told in the same notifications, `expected` included
    notified: frozenset[Told]
    count: int  # notifications of something firing, those that come together counted once
    seconds: float | None
    fix_healed: bool | None
    resolved: bool
    sent: tuple[dict[str, str], ...] = ()  # all notifications, as the sink has them

    @property
    def as_expected(self) -> bool:
        """Whether everything that broke was told of, nothing else, and its end."""
        return (
            self.expected <= self.notified <= self.permitted
            and self.count == len({told.alert for told in self.expected})
            and self.fix_healed is not False
            and self.resolved
        )


class Watcher:
    """Reads what the lab's monitor knows, and what it has sent."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._monitor = lab.monitor()

    def sent(self) -> list[dict[str, str]]:
        """All notifications, in order."""
        return sink.read(self._lab.notifications())

    def active(self) -> list[dict[str, Any]]:
        """Prometheus' alerts, pending ones too, but those that never notify."""
        return samples(self._monitor["prometheus"], f'ALERTS{{alertname!~"{"|".join(SILENT)}"}}')

    def quiet(self) -> bool:
        """Whether nothing is wrong, nothing was, and nothing is still to be sent.

        Nor held back: a repair by `smolmon setup` leaves a silence behind, which would hide the
        next fault.
        """
        return (
            not self.active()
            and not [
                a
                for a in alerts(self._monitor["alertmanager"])
                if a["labels"]["alertname"] not in SILENT
            ]
            and not silences(self._monitor["alertmanager"])
            and not samples(self._monitor["prometheus"], "smolmon_ping_up == 0")
            and not samples(self._monitor["prometheus"], 'up{job="smolmon"} == 0')
            and not samples(
                self._monitor["prometheus"], 'smolmon_tcp_connect_state{state!="refused"} == 1'
            )
        )

    def settled(self) -> bool:
        """Whether every alert fires, and Alertmanager has had the time to send it."""
        now = self.active()
        states = {a["labels"]["alertname"] for a in alerts(self._monitor["alertmanager"])}
        return all(a["alertstate"] == "firing" and a["alertname"] in states for a in now) and bool(
            now
        )


def until(what: str, read: Callable[[], T], patience: float = PATIENCE) -> T:
    """What `read` gives once that is true. Raises TimeoutError, naming `what`."""
    end = time.monotonic() + patience
    while not (value := read()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {patience:.0f} s: {what}")
        time.sleep(0.1)
    return value


def expected(cluster: Cluster, broken: Sequence[tuple[str, str]]) -> frozenset[Told]:
    """What must be notified of these faults, each a name and a node."""
    found = (faults.fault(name) for name, _ in broken)
    return frozenset(
        Told(fault.cause, fault.named(cluster, node))
        for fault, (_, node) in zip(found, broken, strict=True)
    )


def permitted(cluster: Cluster, broken: Sequence[tuple[str, str]]) -> frozenset[Told]:
    """What may be notified of these faults: what must, and other nodes that see the same."""
    others = {
        Told(fault.cause, other)
        for fault, node in ((faults.fault(name), node) for name, node in broken)
        for other in fault.also(cluster, node)
    }
    return expected(cluster, broken) | others


def attempt(lab: Lab, broken: Sequence[tuple[str, str]], *, run_fix: bool = True) -> Trial:
    """Break a healthy lab, watch, repair it as the notifications say, heal it, watch."""
    cluster, watcher, speed = lab.cluster(), Watcher(lab), lab.state().speed
    patience = RULES_PATIENCE / speed
    wanted = expected(cluster, broken)
    until("silence before the fault", watcher.quiet, PATIENCE + patience)
    before = len(watcher.sent())

    def firing() -> list[dict[str, str]]:
        return [n for n in watcher.sent()[before:] if n["status"] == "firing"]

    def told() -> frozenset[Told]:
        return frozenset(Told(n["alert"], n["node"]) for n in firing())

    begin = time.monotonic()
    seconds = fix_healed = None
    try:
        for name, node in broken:
            faults.break_(lab, name, node)
        try:
            until("a notification", firing, PATIENCE + patience)
            seconds = time.monotonic() - begin
            until("a notification of each", lambda: told() >= wanted, 30 + patience)
        except TimeoutError:
            pass
        end = begin + SYMPTOMS + SYMPTOMS_WAIT / speed
        until("the symptoms", lambda: time.monotonic() > end and watcher.settled(), 15 + patience)
        if run_fix and (fixes := _commands(firing())):
            fix_healed = _fix(lab, watcher, before, fixes, told(), FIX_PATIENCE + patience)
    except TimeoutError:
        pass
    finally:
        faults.heal(lab, None, None)
    try:
        ended = lambda: _ended(watcher.sent()[before:]) >= told()  # noqa: E731
        until("the resolution", ended, PATIENCE + patience)
        until("silence after the fault", watcher.quiet, PATIENCE + patience)
        resolved = True
    except TimeoutError:
        resolved = False
    return Trial(
        faults=tuple(broken),
        expected=wanted,
        permitted=permitted(cluster, broken),
        notified=told(),
        count=notifications(watcher.sent()[before:]),
        seconds=seconds,
        fix_healed=fix_healed,
        resolved=resolved,
        sent=tuple(watcher.sent()[before:]),
    )


def _commands(notified: list[dict[str, str]]) -> list[str]:
    """The repairs, if all of them are commands that repair."""
    fixes = list(dict.fromkeys(n["fix"] for n in notified))
    if any(n["alert"] in LOOKS for n in notified):
        return []
    return fixes if all(fix.startswith(COMMAND) for fix in fixes) else []


def _fix(  # noqa: PLR0917 - what it needs
    lab: Lab,
    watcher: Watcher,
    before: int,
    fixes: list[str],
    told: frozenset[Told],
    patience: float,
) -> bool:
    for fix in fixes:
        # As printed; what it asks before it changes anything, it need not ask here.
        run_in(CONTROLLER, ["sh", "-c", f"{fix} --yes" if fix == SETUP else fix])
    try:
        until("the resolution", lambda: _ended(watcher.sent()[before:]) >= told, patience)
    except TimeoutError:
        return False
    return True


def _ended(notified: list[dict[str, str]]) -> frozenset[Told]:
    return frozenset(Told(n["alert"], n["node"]) for n in notified if n["status"] == "resolved")


def notifications(sent: Sequence[dict[str, str]]) -> int:
    """How many notifications of something firing there are in what the sink has, from one trial.

    One that has nothing new but the end of an earlier trial's alert is none of this trial's:
    Prometheus repeats an end for 15 minutes (its rules/alerting.go, resolvedRetention), and
    Alertmanager tells of it again together with what fires in the same group.
    """
    count = 0
    told: set[tuple[str, ...]] = set()
    for _, together in groupby(sent, key=lambda n: (n["alert"], n["time"])):
        by_status: dict[str, set[tuple[str, ...]]] = {"firing": set(), "resolved": set()}
        for n in together:
            # Of one node there may be two, such as for two of its ports.
            by_status[n["status"]].add((n["alert"], n["node"], n["summary"]))
        firing, earlier = by_status["firing"], by_status["resolved"] - told
        if firing and not (firing <= told and earlier):
            count += 1
        told |= firing
    return count

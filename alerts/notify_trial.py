"""Send one test through Alertmanager to each receiver, and see whether it was handed over.

Alertmanager counts its requests by kind of receiver, and how many of them failed. So receivers of
one kind are tried one after the other, those of different kinds at the same time. A real
notification of the same kind in just that moment would be taken for the test; that an earlier test
is over is waited for.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum
from itertools import zip_longest
from typing import Any

import yaml
from attrs import field, frozen

from smolmon.alertmanager import Alertmanager
from smolmon.alerts.notify import TEST_LABEL
from smolmon.alerts.receivers import HEARTBEAT, NULL
from smolmon.cluster.notify import Severity

ALERT = "SmolmonTest"
PAGE = "https://github.com/smolmon/smolmon/blob/main/docs/notifications.md"
REQUESTS = "alertmanager_notification_requests_total"
FAILED = "alertmanager_notification_requests_failed_total"
POLL = 0.1  # seconds
# An alert that nobody is told of: it goes on until all have been told that a test is over.
OVER = "SmolmonTestOver"
TELLING = 1.2  # group intervals


class TrialError(ValueError):
    """Nothing can be tried. One line."""


class State(str, Enum):
    """What became of the test for one receiver."""

    DELIVERED = "delivered"
    FAILED = "failed"
    NOT_TOLD = "not told"  # of alerts of this severity


@frozen
class Outcome:
    """`seconds` is how long a delivery took; `reason` stands beside what is none."""

    receiver: str
    kind: str
    state: State
    seconds: float = 0.0
    reason: str = ""


@frozen
class Test:
    """What is sent. `unique` keeps it apart from what was sent before."""

    cluster: str
    severity: Severity
    unique: str = field(factory=lambda: f"{datetime.now(timezone.utc):%H%M%S.%f}")

    def labels(self, receiver: str) -> dict[str, str]:
        """The labels of the alert for one receiver."""
        return {
            "alertname": ALERT,
            "cluster": self.cluster,
            "severity": self.severity.value,
            "class": "meta",
            TEST_LABEL: f"{receiver}/{self.unique}",
        }

    @property
    def annotations(self) -> dict[str, str]:
        """What the notification says."""
        return {
            "summary": "This is a test, nothing is wrong",
            "description": (
                f"`smolmon notify test` on {socket.gethostname()} sent this as "
                f"{self.severity.value}, to see whether notifications arrive. Fix: there is "
                "nothing to do."
            ),
            "fix": "there is nothing to do",
            "runbook_url": PAGE,
        }


def kinds(alertmanager: Alertmanager) -> dict[str, str]:
    """The receivers of the configuration that runs, and the kind of each as Alertmanager says it.

    Raises AlertmanagerError, and TrialError where smolmon has not written it.
    """
    original = alertmanager.configuration()
    try:
        receivers: Any = yaml.safe_load(original)["receivers"]
    except (KeyError, TypeError, yaml.YAMLError):
        raise TrialError(f"{alertmanager.url} is no Alertmanager") from None
    if TEST_LABEL not in original:
        raise TrialError(
            f"the configuration of Alertmanager at {alertmanager.url} is not one of this version "
            "of `smolmon render`; render it, and reload Alertmanager"
        )
    return {
        receiver["name"]: section.removesuffix("_configs")
        for receiver in receivers
        for section in receiver
        if section.endswith("_configs") and receiver["name"] not in (NULL, HEARTBEAT)
    }


def trial(
    alertmanager: Alertmanager,
    test: Test,
    chosen: Mapping[str, str],
    patience: float,
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    """What became of `test` for each of `chosen`, a receiver's kind by its name.

    Each is waited for `patience` seconds. Raises AlertmanagerError.
    """
    telling = TELLING * alertmanager.group_interval()
    _until_told(alertmanager, telling, say)
    rounds = list(_rounds(chosen))
    end = _in(len(rounds) * patience + 60)
    try:
        for together in rounds:
            yield from _one_round(alertmanager, test, together, patience, end)
    finally:
        # Not before: that an alert is over is told too, and would look like a later one's success.
        over = {"alertname": OVER, "cluster": test.cluster, "severity": "none"}
        alertmanager.post_alert(over, {"summary": "A test is over"}, _in(telling))
        for name in chosen:
            alertmanager.post_alert(test.labels(name), test.annotations, _in(0))


def _until_told(alertmanager: Alertmanager, longest: float, say: Callable[[str], None]) -> None:
    """Wait until all have been told that an earlier test is over."""
    if not alertmanager.alerts(alertname=OVER):
        return
    say(f"waiting until all were told that an earlier test is over, {longest:.0f} s at most")
    end = time.monotonic() + longest
    while time.monotonic() < end and alertmanager.alerts(alertname=OVER):
        time.sleep(POLL)


def _rounds(chosen: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Receivers that can be told apart: no two of a kind."""
    by_kind: dict[str, list[str]] = {}
    for name, kind in chosen.items():
        by_kind.setdefault(kind, []).append(name)
    for names in zip_longest(*by_kind.values()):
        yield {name: chosen[name] for name in names if name is not None}


def _one_round(
    alertmanager: Alertmanager,
    test: Test,
    together: Mapping[str, str],
    patience: float,
    end: datetime,
) -> Iterator[Outcome]:
    before = {name: _counts(alertmanager, name, kind) for name, kind in together.items()}
    began = time.monotonic()
    for name in together:
        alertmanager.post_alert(test.labels(name), test.annotations, end)
    pending = dict(together)
    seen: set[str] = set()
    for name, kind in together.items():
        held = _held_back(alertmanager, test, name)
        if held:
            del pending[name]
            yield Outcome(name, kind, held[0], reason=held[1])
    while pending and time.monotonic() - began < patience:
        for name, kind in list(pending.items()):
            sent, failed = _since(alertmanager, name, kind, before[name])
            if sent <= failed:
                seen.discard(name)
            elif name not in seen:
                # It counts a request, and only then that it failed (its notify/notify.go).
                seen.add(name)
            else:
                del pending[name]
                took = time.monotonic() - began
                yield Outcome(name, kind, State.DELIVERED, seconds=took)
        time.sleep(POLL)
    for name, kind in pending.items():
        _, failed = _since(alertmanager, name, kind, before[name])
        tried = f"{failed:.0f} attempts failed" if failed else "no attempt came to an end"
        reason = f"{tried} within {patience:g} s; Alertmanager's log says why"
        yield Outcome(name, kind, State.FAILED, reason=reason)


def _held_back(alertmanager: Alertmanager, test: Test, name: str) -> tuple[State, str] | None:
    """Why the test will not reach `name`; None where nothing is in its way."""
    found = alertmanager.alerts(**{TEST_LABEL: test.labels(name)[TEST_LABEL]})
    if not found:
        return State.FAILED, "Alertmanager took the test and does not know of it"
    if name not in found[0].receivers:
        return State.NOT_TOLD, f"of what is {test.severity.value}"
    for silence in found[0].silenced_by:
        return State.FAILED, f"a silence covers it, which Alertmanager calls {silence}"
    return None


def _since(
    alertmanager: Alertmanager, name: str, kind: str, before: tuple[float, float]
) -> tuple[float, float]:
    sent, failed = _counts(alertmanager, name, kind)
    return sent - before[0], failed - before[1]


def _counts(alertmanager: Alertmanager, name: str, kind: str) -> tuple[float, float]:
    """Requests to receivers of this kind, and how many of them failed."""

    def total(metric: str) -> float:
        return sum(
            value
            for labels, value in alertmanager.samples(metric).items()
            # The second label is there only where a feature of Alertmanager is switched on.
            if dict(labels).get("integration") == kind
            and dict(labels).get("receiver_name", name) == name
        )

    # In this order: what comes in between must not look like a success.
    sent = total(REQUESTS)
    return sent, total(FAILED)


def _in(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)

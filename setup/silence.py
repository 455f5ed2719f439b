"""Nobody is told of what setup itself causes: a silence in Alertmanager while it works.

What a change on one node makes others see is silenced too: its neighbours on every segment, and
whoever's packets it passes on. Where no Alertmanager answers nothing is silenced, without a word.

What somebody has been told of already is not: Alertmanager would not say that it is over either.
"""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from smolmon.alertmanager import Alertmanager, AlertmanagerError, stamp
from smolmon.cluster import Cluster, derive

# Seconds that setup waits for a name, and then for an answer, where there is no Alertmanager.
TIMEOUT = 0.4
# Seconds for each request to the one that is there, when the silence must be lifted.
PATIENCE = 3.0
# The silence ends by itself then, should this machine die before it can lift it.
LONGEST = timedelta(minutes=30)
# How long it goes on when setup is through, in Alertmanager's group intervals, and at least in
# seconds. What setup caused is seen until the next scrapes; then an alert goes on for its
# `keep_firing_for`. The group interval stands for the speed of the monitor: 30 s in real time.
AFTERWARDS = (0.5, 3.0)
WHILE_ALERTS_GO_ON = (2.0, 6.0)
# It always fires, and is to be heard of outside without a break.
WATCHDOG = "Watchdog"


@contextlib.contextmanager
def silenced(
    cluster: Cluster, changing: Collection[str], say: Callable[[str], None]
) -> Iterator[None]:
    """Silence what changes on the nodes `changing` make anybody see; lift that on every way out."""
    url = cluster.monitor.alertmanager
    if not changing or not _has_address(url):
        yield
        return
    alertmanager = Alertmanager(url, TIMEOUT)
    try:
        told = _told(alertmanager, cluster, changing)
        silence = wanted(cluster, changing, told, _now())
        silence["id"] = alertmanager.post_silence(silence)
    except AlertmanagerError:
        yield
        return
    say(f"alerts of what changes on {', '.join(changing)} are silenced until it is done")
    try:
        yield
    finally:
        _lift(Alertmanager(url, PATIENCE), cluster, silence, say)


def _lift(
    alertmanager: Alertmanager,
    cluster: Cluster,
    silence: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    try:
        rest = _rest(alertmanager, cluster, silence["id"])
        alertmanager.post_silence(silence | {"endsAt": stamp(_now() + rest)})
    except AlertmanagerError as error:
        expire = f"amtool silence expire {silence['id']} --alertmanager.url={alertmanager.url}"
        say(f"the silence is not lifted and goes on until {silence['endsAt']}: {error}; {expire}")


def _told(alertmanager: Alertmanager, cluster: Cluster, changing: Collection[str]) -> list[str]:
    """The names of alerts that the silence would cover and that go on already."""
    covered = {*affected(cluster, changing), ""}
    return sorted(
        {
            alert.labels.get("alertname", "")
            for alert in alertmanager.alerts(cluster=cluster.name)
            if alert.state == "active" and alert.labels.get("node", "") in covered
        }
    )


def _rest(alertmanager: Alertmanager, cluster: Cluster, silence: str) -> timedelta:
    """How long the silence is to go on."""
    held = any(silence in alert.silenced_by for alert in alertmanager.alerts(cluster=cluster.name))
    intervals, least = WHILE_ALERTS_GO_ON if held else AFTERWARDS
    return timedelta(seconds=max(intervals * alertmanager.group_interval(), least))


def wanted(
    cluster: Cluster, changing: Collection[str], told: Collection[str], now: datetime
) -> dict[str, Any]:
    """The silence, as Alertmanager's API takes it. It leaves out the alerts called `told`."""
    # An alert that is of no node (the internet, the cluster file) has no such label: the last of
    # the alternatives, which is empty, stands for that.
    nodes = "|".join([*map(re.escape, affected(cluster, changing)), ""])
    return {
        "matchers": [
            {"name": "cluster", "value": cluster.name, "isRegex": False, "isEqual": True},
            {"name": "node", "value": nodes, "isRegex": True, "isEqual": True},
            _none_of([WATCHDOG, *told]),
        ],
        "startsAt": stamp(now),
        "endsAt": stamp(now + LONGEST),
        "createdBy": f"smolmon setup, by {_who()}",
        "comment": f"smolmon setup changes {', '.join(changing)}",
    }


def _none_of(alerts: Collection[str]) -> dict[str, Any]:
    names = "|".join(map(re.escape, alerts))
    return {"name": "alertname", "value": names, "isRegex": True, "isEqual": False}


def affected(cluster: Cluster, changing: Collection[str]) -> tuple[str, ...]:
    """The nodes whose alerts can come from a change on `changing`, in the file's order."""
    changed = set(changing)
    near = {
        member.node
        for name in changed
        for segment in cluster.segments_of(name)
        for member in segment.members
    }
    passing = {
        node.name
        for node in cluster.nodes
        for probe in derive.probes(cluster, node.name)
        for step in derive.steps(cluster, probe)
        if changed & {step.hop, step.next}
    }
    return tuple(n.name for n in cluster.nodes if n.name in changed | near | passing)


def _has_address(url: str) -> bool:
    """Whether the host of `url` has one, as far as that is known in time: resolvers are patient."""
    parts = urlsplit(url)
    found = threading.Event()

    def look() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            if socket.getaddrinfo(parts.hostname, parts.port or 80):
                found.set()

    # A daemon: it may go on asking when setup is through.
    asking = threading.Thread(target=look, daemon=True)
    asking.start()
    asking.join(TIMEOUT)
    return found.is_set()


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user that has no name; KeyError before Python 3.13
        user = "somebody"
    return f"{user} on {socket.gethostname()}"


def _now() -> datetime:
    return datetime.now(timezone.utc)

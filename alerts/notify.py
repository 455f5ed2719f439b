"""Alertmanager's configuration: who is told of what, when, and how often.

A cause is notified for each node as soon as it fires. Symptoms wait, and come together: what no
rule explains (a firewall on the way) is seen by several nodes, not quite at the same time. So do
findings about paths, which both their ends make.

The tree of routes has three levels: how alerts come together, how often they are repeated (by
severity), and who is told.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from smolmon.alerts.notify_text import FILE
from smolmon.alerts.receivers import HEARTBEAT, LOCAL, NULL, receivers
from smolmon.alerts.speed import duration, interval, scaled
from smolmon.cluster.notify import Heartbeat, Notify, Severity

# Seconds: Alertmanager accepts no group interval of 0, and less than this wins nothing.
MIN_WAIT = 1.0
# By then every node that suffers has been scraped, and so has the one that is the cause.
SYMPTOM_WAIT_SCRAPES = 3
# What is told of once for all nodes that see it.
TOGETHER = 'class=~"symptom|performance"'
ISOLATION = 'alertname="SmolmonIsolationBroken"'
# Only `smolmon notify test` sets this label: RECEIVER/UNIQUE, for one receiver alone.
TEST_LABEL = "smolmon_test"
HERE = PurePath()
INHIBIT_RULES: list[dict[str, list[str]]] = [
    {
        "source_matchers": ['alertname="SmolmonExplained"'],
        "target_matchers": ['class="symptom"'],
        "equal": ["cluster", "node", "probe", "target"],
    }
]
# A heartbeat must never skip a turn because the last one is not quite long enough ago.
BARELY = 0.9


def alertmanager(
    speed: float, notify: Notify, webhook: str | None = None, folder: PurePath = HERE
) -> dict[str, Any]:
    """alertmanager.yml; `speed` divides its durations.

    With `webhook`, everything goes there and nowhere else. `folder` is where Alertmanager finds the
    files of secrets whose paths are relative.
    """
    if webhook is not None:
        notify = Notify(local=webhook)
    return {
        "route": {
            "receiver": NULL,
            "group_by": ["cluster", "alertname", "node", TEST_LABEL],
            "group_wait": scaled("2s", speed, MIN_WAIT),
            "group_interval": scaled("30s", speed, MIN_WAIT),
            "repeat_interval": _divided(notify.repeat_critical, speed),
            "routes": [
                *([_watchdog(notify.heartbeat, speed)] if notify.heartbeat else []),
                {"receiver": NULL, "matchers": ['severity="none"']},
                _together(TOGETHER, notify, speed),
                _together(ISOLATION, notify, speed),
                *_told(notify, speed),
            ],
        },
        "inhibit_rules": INHIBIT_RULES,
        "templates": [FILE],
        "receivers": receivers(notify, folder),
    }


def _together(matcher: str, notify: Notify, speed: float) -> dict[str, Any]:
    return {
        "matchers": [matcher],
        "group_by": ["cluster", "alertname", TEST_LABEL],
        "group_wait": duration(SYMPTOM_WAIT_SCRAPES * interval(speed)),
        "routes": _told(notify, speed),
    }


def _told(notify: Notify, speed: float) -> list[dict[str, Any]]:
    """Routes by severity, each with those who are told of it; made anew, for YAML's sake."""
    severities = (
        (Severity.CRITICAL, 'severity="critical"', notify.repeat_critical),
        # What rules of one's own may bring is told of as well.
        (Severity.WARNING, 'severity!="critical"', notify.repeat_warning),
    )
    return [
        {
            "matchers": [matcher],
            "repeat_interval": _divided(repeat, speed),
            "routes": [_to(name) for name in _names(notify, severity)],
        }
        for severity, matcher, repeat in severities
    ]


def _names(notify: Notify, severity: Severity) -> list[str]:
    named = [r.name for r in notify.receivers if severity in r.severities]
    return [*([LOCAL] if notify.local else []), *named]


def _to(name: str) -> dict[str, Any]:
    return {"receiver": name, "matchers": [f'{TEST_LABEL}=~"({name}/.*)?"'], "continue": True}


def _watchdog(heartbeat: Heartbeat, speed: float) -> dict[str, Any]:
    every = max(heartbeat.every / speed, MIN_WAIT)
    return {
        "receiver": HEARTBEAT,
        "matchers": ['alertname="Watchdog"'],
        "group_wait": "0s",
        "group_interval": duration(every),
        "repeat_interval": duration(BARELY * every),
    }


def _divided(seconds: float, speed: float) -> str:
    return duration(max(seconds / speed, MIN_WAIT))

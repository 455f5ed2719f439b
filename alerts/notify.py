"""Alertmanager's configuration: who is told of what, when, and how often.

A cause is notified for each node as soon as it fires. Symptoms wait, and come together: what no
rule explains (a firewall on the way) is seen by several nodes, not quite at the same time. So do
findings about paths, which both their ends make.
"""

from __future__ import annotations

from typing import Any

from smolmon.alerts.speed import duration, interval, scaled

# Seconds: Alertmanager accepts no group interval of 0, and less than this wins nothing.
MIN_WAIT = 1.0
# By then every node that suffers has been scraped, and so has the one that is the cause.
SYMPTOM_WAIT_SCRAPES = 3
# What is told of once for all nodes that see it.
TOGETHER = 'class=~"symptom|performance"'
ISOLATION = 'alertname="SmolmonIsolationBroken"'


def alertmanager(speed: float, webhook: str) -> dict[str, Any]:
    """alertmanager.yml with one receiver, `webhook`; `speed` divides its durations."""

    def wait(text: str) -> str:
        return scaled(text, speed, MIN_WAIT)

    together = {
        "receiver": "smolmon",
        "group_by": ["cluster", "alertname"],
        "group_wait": duration(SYMPTOM_WAIT_SCRAPES * interval(speed)),
    }
    return {
        "route": {
            "receiver": "smolmon",
            "group_by": ["cluster", "alertname", "node"],
            "group_wait": wait("2s"),
            "group_interval": wait("30s"),
            "repeat_interval": wait("4h"),
            "routes": [
                {"receiver": "null", "matchers": ['severity="none"']},
                {"matchers": [TOGETHER], **together},
                {"matchers": [ISOLATION], **together},
            ],
        },
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="SmolmonExplained"'],
                "target_matchers": ['class="symptom"'],
                "equal": ["cluster", "node", "probe", "target"],
            }
        ],
        "receivers": [
            {"name": "null"},
            {
                "name": "smolmon",
                "webhook_configs": [{"url": webhook, "send_resolved": True}],
            },
        ],
    }

"""The rules that come with smolmon, and the texts that they carry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from smolmon.alerts.notify import INHIBIT_RULES
from smolmon.alerts.render import shipped_rules
from smolmon.alerts.speed import seconds

_MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*')

# The alerts behind each `cause` of smolmon:explained_probe:info (explained.yml says which).
EXPLAINS: Mapping[str, tuple[str, ...]] = {
    "forwarding": ("SmolmonForwardingDisabled",),
    "route": ("SmolmonReturnRouteMissing", "SmolmonRouteMissing"),
    "node": ("SmolmonNodeDown",),
    "port": (
        "SmolmonInterfaceMissing",
        "SmolmonInterfaceDisabled",
        "SmolmonNoCarrier",
        "SmolmonSwitchDown",
        "SmolmonAddressMissing",
        "SmolmonNodeDown",  # at the other end of the cable
    ),
    "neighbor": ("SmolmonNeighborWrong", "SmolmonDuplicateAddress"),
    "overruled": ("SmolmonRouteOverruled",),
    "loop": ("SmolmonBridgeLoop",),
    "firewall": ("SmolmonFirewallHidesNode",),
    "internet": (
        "SmolmonDefaultRouteStolen",
        "SmolmonDefaultRouteMissing",
        "SmolmonInternetDown",
    ),
    "nearer": ("SmolmonServerUnreachable", "SmolmonPeerUnreachable"),
    "mirror": ("SmolmonServerUnreachable", "SmolmonPeerUnreachable"),
}
# What tells that probes are explained, and that the monitor works: never a finding.
SILENT = ("SmolmonExplained", "Watchdog")


@cache
def alerting() -> Mapping[str, Mapping[str, Any]]:
    """Each alerting rule as it stands in its file, by name."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is there
    return {
        rule["alert"]: rule
        for text in shipped_rules().values()
        for group in yaml.load(text, loader)["groups"]  # noqa: S506 - both are safe loaders
        for rule in group["rules"]
        if "alert" in rule
    }


def lasting(name: str) -> float:
    """Seconds that what this rule looks for must last before it is certain."""
    return seconds(alerting()[name].get("for", "0s"))


def inhibited(target: Mapping[str, str], sources: Sequence[Mapping[str, str]]) -> bool:
    """Whether Alertmanager, configured as smolmon does, holds back an alert with these labels.

    `sources` are the labels of the alerts that are firing.
    """
    return any(
        _match(rule["target_matchers"], target)
        and any(
            _match(rule["source_matchers"], source)
            and all(source.get(name, "") == target.get(name, "") for name in rule["equal"])
            for source in sources
        )
        for rule in INHIBIT_RULES
    )


def _match(matchers: Sequence[str], labels: Mapping[str, str]) -> bool:
    return all(_matches(matcher, labels) for matcher in matchers)


def _matches(matcher: str, labels: Mapping[str, str]) -> bool:
    found = _MATCHER.fullmatch(matcher)
    assert found  # noqa: S101 - ours; amtool checks them
    name, operator, wanted = found.groups()
    seen = labels.get(name, "")
    same = bool(re.fullmatch(wanted, seen)) if "~" in operator else seen == wanted
    return same != operator.startswith("!")

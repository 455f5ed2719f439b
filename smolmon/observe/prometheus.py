"""Prometheus' HTTP API v1, as far as reading the state of a cluster needs it.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from attrs import frozen

from smolmon.observe.fetch import get_json
from smolmon.observe.sample import ObserveError, Sample, one_line

TIMEOUT = 5.0  # seconds

Data = Mapping[str, Any]
T = TypeVar("T")
_TIME = re.compile(
    r"(?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)"
)


@frozen
class Alert:
    """`state` is `firing` or `pending`; `since` is when it became active, in Unix seconds.

    `annotations` are filled in.
    """

    name: str
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since: float
    value: float


@frozen
class Target:
    """Whom Prometheus scrapes. `scraped` is when it last tried (Unix seconds), 0 for never.

    `error` is why that failed, "" where it did not.
    """

    labels: Mapping[str, str]
    up: bool
    scraped: float
    error: str


@frozen
class Rule:
    """An alerting rule. `evaluated` is Unix seconds, 0 for never; `error` why that failed."""

    name: str
    evaluated: float
    error: str


@frozen
class Prometheus:
    """The server at `url`. Every method raises ObserveError."""

    url: str
    timeout: float = TIMEOUT

    def query(self, expr: str) -> list[Sample]:
        """The samples of an instant query that gives a vector."""
        data = self._get("query", query=expr)
        if data.get("resultType") != "vector":
            raise ObserveError(f"{self.url}: {expr!r} gives no vector")
        return _each(self.url, data["result"], _sample)

    def alerts(self) -> list[Alert]:
        """What is firing and what is pending."""
        return _each(self.url, self._get("alerts").get("alerts"), _alert)

    def targets(self) -> list[Target]:
        """The targets that Prometheus scrapes."""
        return _each(self.url, self._get("targets", state="active").get("activeTargets"), _target)

    def rules(self) -> list[Rule]:
        """Its alerting rules."""
        groups = self._get("rules", type="alert").get("groups")
        found = _each(self.url, groups, lambda group: [_rule(row) for row in group["rules"]])
        return [rule for rules in found for rule in rules]

    def alertmanagers(self) -> list[str]:
        """The addresses of those that it sends alerts to, as it sees them."""
        found = _each(
            self.url, self._get("alertmanagers").get("activeAlertmanagers"), lambda row: row["url"]
        )
        return [str(url).partition("/api/")[0] for url in found]

    def _get(self, what: str, **parameters: str) -> Data:
        query = f"?{urlencode(parameters)}" if parameters else ""
        answer = get_json(f"{self.url.rstrip('/')}/api/v1/{what}{query}", self.timeout)
        if not isinstance(answer, dict) or not isinstance(answer.get("data", {}), dict):
            raise ObserveError(f"{self.url} is not Prometheus' HTTP API")
        if answer.get("status") != "success":
            raise ObserveError(f"{self.url}: {one_line(str(answer.get('error', 'no success')))}")
        return cast("Data", answer.get("data") or {})


def unix(text: str) -> float:
    """Unix seconds of a time as Go writes it (RFC 3339, to the nanosecond); 0 for Go's zero time.

    Raises ValueError. Python 3.10 reads neither `Z` nor nanoseconds.
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a time")
    zone = "+00:00" if found["zone"] == "Z" else found["zone"]
    at = datetime.fromisoformat(found["moment"] + zone).timestamp()
    return max(0.0, at + float(found["fraction"] or 0))


def _each(url: str, rows: object, read: Callable[[Data], T]) -> list[T]:
    """What `read` makes of each of the rows that an answer has."""
    try:
        return [read(row) for row in cast("list[Data]", rows)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ObserveError(f"{url} gives an answer that is not Prometheus'") from error


def _sample(row: Data) -> Sample:
    labels = dict(row["metric"])
    at, value = row["value"]
    return Sample(labels.pop("__name__", ""), labels, float(value), float(at))


def _alert(row: Data) -> Alert:
    labels = row["labels"]
    return Alert(
        labels["alertname"],
        row["state"],
        labels,
        {name: " ".join(text.split()) for name, text in row["annotations"].items()},
        unix(row["activeAt"]),
        float(row["value"]),
    )


def _target(row: Data) -> Target:
    return Target(
        row["labels"],
        row["health"] == "up",
        unix(row["lastScrape"]),
        one_line(row.get("lastError", "")),
    )


def _rule(row: Data) -> Rule:
    return Rule(row["name"], unix(row["lastEvaluation"]), one_line(row.get("lastError", "")))

"""Alertmanager's API v2, as far as it says which alerts it holds back.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from smolmon.observe.fetch import get_json
from smolmon.observe.sample import ObserveError

DEFAULT = "http://127.0.0.1:9093"
TIMEOUT = 3.0  # seconds


@frozen
class Held:
    """An alert that Alertmanager has, and what holds it back.

    `inhibited_by` are fingerprints of other alerts, `silenced_by` ids of silences.
    """

    fingerprint: str
    labels: Mapping[str, str]
    inhibited_by: tuple[str, ...]
    silenced_by: tuple[str, ...]


def alerts(url: str = DEFAULT, timeout: float = TIMEOUT) -> list[Held]:
    """The alerts that Alertmanager at `url` has now. Raises ObserveError."""
    rows = get_json(f"{url.rstrip('/')}/api/v2/alerts", timeout)
    try:
        assert isinstance(rows, list)  # noqa: S101 - else it is another service
        return [
            Held(
                row["fingerprint"],
                row["labels"],
                tuple(row["status"]["inhibitedBy"] or ()),
                tuple(row["status"]["silencedBy"] or ()),
            )
            for row in rows
        ]
    except (AssertionError, KeyError, TypeError) as error:
        raise ObserveError(f"{url} is not Alertmanager's API") from error

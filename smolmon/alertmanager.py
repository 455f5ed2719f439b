"""The few requests that smolmon makes to Alertmanager (its API v2, openapi.yaml upstream)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import yaml
from attrs import frozen

DEFAULT_URL = "http://127.0.0.1:9093"
MOST = 8 << 20  # bytes of an answer
# Seconds, where its configuration is somebody else's and does not say.
GROUP_INTERVAL = 30.0

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? ([0-9.e+-]+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class AlertmanagerError(OSError):
    """Alertmanager does not answer, or refuses. One line."""


@frozen
class Alert:
    """An alert that Alertmanager has. `state` is `active`, `suppressed` or `unprocessed`."""

    labels: dict[str, str]
    state: str
    silenced_by: tuple[str, ...]  # the ids of silences
    receivers: tuple[str, ...]


class Alertmanager:
    """One Alertmanager, at the address that its own pages have. `timeout` is in seconds."""

    def __init__(self, url: str = DEFAULT_URL, timeout: float = 5.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout

    def configuration(self) -> str:
        """Its configuration file as it was read, with the secrets left out: YAML."""
        found = self._get("/api/v2/status")
        try:
            return str(found["config"]["original"])
        except (KeyError, TypeError):
            raise self._is_none() from None

    def group_interval(self) -> float:
        """That of its root route, in seconds: some routes below it have longer ones."""
        try:
            return _seconds(yaml.safe_load(self.configuration())["route"]["group_interval"])
        except (yaml.YAMLError, KeyError, TypeError):
            return GROUP_INTERVAL

    def alerts(self, **labels: str) -> list[Alert]:
        """The alerts that have all of `labels`."""
        filters = [("filter", f"{name}={json.dumps(value)}") for name, value in labels.items()]
        found = self._get(f"/api/v2/alerts?{urlencode(filters)}")
        try:
            return [
                Alert(
                    dict(one["labels"]),
                    str(one["status"]["state"]),
                    tuple(one["status"]["silencedBy"]),
                    tuple(str(receiver["name"]) for receiver in one["receivers"]),
                )
                for one in found
            ]
        except (KeyError, TypeError, ValueError):
            raise self._is_none() from None

    def post_alert(
        self, labels: Mapping[str, str], annotations: Mapping[str, str], end: datetime
    ) -> None:
        """Raise an alert that ends by itself at `end`, or end it by an `end` that has passed."""
        alert = {"labels": dict(labels), "annotations": dict(annotations), "endsAt": stamp(end)}
        self._send("/api/v2/alerts", [alert])

    def post_silence(self, silence: Mapping[str, Any]) -> str:
        """Create a silence, or change the one whose `id` it has; the silence's id."""
        answer = self._send("/api/v2/silences", silence)
        try:
            return str(answer["silenceID"])
        except (KeyError, TypeError):
            raise self._is_none() from None

    def _is_none(self) -> AlertmanagerError:
        return AlertmanagerError(f"{self.url} is no Alertmanager")

    def samples(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The samples of one of its own metrics, by their labels in order of their names."""
        text = self._read("/metrics").decode(errors="replace")
        found = {}
        for line in text.splitlines():
            sample = _SAMPLE.fullmatch(line)
            if sample and sample[1] == name:
                labels = tuple(sorted(_LABEL.findall(sample[2] or "")))
                found[labels] = float(sample[3])
        return found

    def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        return self._json(self._read(path))

    def _send(self, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        return self._json(self._read(path, json.dumps(body).encode()))

    def _json(self, content: bytes) -> Any:  # noqa: ANN401
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise self._is_none() from None

    def _read(self, path: str, body: bytes | None = None) -> bytes:
        request = Request(self.url + path, body, {"Content-Type": "application/json"})  # noqa: S310
        try:
            # The proxy settings of this machine are not for its own network.
            with build_opener(ProxyHandler({})).open(request, timeout=self.timeout) as answer:
                content: bytes = answer.read(MOST)
                return content
        except HTTPError as error:
            said = error.read(300).decode(errors="replace").strip()
            raise AlertmanagerError(
                f"Alertmanager at {self.url} refuses {path.partition('?')[0]}: "
                f"{error.code} {error.reason}: {said}"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            why = getattr(error, "reason", None) or error
            why = getattr(why, "strerror", None) or why
            raise AlertmanagerError(f"no Alertmanager answers at {self.url}: {why}") from None


def stamp(moment: datetime) -> str:
    """A moment as Alertmanager reads it (RFC 3339), in UTC."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def _seconds(duration: str) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(n) * units[u] for n, u in re.findall(r"([0-9]+)(ms|[smh])", duration))

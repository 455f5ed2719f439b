"""One scrape: every collector by itself, so that none can spoil it for the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import Metric

from smolmon.exporter.vocabulary import metric

log = logging.getLogger(__name__)

Collect = Callable[[], Iterable[Metric]]


class CollectorError(Exception):
    """A collector has nothing true to say; the text says why."""


class Scraper:
    """Runs collectors, and says of each whether it succeeded (as node_exporter does).

    A collector that fails yields no metric at all: half an answer could be taken for a whole one.
    """

    def __init__(self) -> None:
        self._trouble: dict[str, str] = {}
        self._last_success: dict[str, float] = {}

    def scrape(self, collectors: Mapping[str, Collect]) -> list[Metric]:
        """Everything that there is to say now."""
        metrics: list[Metric] = []
        success, duration = {}, {}
        for name, collect in collectors.items():
            start = time.perf_counter()
            metrics += self._run(name, collect)
            duration[name] = time.perf_counter() - start
            success[name] = name not in self._trouble
        for suffix, values in (
            ("success", success),
            ("duration_seconds", duration),
            (
                "last_success_timestamp_seconds",
                {n: t for n, t in self._last_success.items() if n in success},
            ),
        ):
            samples = [({"collector": name}, value) for name, value in values.items()]
            metrics.append(metric(f"smolmon_collector_{suffix}", samples))
        return metrics

    def _run(self, name: str, collect: Collect) -> list[Metric]:
        try:
            metrics = list(collect())
        except Exception as error:  # whatever it is, the others must be heard
            trouble = " ".join(str(error).split()) or type(error).__name__
            if self._trouble.get(name) != trouble:
                log.warning("collector %s: %s", name, trouble)
            self._trouble[name] = trouble
            return []
        if self._trouble.pop(name, None) is not None:
            log.warning("collector %s: works again", name)
        self._last_success[name] = time.time()
        return metrics

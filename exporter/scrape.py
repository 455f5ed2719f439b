"""One scrape: every collector by itself, so that none can spoil it for the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from smolmon.exporter.vocabulary import metric

log = logging.getLogger(__name__)

Collect = Callable[[], Iterable[Metric]]


class CollectorError(Exception):
    """A collector has nothing true to say; the text says why."""


class Scraper:
    """Runs collectors, and says of each whether it succeeded (as node_exporter does).

    A collector that fails yields no metric at all: half an answer could be taken for a whole one.
    `constant` are metrics that are the same in every scrape.
    """

    def __init__(self, constant: Sequence[Metric] = ()) -> None:
        self._constant = list(constant)
        self._trouble: dict[str, str] = {}
        self._last_success: dict[str, float] = {}

    def render(self, accept: str, collectors: Mapping[str, Collect]) -> tuple[str, bytes]:
        """One scrape, in the form that an Accept header asks for: its content type and its text."""
        encode, content_type = choose_encoder(accept)
        registry = CollectorRegistry()
        registry.register(_Once(self.scrape(collectors)))
        return content_type, encode(registry)

    def scrape(self, collectors: Mapping[str, Collect]) -> list[Metric]:
        """Everything that there is to say now."""
        metrics = list(self._constant)
        success, duration = {}, {}
        for name, collect in collectors.items():
            start = time.perf_counter()
            metrics += self._run(name, collect)
            duration[name] = time.perf_counter() - start
            success[name] = name not in self._trouble
        for suffix, values in (
            ("success", success),
            ("duration_seconds", duration),
            ("last_success_timestamp_seconds", self._last_success),
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


@frozen(eq=False)  # a registry keeps its collectors by identity
class _Once:
    """The client library's idea of a collector: here one that has been run."""

    metrics: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.metrics

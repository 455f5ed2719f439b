"""What the exporter says of itself: its process, its configuration, its certificate."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen
from prometheus_client import PLATFORM_COLLECTOR
from prometheus_client.metrics_core import Metric

from smolmon.exporter.scrape import Collect
from smolmon.exporter.vocabulary import Labels, metric


@frozen
class Configuration:
    """How the last attempt to read the cluster file went, and when one last went well, Unix time.

    `web_successful` and `certificate_expiry` (Unix time) are None without such a thing.
    """

    successful: bool
    success_time: float
    web_successful: bool | None = None
    certificate_expiry: float | None = None


def configuration(seen: Configuration) -> Iterator[Metric]:
    """The exporter's configuration."""
    for name, value in (
        ("smolmon_config_last_reload_successful", seen.successful),
        ("smolmon_config_last_reload_success_timestamp_seconds", seen.success_time),
        ("smolmon_web_config_last_reload_successful", seen.web_successful),
        ("smolmon_web_certificate_expiry_timestamp_seconds", seen.certificate_expiry),
    ):
        samples: list[tuple[Labels, float]] = [] if value is None else [({}, value)]
        yield metric(name, samples)


def process(collect: Collect) -> Iterator[Metric]:
    """The process, in the names that all of Prometheus' client libraries use for it."""
    yield from collect()
    yield from PLATFORM_COLLECTOR.collect()

"""The process's own figures on macOS, where the client library has none, in its names.

https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from smolmon.exporter.tools_macos import Run, run
from smolmon.macos import ps

PS = "/bin/ps"
FDS = Path("/dev/fd")  # the process's own descriptors


@frozen
class Figures:
    """What is known of the process; None: not known. Memory in bytes, times in seconds."""

    cpu: float
    started: float
    memory: int | None
    open_fds: int | None
    max_fds: int | None


def figures(
    started: float,
    run: Run = run,
    fds: Path = FDS,
) -> Figures:
    """The figures now. The memory is what ps says: getrusage(2) has the largest it ever was."""
    try:
        memory = ps.resident_memory(run([PS, "-o", "rss=", "-p", str(os.getpid())]))
    except OSError:
        memory = None
    try:
        open_fds = len(list(fds.iterdir())) - 1  # one of them is for reading the list
    except OSError:
        open_fds = None
    times = os.times()
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Figures(
        cpu=times.user + times.system,
        started=started,
        memory=memory,
        open_fds=open_fds,
        max_fds=limit if limit != resource.RLIM_INFINITY else None,
    )


class Process:
    """Collects the figures. Made when the process starts: that is the time it gives."""

    def __init__(self) -> None:
        self._started = time.time()

    def __call__(self) -> Iterator[Metric]:
        return metrics(figures(self._started))


def metrics(seen: Figures) -> Iterator[Metric]:
    """The figures under the names that all client libraries use."""
    cpu = CounterMetricFamily(
        "process_cpu_seconds_total", "Total user and system CPU time spent in seconds."
    )
    cpu.add_metric([], seen.cpu)
    yield cpu
    for name, text, value in (
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            seen.started,
        ),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", seen.memory),
        ("process_open_fds", "Number of open file descriptors.", seen.open_fds),
        ("process_max_fds", "Maximum number of open file descriptors.", seen.max_fds),
    ):
        if value is not None:
            gauge = GaugeMetricFamily(name, text)
            gauge.add_metric([], value)
            yield gauge

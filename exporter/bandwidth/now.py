"""One end of a test at once, outside the timetable: for `smolmon bandwidth run`."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

from attrs import asdict

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import MARGIN, between
from smolmon.exporter.bandwidth import end
from smolmon.exporter.bandwidth.end import Turn
from smolmon.exporter.bandwidth.job import Role
from smolmon.exporter.bandwidth.local import Local
from smolmon.exporter.bandwidth.outcome import Outcome
from smolmon.exporter.host import this_host

PATIENCE = 10.0  # seconds that one end may be ready before the other: two SSH logins


def one_end(cluster: Cluster, node: str, source: str, target: str, *, force: bool) -> str:
    """The outcome as one JSON object. Raises ValueError where there is no such test."""
    test = between(cluster, source, target)
    if node not in (source, target):
        raise ValueError(f"{node} is no end of {test.name}")
    role = Role.SEND if node == source else Role.RECEIVE
    host = this_host()
    worker = ThreadPoolExecutor(1)
    now = time.time()
    over = now + PATIENCE + cluster.bandwidth.duration + MARGIN
    turn = Turn(test, role, now, over, PATIENCE)
    try:
        local = Local(cluster, node, host.system, worker)
        outcome = asyncio.run(end.run(turn, cluster.bandwidth, local, force=force))
    finally:
        worker.submit(host.system.close)
        worker.shutdown()
    return as_json(outcome)


def as_json(outcome: Outcome) -> str:
    """One line."""
    return json.dumps(
        {
            "result": outcome.result.value,
            "reason": outcome.reason.value if outcome.reason else None,
            "text": outcome.text,
            "measurement": asdict(outcome.measurement) if outcome.measurement else None,
        }
    )

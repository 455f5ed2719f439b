"""What nodes do for `smolmon bandwidth run`: one end of a test at once, outside the timetable."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from attrs import asdict

from smolmon.cluster import Cluster
from smolmon.cluster.timetable import MARGIN, between
from smolmon.exporter.bandwidth import end
from smolmon.exporter.bandwidth.end import Turn
from smolmon.exporter.bandwidth.job import Role
from smolmon.exporter.bandwidth.local import Local
from smolmon.exporter.bandwidth.outcome import Outcome, Skipped
from smolmon.exporter.host import this_host
from smolmon.exporter.system import NotAvailableError

PATIENCE = 10.0  # seconds that one end may be ready before the other: two SSH logins


def one_end(cluster: Cluster, node: str, source: str, target: str, *, force: bool) -> str:
    """The outcome as one JSON object. Raises ValueError where there is no such test."""
    test = between(cluster, source, target)
    if node not in (source, target):
        raise ValueError(f"{node} is no end of {test.name}")
    role = Role.SEND if node == source else Role.RECEIVE
    now = time.time()
    over = now + PATIENCE + cluster.bandwidth.duration + MARGIN
    turn = Turn(test, role, now, over, PATIENCE)
    with _local(cluster, node) as local:
        return as_json(asyncio.run(end.run(turn, cluster.bandwidth, local, force=force)))


def training(cluster: Cluster, node: str) -> str:
    """What speaks against a test, as seen from the training server's node: an outcome as JSON.

    Raises ValueError where `node` is another.
    """
    if node != cluster.server.node:
        raise ValueError(f"the training server's node is {cluster.server.node}, not {node}")
    with _local(cluster, node) as local:
        return as_json(asyncio.run(_training(local)))


async def _training(local: Local) -> Outcome:
    try:
        async for runs in local.training():
            return Outcome(reason=Skipped.TRAINING, text="training runs") if runs else Outcome()
    except (OSError, NotAvailableError) as error:
        return Outcome(reason=Skipped.UNKNOWN, text=f"cannot tell whether training runs: {error}")
    raise AssertionError("it looks for ever")


@contextlib.contextmanager
def _local(cluster: Cluster, node: str) -> Iterator[Local]:
    host = this_host()
    worker = ThreadPoolExecutor(1)
    try:
        yield Local(cluster, node, host.system, worker)
    finally:
        worker.submit(host.system.close)
        worker.shutdown()


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

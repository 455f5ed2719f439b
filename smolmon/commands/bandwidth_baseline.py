"""`smolmon bandwidth baseline`: yesterday's results become what is expected."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from smolmon.cluster import Cluster
from smolmon.cluster.baseline import Key, with_baseline
from smolmon.cluster.edit import EditError
from smolmon.cluster.timetable import declared_tests
from smolmon.commands.rates import rate
from smolmon.observe.fetch import get_json
from smolmon.observe.sample import ObserveError

TIMEOUT = 10.0  # seconds
REMEDY = "name Prometheus with --prometheus URL"
ASK = "it must hold Prometheus' answer to what `smolmon bandwidth baseline --query` prints"


class FiguresError(Exception):
    """There are no figures to be had. One line, with the remedy."""


def query(cluster: Cluster) -> str:
    """What to ask Prometheus: the day's median at the end where the data arrive."""
    return (
        "quantile_over_time(0.5, smolmon_bandwidth_bytes_per_second"
        f'{{cluster="{cluster.name}",direction="receive"}}[1d])'
    )


def record(
    cluster: Cluster, cluster_file: str, url: str, answer_file: str | None, *, only_plan: bool
) -> int:
    """Write the baseline into the cluster file; an exit code."""
    try:
        answer = _read(answer_file) if answer_file else _ask(url, query(cluster))
        figures = figures_of(cluster, answer)
        path = Path(cluster_file).resolve()  # behind a link, the file itself is replaced
        text = path.read_bytes().decode()
        values = {key: rate(value, gap="") for key, value in figures.items()}
        edited = with_baseline(text, cluster_file, values)
        if not only_plan:
            _replace(path, edited)
    except (FiguresError, EditError) as error:
        click.echo(str(error), err=True)
        return 1
    except OSError as error:
        click.echo(f"{cluster_file}: cannot be written: {error.strerror or error}", err=True)
        return 1
    for (link, source, target), value in values.items():
        click.echo(f"{source} -> {target} over {link}: {value}")
    missing = [
        t.name for t in declared_tests(cluster) if (t.link, t.source, t.target) not in figures
    ]
    if missing:
        click.echo(f"no result in the last day: {', '.join(missing)}", err=True)
    done = "would be recorded" if only_plan else f"recorded in {cluster_file}"
    click.echo(f"{len(values)} of {len(values) + len(missing)} tests {done}")
    if not only_plan:
        click.echo("`smolmon setup` brings the file to the nodes")
    return 0


def figures_of(cluster: Cluster, answer: Any) -> dict[Key, float]:  # noqa: ANN401 - JSON
    """Bytes per second of each test, from Prometheus' answer. Raises FiguresError."""
    try:
        if answer["status"] != "success":
            raise FiguresError(f"Prometheus: {answer.get('error', 'it failed')}")
        seen = {
            (s["metric"]["link"], s["metric"]["target"], s["metric"]["node"]): float(s["value"][1])
            for s in answer["data"]["result"]
        }
    except (KeyError, TypeError, ValueError, IndexError):
        raise FiguresError(
            "this is no answer of Prometheus to `smolmon bandwidth baseline --query`"
        ) from None
    # The receiver reports, and calls the segment by which the data came.
    found = {
        (test.link, test.source, test.target): seen[where]
        for test in declared_tests(cluster)
        if (where := (test.target_link, test.source, test.target)) in seen and seen[where] > 0
    }
    if not found:
        raise FiguresError(
            f"Prometheus has no results of cluster {cluster.name} from the last day; "
            "see `smolmon bandwidth schedule`"
        )
    return found


def _ask(url: str, promql: str) -> Any:  # noqa: ANN401
    address = f"{url.rstrip('/')}/api/v1/query?{urlencode({'query': promql})}"
    try:
        return get_json(address, TIMEOUT)
    except ObserveError as error:
        raise FiguresError(f"{error}; {REMEDY}") from None


def _read(file: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise FiguresError(f"{file}: {error.strerror}; {ASK}") from None
    except ValueError:
        raise FiguresError(f"{file}: not JSON; {ASK}") from None


def _replace(path: Path, text: str) -> None:
    """Put `text` in the place of the file, whole or not at all, with the same permissions."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        status = path.stat()
        Path(name).chmod(status.st_mode & 0o7777)
        with contextlib.suppress(PermissionError):
            os.chown(name, status.st_uid, status.st_gid)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

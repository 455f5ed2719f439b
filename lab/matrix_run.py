"""The fault matrix: every fault, on one node or on all, and double faults."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from smolmon.cluster import Cluster, load
from smolmon.lab import faults, place
from smolmon.lab.errors import LabError
from smolmon.lab.matrix import Trial, attempt
from smolmon.lab.matrix_page import ROOT, read
from smolmon.lab.pairs import Broken, broken, doubles

# What is measured here is faults, not links: no test keeps the machine busy meanwhile.
NO_TESTS = "\nbandwidth: {enabled: false}\n"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cluster", "cluster_files", metavar="FILE", multiple=True, help="May be repeated.")
@click.option("--as-declared", is_flag=True, help="Macs stay Macs; else all nodes run Linux.")
@click.option("--speed", default=20.0, show_default=True, help="Divide every waiting time by this.")
@click.option(
    "--fault",
    "names",
    metavar="FAULT[@NODE]",
    multiple=True,
    help="Only this; may be repeated. Two in one, `A@N B@M`, at once.",
)
@click.option("--every-node", is_flag=True, help="On each node that a fault can hit.")
@click.option("--double", is_flag=True, help="The double faults, and no single ones.")
@click.option("--minutes", default=0.0, help="Begin no trial after so long; 0: no limit.")
@click.option(
    "--results",
    metavar="FILE",
    help="Append each trial to this file of JSON lines, and leave out those that stand in it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one object for each trial.")
def main(  # noqa: PLR0917 - click names them
    cluster_files: tuple[str, ...],
    as_declared: bool,
    speed: float,
    names: tuple[str, ...],
    every_node: bool,
    double: bool,
    minutes: float,
    results: str | None,
    as_json: bool,
) -> None:
    """Break an emulated cluster in every way, one after another, and see what is notified."""
    end = time.monotonic() + minutes * 60 if minutes else float("inf")
    known = read(Path(results)) if results else []
    new: list[dict[str, Any]] = []
    failed = False
    for file in cluster_files or (str(ROOT / "examples/guide.yaml"),):
        cluster = load(Path(file))
        platforms = "declared" if as_declared else "linux"
        same = {"cluster": cluster.name, "platforms": platforms, "speed": speed}
        wanted = doubles(cluster) if double else list(singles(cluster, names, every_node))
        left = [b for b in wanted if not _is_in(known, {**same, **_called(b)})]
        if not left or time.monotonic() > end:
            continue
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(file).name
            copy.write_text(_emulated(Path(file).read_text(encoding="utf-8"), as_declared))
            _lab("up", "--cluster", str(copy), "--speed", f"{speed:g}")
        try:
            for one in left:
                if time.monotonic() > end:
                    break
                try:
                    trial = attempt(place.running(), one)
                except (LabError, TimeoutError) as error:
                    failed = True
                    click.echo(f"{'+'.join('@'.join(f) for f in one)}: {error}", err=True)
                    continue
                today = datetime.now(timezone.utc).date().isoformat()
                new.append({**same, "date": today, **row(trial)})
                _show(new[-1], as_json)
                if results:
                    with Path(results).open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(new[-1]) + "\n")
        finally:
            _lab("down")
    sys.exit(0 if all(r["as_expected"] for r in new) and not failed else 1)


def singles(cluster: Cluster, names: Sequence[str], every_node: bool) -> Iterator[Broken]:
    """Each fault, or those of `names`, on one node or on every one. Raises LabError."""
    if not names:
        names = [fault.name for fault in faults.FAULTS]
    for name in names:
        if "@" in name:
            yield broken(name)
            continue
        able = faults.fault(name).nodes(cluster)
        for node in able if every_node else able[:1]:
            yield ((name, node),)


def row(trial: Trial) -> dict[str, Any]:
    """A trial as JSON-able data, with all that was sent if that is not as expected."""
    evidence = {} if trial.as_expected else {"sent": trial.sent}
    return {
        **_called(trial.faults),
        "expected": sorted(f"{t.alert}@{t.node}" for t in trial.expected),
        "notified": sorted(f"{t.alert}@{t.node}" for t in trial.notified),
        "notifications": trial.count,
        "seconds": None if trial.seconds is None else round(trial.seconds, 1),
        "fix_healed": trial.fix_healed,
        "resolved": trial.resolved,
        "as_expected": trial.as_expected,
        **evidence,
    }


def _called(faults: Broken) -> dict[str, str]:
    return {
        "fault": "+".join(fault for fault, _ in faults),
        "node": "+".join(node for _, node in faults),
    }


def _is_in(rows: Sequence[dict[str, Any]], wanted: dict[str, Any]) -> bool:
    return any(all(row.get(key) == value for key, value in wanted.items()) for row in rows)


def _emulated(text: str, as_declared: bool) -> str:
    if not as_declared:
        text = text.replace("platform: macos", "platform: linux")
    return text if "\nbandwidth:" in text else text + NO_TESTS


def _show(r: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(r))
        return
    mark = "ok  " if r["as_expected"] else "BAD "
    click.echo(
        f"{mark}{r['cluster']} {r['fault']} on {r['node']}: {', '.join(r['notified']) or 'nothing'}"
        f" in {r['notifications']}, {r['seconds']} s, fix {r['fix_healed']}"
    )


def _lab(*words: str) -> None:
    command = [sys.executable, "-m", "smolmon", "lab", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(done.stderr.strip() or f"smolmon lab {words[0]} failed")


if __name__ == "__main__":
    main()

"""The fault matrix: every fault, on one node or on all, and pairs of faults."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from smolmon.cluster import Cluster
from smolmon.lab import faults, place
from smolmon.lab.matrix import Trial, attempt

ROOT = Path(str(files("smolmon"))).parent
Broken = tuple[tuple[str, str], ...]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cluster", "cluster_files", metavar="FILE", multiple=True, help="May be repeated.")
@click.option("--speed", default=20.0, show_default=True, help="Divide every waiting time by this.")
@click.option(
    "--fault", "names", metavar="FAULT", multiple=True, help="Only this; may be repeated."
)
@click.option("--every-node", is_flag=True, help="On each node that a fault can hit.")
@click.option("--pairs", default=0, show_default=True, help="So many double faults besides.")
@click.option("--json", "as_json", is_flag=True, help="Print one object for each trial.")
@click.option("--write", metavar="FILE", help="Write the table as Markdown.")
def main(  # noqa: PLR0917 - click names them
    cluster_files: tuple[str, ...],
    speed: float,
    names: tuple[str, ...],
    every_node: bool,
    pairs: int,
    as_json: bool,
    write: str | None,
) -> None:
    """Break an emulated cluster in every way, one after another, and see what is notified."""
    rows: list[dict[str, Any]] = []
    for file in cluster_files or (str(ROOT / "examples/guide.yaml"),):
        _lab("up", "--cluster", file, "--speed", f"{speed:g}")
        try:
            lab = place.running()
            cluster = lab.cluster()
            for broken in [*singles(cluster, names, every_node), *doubles(cluster, pairs)]:
                rows.append(row(cluster, attempt(lab, broken)))
                _show(rows[-1], as_json)
        finally:
            _lab("down")
    if write:
        Path(write).write_text(page(rows, speed), encoding="utf-8")
    sys.exit(0 if all(r["as_expected"] for r in rows) else 1)


def singles(cluster: Cluster, names: Sequence[str], every_node: bool) -> Iterator[Broken]:
    """Each fault alone."""
    for fault in faults.FAULTS:
        if names and fault.name not in names:
            continue
        able = fault.nodes(cluster)
        for node in able if every_node else able[:1]:
            yield ((fault.name, node),)


def doubles(cluster: Cluster, count: int) -> list[Broken]:
    """`count` pairs of faults that do not hide each other; always the same ones."""
    able = [(f.name, n) for f in faults.FAULTS for n in f.nodes(cluster) if f.name in INDEPENDENT]
    chance = random.Random(count)  # noqa: S311 - no secret
    found: list[Broken] = []
    while len(found) < count:
        a, b = chance.sample(able, 2)
        if a[0] != b[0] and a[1] != b[1] and (a, b) not in found:
            found.append((a, b))
    return found


# Each of these is seen on its own node, whatever goes on elsewhere.
INDEPENDENT = (
    "forwarding-off",
    "return-route-gone",
    "forward-route-gone",
    "port-off",
    "address-lost",
    "mtu-mismatch",
    "exporter-dead",
    "default-route-stolen",
    "server-elsewhere",
)


def row(cluster: Cluster, trial: Trial) -> dict[str, Any]:
    """A trial as JSON-able data."""
    return {
        "cluster": cluster.name,
        "fault": "+".join(fault for fault, _ in trial.faults),
        "node": "+".join(node for _, node in trial.faults),
        "expected": sorted(f"{t.alert}@{t.node}" for t in trial.expected),
        "notified": sorted(f"{t.alert}@{t.node}" for t in trial.notified),
        "notifications": trial.count,
        "seconds": None if trial.seconds is None else round(trial.seconds, 1),
        "fix_healed": trial.fix_healed,
        "resolved": trial.resolved,
        "as_expected": trial.as_expected,
    }


def page(rows: Sequence[dict[str, Any]], speed: float) -> str:
    """docs/faults.md."""
    lines = [
        "# What came of breaking things",
        "",
        "Written by `scripts/fault-matrix --write docs/faults.md`: each row is a fault in the",
        "emulated cluster, watched by real exporters, Prometheus and Alertmanager at speed",
        f"{speed:g}. All nodes run Linux. `fix` says whether the command of the notification, run",
        "as printed, healed it; where it says nothing, the remedy is no command, or only looks.",
        "",
        "| cluster | fault | node | notified | seconds | fix | as expected |",
        "|---|---|---|---|---|---|---|",
    ]
    words = {True: "healed", False: "did not heal", None: ""}
    for r in rows:
        told = ", ".join(t.rstrip("@").replace("@", " on ") for t in r["notified"]) or "nothing"
        lines.append(
            f"| {r['cluster']} | {r['fault']} | {r['node']} | {told} | {r['seconds']} "
            f"| {words[r['fix_healed']]} | {'yes' if r['as_expected'] else '**no**'} |"
        )
    return "\n".join(lines) + "\n"


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

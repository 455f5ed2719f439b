"""`smolmon notify`: try the receivers of notifications, or be one."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smolmon.commands.options import cluster_option, load_cluster

if TYPE_CHECKING:
    from smolmon.alerts.notify_trial import Outcome


@click.group()
def notify() -> None:
    """Try the receivers of notifications."""


@notify.command()
@cluster_option
@click.option("--alertmanager", "url", metavar="URL", help="[default: that of the cluster file]")
@click.option(
    "--severity",
    type=click.Choice(["critical", "warning"]),
    default="critical",
    show_default=True,
    help="What the test says it is.",
)
@click.option("--receiver", "names", metavar="NAME", multiple=True, help="Only this; repeatable.")
@click.option(
    "--wait",
    type=click.FloatRange(1, 600),
    default=20,
    show_default=True,
    metavar="SECONDS",
    help="How long each receiver has.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def test(
    *,
    cluster_file: str,
    url: str | None,
    severity: str,
    names: tuple[str, ...],
    wait: float,
    as_json: bool,
) -> None:
    """Send a test to every receiver, by way of Alertmanager.

    Each gets one alert that says it is a test, and half a minute later that it is over.

    Exit code: 0 if Alertmanager handed it over to all who are told of this severity, 1 if not.
    """
    from smolmon.alertmanager import Alertmanager, AlertmanagerError  # noqa: PLC0415
    from smolmon.alerts.notify_trial import State, Test, TrialError, kinds, trial  # noqa: PLC0415
    from smolmon.cluster.notify import Severity  # noqa: PLC0415

    cluster = load_cluster(cluster_file)
    alertmanager = Alertmanager(url or cluster.monitor.alertmanager)
    found: list[Outcome] = []
    try:
        known = kinds(alertmanager)
        _refuse_unknown(names, known)
        # What the file declares and Alertmanager does not know would go unnoticed else.
        forgotten = [r.name for r in cluster.notify.receivers if r.name not in known and not names]
        chosen = {name: kind for name, kind in known.items() if not names or name in names}
        alert = Test(cluster.name, Severity(severity))
        note = partial(click.echo, err=True)
        for outcome in trial(alertmanager, alert, chosen, wait, note):
            found.append(outcome)
            if not as_json:
                click.echo(_line(outcome))
    except (AlertmanagerError, TrialError) as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    for name in forgotten:
        remedy = "run `smolmon render` again, and reload Alertmanager"
        click.echo(f"{name}: is not in Alertmanager's configuration; {remedy}", err=True)
    if as_json:
        click.echo(json.dumps({"outcomes": [_data(o) for o in found], "unknown": forgotten}))
    delivered = any(outcome.state is State.DELIVERED for outcome in found)
    failed = any(outcome.state is State.FAILED for outcome in found)
    if not delivered and not failed:
        click.echo(f"nobody is told of what is {severity}", err=True)
    sys.exit(0 if delivered and not failed and not forgotten else 1)


def _refuse_unknown(names: tuple[str, ...], known: dict[str, str]) -> None:
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no receiver {name}; it knows {', '.join(known)}")


def _line(outcome: Outcome) -> str:
    said = f"{outcome.receiver} ({outcome.kind}): {outcome.state.value}"
    if outcome.reason:
        return f"{said}: {outcome.reason}{_remedy(outcome)}"
    return f"{said} after {outcome.seconds:.1f} s"


def _remedy(outcome: Outcome) -> str:
    """The local receiver is there by default; what listens there is not."""
    if outcome.receiver == "local" and outcome.state.value == "failed":
        return " (start `smolmon notify listen`, or declare `notify: {local: none}`)"
    return ""


def _data(outcome: Outcome) -> dict[str, object]:
    return {
        "receiver": outcome.receiver,
        "kind": outcome.kind,
        "state": outcome.state.value,
        "seconds": round(outcome.seconds, 3),
        "reason": outcome.reason,
    }


def _history() -> str:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(state) / "smolmon" / "notifications.jsonl")


@notify.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9099,
    show_default=True,
    help="TCP port on the loopback address.",
)
@click.option(
    "--file",
    metavar="FILE",
    default=_history,
    show_default="~/.local/state/smolmon/notifications.jsonl",
    help="Where to keep what comes, one JSON object a line.",
)
def listen(*, port: int, file: str) -> None:
    """Be the local receiver: print and keep what Alertmanager sends.

    It needs no internet. Runs until it is stopped.
    """
    from smolmon.lab.sink import server  # noqa: PLC0415

    try:
        receiver = server(port, Path(file), _tell)
    except OSError as error:
        where = file if error.filename else f"port {port}"
        click.echo(f"{where}: {error.strerror or error}; choose another", err=True)
        sys.exit(2)
    click.echo(f"listening at http://127.0.0.1:{port}/, keeping what comes in {file}")
    try:
        receiver.serve_forever()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        receiver.server_close()


def _tell(notification: dict[str, str]) -> None:
    clean = {
        # Nothing that could steer a terminal.
        key: " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", value).split())
        for key, value in notification.items()
    }
    click.echo(f"{clean['time']} {clean['status']}: {clean['summary'] or clean['alert']}")
    if clean["fix"] and clean["status"] == "firing":
        click.echo(f"    fix: {clean['fix']}")

"""The demonstration: the guide's cluster boots, breaks, says what broke, and is healed.

A client of the `smolmon lab` command, like any other.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import click

from smolmon.cluster import Cluster, load
from smolmon.cluster.picture import BAD, GOOD, Remark, draw
from smolmon.lab.monitor import alerts, samples

T = TypeVar("T")

COLOURS = {GOOD: "green", BAD: "red"}
PATIENCE = 180.0  # seconds; far beyond what anything here needs
RTT = (
    'rate(smolmon_ping_rtt_seconds_sum{probe="server"}[30s])'
    ' / (rate(smolmon_ping_rtt_seconds_count{probe="server"}[30s]) > 0)'
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keep", is_flag=True, help="Leave the cluster running at the end.")
@click.option("--cluster", "cluster_file", metavar="FILE", help="Another cluster than the guide's.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    help="Divide every waiting time of the alert rules by this.",
)
@click.option("--suite", default="bookworm", show_default=True, help="The nodes' Debian release.")
def main(keep: bool, cluster_file: str | None, speed: float, suite: str) -> None:
    """Show smolmon at work on an emulated cluster: provisioned, broken, diagnosed, healed."""
    path = Path(cluster_file) if cluster_file else Path(str(files("smolmon"))).parent / GUIDE
    if subprocess.run(smolmon("lab", "status"), capture_output=True, check=False).returncode == 0:
        raise click.ClickException("a lab is up already; take it away first: smolmon lab down")
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: sys.exit(130))  # by way of `finally`
    try:
        say("1. The cluster boots, and `smolmon setup` provisions it over SSH")
        up("--cluster", str(path), "--speed", f"{speed:g}", "--suite", suite)
        show(load(path), keep)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    finally:
        if not keep:
            run("lab", "down", check=False)


GUIDE = Path("examples/guide.yaml")


def show(cluster: Cluster, keep: bool) -> None:
    """The part that has a cluster to show."""
    monitor = ask("lab", "status")["monitor"]
    say("2. Every node reports: the path to the training server, as measured from each")
    wait("every node reaches the server", lambda: all_reach(monitor, cluster))
    wait("a round trip of each", lambda: len(query(monitor, RTT)) == len(cluster.nodes) - 1)
    picture(cluster, remarks(monitor, cluster))

    fault, node = choose(ask("lab", "faults"))
    say(f"3. Something breaks: {fault} on {node}")
    begin = time.monotonic()
    run("lab", "break", fault, "--node", node)
    sent = wait("a notification", lambda: ask("lab", "notifications"))
    seconds = time.monotonic() - begin
    count = "one notification" if len(sent) == 1 else f"{len(sent)} notifications"
    say(f"4. {seconds:.0f} s later: {count}")
    notification(sent[0])
    picture(cluster, remarks(monitor, cluster))
    victims = sorted(cut_off(monitor))
    if victims:
        wait("their symptom to be held back", lambda: held_back(monitor) >= set(victims))
        names = " and ".join(victims)
        click.echo(f"\n   {names} cannot reach the server. That follows, and is held back.")

    say("5. The repair, as the notification prints it")
    click.secho(f"   $ {sent[0]['fix']}", bold=True)
    run("lab", "exec", "controller", "--", "sh", "-c", sent[0]["fix"])
    run("lab", "heal")
    begin = time.monotonic()
    wait("the resolution", lambda: [n for n in ask("lab", "notifications") if resolved(n)])
    say(f"6. {time.monotonic() - begin:.0f} s later: resolved")
    wait("every node reaches the server", lambda: all_reach(monitor, cluster))
    picture(cluster, remarks(monitor, cluster))

    everything = [n["status"] for n in ask("lab", "notifications")]
    click.echo(f"\n   Sent in all: {', '.join(everything)}.")
    if keep:
        say("The cluster is left running; look at it in a browser, break it, heal it")
        for name, address in monitor.items():
            click.echo(f"   {name:<14}{address}")
        click.echo("   .venv/bin/smolmon lab faults | break | heal | exec | status | down")
    else:
        click.echo("\n   scripts/demo --keep leaves the cluster running, with Prometheus and")
        click.echo(f"   Alertmanager at {' and '.join(monitor.values())}.")


def choose(faults: list[dict[str, Any]]) -> tuple[str, str]:
    """The guide's first row, forwarding off, on the gateway furthest from the server."""
    able = [f for f in faults if f["nodes"]]
    if not able:
        raise click.ClickException("this cluster is too small to break anything in it")
    fault = next((f for f in able if f["fault"] == "forwarding-off"), able[0])
    return fault["fault"], fault["nodes"][-1]


def remarks(monitor: Mapping[str, str], cluster: Cluster) -> dict[str, Remark]:
    """What to say of each node: its cause, if one is active there, else its way to the server."""
    reached = {s["node"]: s["value"] for s in query(monitor, 'smolmon_ping_up{probe="server"}')}
    seconds = {s["node"]: s["value"] for s in query(monitor, RTT)}
    causes = {
        s["node"]: s["alertname"]
        for s in query(monitor, 'ALERTS{class="cause",alertstate="firing"}')
    }
    found = {
        node: Remark(GOOD, f"reaches the server in {seconds[node] * 1e3:.2f} ms")
        if up and node in seconds
        else Remark(GOOD, "reaches the server")
        if up
        else Remark(BAD, "does not reach the server")
        for node, up in reached.items()
    }
    found[cluster.server.node] = Remark(GOOD, f"training server, port {cluster.server.port}")
    return found | {node: Remark(BAD, cause) for node, cause in causes.items()}


def all_reach(monitor: Mapping[str, str], cluster: Cluster) -> bool:
    """Whether every node but the server says that it reaches the server."""
    samples = query(monitor, 'smolmon_ping_up{probe="server"} == 1')
    return len(samples) == len(cluster.nodes) - 1


def cut_off(monitor: Mapping[str, str]) -> set[str]:
    """The nodes that say they do not reach the server."""
    return {s["node"] for s in query(monitor, 'smolmon_ping_up{probe="server"} == 0')}


def held_back(monitor: Mapping[str, str]) -> set[str]:
    """The nodes whose symptom Alertmanager has and does not send."""
    known = alerts(monitor["alertmanager"])
    return {a["labels"].get("node", "") for a in known if a["status"]["state"] == "suppressed"}


def resolved(sent: Mapping[str, str]) -> bool:
    """Whether this notification says that it is over."""
    return sent["status"] == "resolved"


def query(monitor: Mapping[str, str], promql: str) -> list[dict[str, Any]]:
    """What the lab's Prometheus answers."""
    return samples(monitor["prometheus"], promql)


def smolmon(*args: str) -> list[str]:
    """The command line of `smolmon` with these arguments."""
    return [sys.executable, "-m", "smolmon", *args]


def up(*args: str) -> None:
    """Bring the lab up. Of all the commands that setup shows, those of one node are enough here."""
    lab = subprocess.Popen(smolmon("lab", "up", *args), stdout=subprocess.PIPE, text=True)
    assert lab.stdout is not None  # noqa: S101
    planned = 0
    for line in lab.stdout:
        planned += line.rstrip().endswith("steps")
        if not line.startswith("  ") or planned <= 1:
            click.echo(line.rstrip())
    if lab.wait():
        raise subprocess.CalledProcessError(lab.returncode, lab.args)


def run(*args: str, check: bool = True) -> None:
    """Run `smolmon`, with its output shown."""
    sys.stdout.flush()
    subprocess.run(smolmon(*args), check=check)


def ask(*args: str) -> Any:  # noqa: ANN401 - JSON
    """The JSON answer of a `smolmon` command."""
    done = subprocess.run(smolmon(*args, "--json"), check=True, capture_output=True)
    return json.loads(done.stdout)


def wait(what: str, read: Callable[[], T]) -> T:
    """What `read` gives once it is true, or the end of the demonstration."""
    end = time.monotonic() + PATIENCE
    while not (value := read()):
        if time.monotonic() > end:
            raise click.ClickException(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.2)
    return value


def say(text: str) -> None:
    """A heading."""
    click.secho(f"\n{text}\n", bold=True)


def picture(cluster: Cluster, said: Mapping[str, Remark]) -> None:
    """Draw the cluster."""
    for line in draw(cluster, said):
        mark = line.remark.mark if line.remark else ""
        click.secho(f"   {line}", fg=COLOURS.get(mark))


def notification(sent: Mapping[str, str]) -> None:
    """A box around what was sent."""
    rows = [f"{sent['alert']}  ({sent['status']})", sent["summary"], f"fix: {sent['fix']}"]
    width = max(map(len, rows))
    click.secho(f"   ┌{'─' * (width + 2)}┐", fg="red")
    for row in rows:
        click.secho(f"   │ {row.ljust(width)} │", fg="red")
    click.secho(f"   └{'─' * (width + 2)}┘\n", fg="red")


if __name__ == "__main__":
    main()

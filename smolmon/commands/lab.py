"""`smolmon lab`: the emulated cluster."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from smolmon.alerts.render import RenderError, parse_speed
from smolmon.commands.options import cluster_option, load_cluster
from smolmon.lab import faults as lab_faults
from smolmon.lab import place, shell, sink
from smolmon.lab import reboot as lab_reboot
from smolmon.lab import up as bring
from smolmon.lab.down import down as take_down
from smolmon.lab.errors import LabError
from smolmon.lab.status import status as look

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
node_option = click.option("--node", metavar="NODE", help="The node to hit.")


@contextmanager
def _one_line() -> Iterator[None]:
    """Errors as one line on standard error, with their exit code."""
    try:
        yield
    except LabError as error:
        click.echo(f"smolmon lab: {error}", err=True)
        sys.exit(error.code)


def _speed(context: click.Context, option: click.Parameter, text: str) -> float:
    try:
        return parse_speed(text)
    except RenderError as error:
        raise click.UsageError(str(error)) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """The emulated cluster."""


@lab.command()
@cluster_option
@click.option("--bare", is_flag=True, help="Boot only: leave setup and the monitor to you.")
@click.option(
    "--speed",
    default="1",
    show_default=True,
    callback=_speed,
    help="Divide every duration in rules and Alertmanager by this.",
)
@click.option(
    "--suite",
    type=click.Choice(["bookworm", "trixie"]),
    default="bookworm",
    show_default=True,
    help="The machines' Debian release.",
)
def up(cluster_file: str, bare: bool, speed: float, suite: str) -> None:
    """Boot the cluster, provision it, start the monitor."""
    with _one_line():
        bring.check_host()
        bring.check_free()
        cluster = load_cluster(cluster_file)
        with _interrupt():
            monitor = bring.up(
                cluster,
                Path(cluster_file),
                suite=suite,
                speed=speed,
                bare=bare,
                say=click.echo,
            )
    if bare:
        click.echo("next: smolmon lab exec controller -- smolmon setup")
        return
    for name, address in monitor.items():
        click.echo(f"{name:<14}{address}")


@contextmanager
def _interrupt() -> Iterator[None]:
    """Ctrl-C, a closed terminal and SIGTERM take the lab down again."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        take_down()
        click.echo("smolmon lab: interrupted; the lab is down again", err=True)
        sys.exit(130)


@lab.command()
def down() -> None:
    """Remove every namespace, process and file of the lab."""
    with _one_line():
        bring.check_root()
        click.echo("the lab is down" if take_down() else "the lab was not up")


@lab.command()
@json_option
def status(as_json: bool) -> None:
    """Show the nodes, what is broken, and where the monitor is."""
    with _one_line():
        bring.check_root()
        now = look(place.running())
    if as_json:
        click.echo(json.dumps(now))
        return
    click.echo(f"{now['cluster']} from {now['file']}, {now['suite']}, speed {now['speed']:g}")
    scraped = {None: "", True: "scraped", False: "not scraped"}
    rows = [
        (node["name"], node["state"], node["management"], scraped[node["scraped"]])
        for node in now["nodes"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())
    for fault in now["faults"]:
        click.echo(f"broken: {fault['fault']} on {fault['node']}")
    for name, address in now["monitor"].items():
        click.echo(f"{name:<14}{address}")


@lab.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] [COMMAND]...")
def execute(node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND as root on NODE; a shell where there is none.

    NODE is a node of the cluster, `controller`, or `internet` (the Wi-Fi router: a namespace only).
    """
    with _one_line():
        arguments = shell.command(node, command)
    sys.stdout.flush()
    os.execvp(arguments[0], arguments)  # noqa: S606


@lab.command()
@cluster_option
@json_option
def faults(cluster_file: str, as_json: bool) -> None:
    """List what can be broken, where, and the cause it leads to.

    For the cluster that is up; where none is, for the cluster file.
    """
    with _one_line():
        running = place.find()
        cluster = load_cluster(str(running.cluster_file) if running else cluster_file)
        table = lab_faults.table(cluster)
    if as_json:
        click.echo(json.dumps(table))
        return
    for row in table:
        click.echo(f"{row['fault']}: {row['summary']}")
        click.echo(f"    nodes {', '.join(row['nodes']) or 'none'}; cause {row['cause']}")


@lab.command("break")
@click.argument("fault")
@node_option
def break_(fault: str, node: str | None) -> None:
    """Inject FAULT.

    On the first node that it can hit, unless told otherwise.
    """
    with _one_line():
        bring.check_root()
        broken = lab_faults.break_(place.running(), fault, node)
    click.echo(f"broken: {broken.fault} on {broken.node}; `smolmon lab heal` takes it back")


@lab.command()
@click.argument("fault", required=False)
@node_option
def heal(fault: str | None, node: str | None) -> None:
    """Take back FAULT, or everything that `lab break` did."""
    with _one_line():
        bring.check_root()
        healed = lab_faults.heal(place.running(), fault, node)
    for one in healed:
        click.echo(f"healed: {one.fault} on {one.node}")
    if not healed:
        click.echo("nothing to heal")


@lab.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
def reboot(nodes: tuple[str, ...]) -> None:
    """Reboot NODEs together and wait until they run again.

    Services stop, the disk is kept; `/run`, addresses, routes, sysctls and firewall rules are lost.
    """
    with _one_line():
        bring.check_root()
        lab_reboot.reboot(place.running(), nodes)
    click.echo(f"rebooted: {', '.join(dict.fromkeys(nodes))}")


@lab.command()
@json_option
def notifications(as_json: bool) -> None:
    """Show what Alertmanager sent, in order."""
    with _one_line():
        bring.check_root()
        sent = sink.read(place.running().notifications())
    if as_json:
        click.echo(json.dumps(sent))
        return
    for one in sent:
        click.echo(f"{one['time']} {one['status']:<9}{one['alert']} {one['node']}".rstrip())
        click.echo(f"    {one['summary']}")
        if one["fix"]:
            click.echo(f"    fix: {one['fix']}")
    if not sent:
        click.echo("nothing was sent")

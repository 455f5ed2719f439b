"""How long it takes to set up the network of six nodes: `smolmon setup` and Ansible.

Both run at the emulated cluster's controller, over the same SSH, on freshly booted machines, and
each run opens its own connections. Whether the network then works is looked at after the clock
has stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import click
from attrs import frozen

from benchmarks import ansible, picture
from benchmarks.report import DOCS, machine, write_section
from benchmarks.wire import require_root
from smolmon.cluster import Cluster, parse
from smolmon.lab import place
from smolmon.lab.plan import CONTROLLER, namespace

ROOT = Path(__file__).resolve().parents[1]
SMOLMON = [sys.executable, "-m", "smolmon"]
BARE, NOTHING = CASES = ("bare", "nothing-to-do")
LIMITS = {BARE: 0.6, NOTHING: 0.25}  # of Ansible's time
# Of the environment: what would make the one or the other behave like no other's.
_OTHERS = ("ANSIBLE_", "XDG_", "PYTHON")
DEADLINE = 20.0  # seconds that the network gets to work after a run


@frozen
class Tool:
    """One of the two: what to run, with which environment, and what its output says it changed."""

    name: str
    command: Sequence[str]
    variables: Mapping[str, str]
    changed: Callable[[str], int]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row on standard output.")
@click.option("--rounds", default=3, show_default=True, help="Runs of each tool in each case.")
@click.option("--docs/--no-docs", default=True, show_default=True, help="Write into docs/.")
def main(as_json: bool, rounds: int, docs: bool) -> None:
    """Compare `smolmon setup` with Ansible on the emulated cluster: medians, in seconds."""
    require_root()
    if place.find() is not None:
        sys.exit("a lab is up already; take it away first: smolmon lab down")
    programs = ansible.environment()
    seconds: dict[tuple[str, str], list[float]] = {}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, cluster = all_linux(folder)
        ansible.prepare(folder, cluster)
        tools = [ours(file), theirs(programs, folder, len(cluster.nodes))]
        for number in range(rounds + 1):
            # Each is first in every other round. The round before the first is not counted: in it
            # Python keeps the bytecode of both, as it does wherever they are used.
            for tool in tools[:: 1 if number % 2 == 0 else -1]:
                with lab(file):
                    for case, took in run(tool, cluster, folder):
                        click.echo(f"{number}  {tool.name}  {case}  {took:.2f} s", err=True)
                        if number:
                            seconds.setdefault((tool.name, case), []).append(took)
    rows = [(t, c, round(median(seconds[t, c]), 3)) for c in CASES for t in [x.name for x in tools]]
    for tool_name, case, took in rows:
        if as_json:
            click.echo(json.dumps({"tool": tool_name, "case": case, "seconds": took}))
        else:
            click.echo(f"{tool_name}  {case}  {took:.2f}")
    if docs:
        publish(rows, seconds, ansible.versions(programs), load)


def all_linux(folder: Path) -> tuple[Path, Cluster]:
    """The guide's cluster with Linux on the minis: Ansible has no module for a Mac's network."""
    text = (ROOT / "examples/guide.yaml").read_text(encoding="utf-8")
    text = text.replace("platform: macos", "platform: linux")
    file = folder / "cluster.yaml"
    file.write_text(text, encoding="utf-8")
    return file, parse(text, str(file))


def ours(file: Path) -> Tool:
    """`smolmon setup`, of the network alone."""
    words = [*SMOLMON, "setup", "--cluster", str(file), "--yes", "--only", "network"]

    def changed(output: str) -> int:
        return 0 if "nothing to do" in output else 1

    return Tool("smolmon", words, {}, changed)


def theirs(programs: Path, folder: Path, nodes: int) -> Tool:
    """Ansible."""
    return Tool(
        "ansible",
        ansible.command(programs),
        ansible.variables(folder),
        lambda output: ansible.changed(output, nodes),
    )


@contextmanager
def lab(file: Path) -> Iterator[None]:
    """Freshly booted machines, on which nothing is set up."""
    _smolmon("lab", "up", "--bare", "--cluster", str(file))
    try:
        yield
    finally:
        _smolmon("lab", "down")


def _smolmon(*words: str) -> None:
    done = subprocess.run(
        [*SMOLMON, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.exit(f"smolmon {words[0]} {words[1]} failed: {done.stderr.decode().strip()}")


def run(tool: Tool, cluster: Cluster, folder: Path) -> Iterator[tuple[str, float]]:
    """Set the bare cluster up, and once more: (case, seconds)."""
    for case in CASES:
        with at_the_controller(folder) as environment:
            began = time.perf_counter()
            done = subprocess.run(
                ["ip", "netns", "exec", namespace(CONTROLLER), *tool.command],
                env={**environment, **tool.variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                check=False,
            )
            took = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"{tool.name} failed, exit {done.returncode}:\n{done.stdout}")
        if (tool.changed(done.stdout) == 0) != (case == NOTHING):
            sys.exit(f"{tool.name}, {case}: it changed what it should not:\n{done.stdout}")
        wait_until_it_works(tool, cluster)
        yield case, took


@contextmanager
def at_the_controller(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a run: the controller's SSH configuration and keys, an empty home.

    ssh(1) finds its files by the account, not by $HOME, so a program of that name puts them in.
    """
    running = place.running()
    keys = running.machine_root(CONTROLLER) / "root/.ssh"
    with tempfile.TemporaryDirectory(dir=folder) as name:
        home = Path(name)
        config = (keys / "config").read_text().replace("~/.ssh", str(keys))
        (home / "config").write_text(
            f"{config}\nHost *\n    UserKnownHostsFile {keys}/known_hosts\n"
        )
        program = home / "bin/ssh"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {home}/config "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}:{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OTHERS)}
        bytecode = {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTHONPATH": str(ROOT)}
        try:
            yield {**kept, **bytecode, "HOME": str(home), "PATH": path}
        finally:
            for master in (folder / "masters").glob("*"):
                subprocess.run(
                    ["ssh", "-F", "none", "-o", f"ControlPath={master}", "-O", "exit", "-", "x"],
                    capture_output=True,
                    check=False,
                )


def wait_until_it_works(tool: Tool, cluster: Cluster) -> None:
    """Every node reaches the server, there and back through the gateways."""
    end = time.monotonic() + DEADLINE
    for node in cluster.nodes:
        inside = ["ip", "netns", "exec", namespace(node.name)]
        ping = [*inside, "ping", "-nqc1", "-W1", str(cluster.server_address)]
        while subprocess.run(ping, capture_output=True, check=False).returncode:
            if time.monotonic() > end:
                sys.exit(f"{tool.name}: {node.name} does not reach the server")
            time.sleep(0.1)


def publish(
    rows: Sequence[tuple[str, str, float]],
    seconds: Mapping[tuple[str, str], Sequence[float]],
    versions: str,
    load: float,
) -> None:
    """Write the table and the picture."""
    rounds = len(next(iter(seconds.values())))
    by = {(tool, case): took for tool, case, took in rows}
    table = []
    for tool, case, took in rows:
        share = took / by["ansible", case]
        runs = sorted(seconds[tool, case])
        cells = [tool, case, f"{took:.2f}", f"{runs[0]:.2f} to {runs[-1]:.2f}", f"{share:.2f}"]
        table.append(f"| {' | '.join(cells)} |")
    text = [
        f"`benchmarks/setup`, medians of {rounds} runs, each tool first in turn; {versions};",
        f"{machine()}, load average {load:.1f} before the first run.",
        "",
        "| tool | case | s | all runs, s | of Ansible's time |",
        "|---|---|---:|---:|---:|",
        *table,
        "",
        "The network of the guide's six nodes, all of them Linux machines of the emulated cluster,",
        "from freshly booted and once more. Ansible: two tasks, and a handler that activates what",
        "changed (`benchmarks/ansible-network.yml`), no facts, pipelining, 10 forks. It arms no",
        "rollback and does not look whether the network then works; `smolmon setup --only network`",
        "does both. With nothing to do both compare settings alone. A first run of each, not",
        "counted, leaves Python's bytecode behind for the others.",
        f"Wanted: at most {LIMITS[BARE]:g} of Ansible's time from bare, {LIMITS[NOTHING]:g} with",
        "nothing to do.",
        "",
        "![setup](benchmarks-setup.svg)",
    ]
    write_section("setup", "Setup", text)
    (DOCS / "benchmarks-setup.svg").write_text(
        picture.bars(
            "Setting up the network of six nodes",
            "seconds",
            [(f"{tool} ({case})", took) for tool, case, took in rows],
        )
    )


if __name__ == "__main__":
    main()

"""The emulated cluster as its users see it: the `smolmon lab` command, nothing behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from smolmon.lab.monitor import alerts, samples

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


def smolmon(
    *args: str, check: bool = True, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run `smolmon` of this checkout; where `check`, a failure shows all it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "smolmon", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "SMOLMON_CLUSTER"},
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"smolmon {' '.join(args)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done


def until(what: str, read: Callable[[], T | None], deadline: float = 60) -> T:
    """What `read` gives once that is true; fails, naming `what`, after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = read()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:.0f} s: {what}")
        time.sleep(0.1)


def example(name: str, folder: Path, *, linux: bool = False) -> Path:
    """A copy of an example in which no bandwidth test keeps the machine busy.

    With `linux`, all of its nodes are.
    """
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    if linux:
        text = text.replace("platform: macos", "platform: linux")
    path = folder / name
    path.write_text(text + "\nbandwidth: {enabled: false}\n", encoding="utf-8")
    return path


def refuse_to_replace_a_lab() -> None:
    """Somebody may be looking at a lab of their own: it is not taken away."""
    if smolmon("lab", "status", check=False).returncode == 0:
        raise AssertionError("a lab is up already; take it away first: smolmon lab down")


def in_network(node: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run one of the host's own tools in the node's network."""
    entered = ["ip", "netns", "exec", f"smolmon-{node}", *command]
    return subprocess.run(entered, capture_output=True, text=True, check=False)


class Lab:
    """A cluster that `smolmon lab up` has started."""

    def __init__(self, cluster_file: Path) -> None:
        self.cluster_file = cluster_file
        self.monitor: dict[str, str] = self.json("status")["monitor"]

    def json(self, *args: str) -> Any:
        """The answer of a `lab` command that has --json."""
        return json.loads(smolmon("lab", *args, "--json").stdout)

    def run(self, node: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on a node."""
        return smolmon("lab", "exec", node, "--", *command, check=check)

    def pings(self, node: str, address: str, device: str | None = None) -> bool:
        """Whether `node` gets an answer from `address`.

        By the host's own ping in the node's network: that of a Mac has other options.
        """
        by = ["-I", device] if device else []
        ping = ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", *by, address]
        return in_network(node, *ping).returncode == 0

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The samples of an instant query: labels, and the value under `value`."""
        return samples(self.monitor["prometheus"], promql)

    def alertmanager(self) -> list[dict[str, Any]]:
        """The alerts that Alertmanager has now, the inhibited ones too."""
        return alerts(self.monitor["alertmanager"])

    def notifications(self) -> list[dict[str, str]]:
        """All that has been sent."""
        sent: list[dict[str, str]] = self.json("notifications")
        return sent

    def quiet(self) -> bool:
        """Whether Prometheus and Alertmanager have no alert but those that never notify."""
        silent = "Watchdog|SmolmonExplained"
        return not self.query(f'ALERTS{{alertname!~"{silent}"}}') and not [
            a for a in self.alertmanager() if a["labels"]["alertname"] not in silent.split("|")
        ]


def write(lab: Lab, node: str, path: str, text: str) -> None:
    """A file on a machine."""
    subprocess.run(
        [sys.executable, "-m", "smolmon", "lab", "exec", node, "--", "tee", path],
        cwd=ROOT,
        input=text,
        text=True,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def setup(lab: Lab, *arguments: str, code: int = 0) -> str:
    """Everything that `smolmon setup` on the controller says."""
    done = lab.run("controller", "smolmon", "setup", *arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr

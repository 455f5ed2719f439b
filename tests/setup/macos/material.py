"""What the tests of setup on macOS start from: facts of a modelled Mac, without a shell."""

from __future__ import annotations

import copy
import shlex
from functools import cache

import yaml

from smolmon.cluster import Cluster, load
from smolmon.setup.macos.facts import Facts, parse
from smolmon.setup.macos.system import MacState
from smolmon.setup.macos.tools import LABELS
from smolmon.setup.macos.wanted import Wanted, wanted
from smolmon.setup.steps import Plan, Step
from tests.setup.macos import model
from tests.setup.macos.model import State
from tests.setup.material import GUIDE, bundle

PYTHON = (
    '{"version": [3, 13], "files": {}, '
    '"program": "/opt/homebrew/Frameworks/Python.app/Contents/MacOS/Python"}'
)


@cache
def guide() -> Cluster:
    """The guide's cluster with Macs as its minis."""
    declared = yaml.safe_load(GUIDE.read_text())
    for name in ("mini1", "mini2", "mini3"):
        declared["nodes"][name]["platform"] = "macos"
    return loaded(declared)


def loaded(declared: dict[str, object]) -> Cluster:
    """A cluster from plain data."""
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.yaml"
        path.write_text(yaml.safe_dump(declared, sort_keys=False))
        return load(path)


def want(node: str = "mini1") -> Wanted:
    """What the guide's cluster asks of `node`."""
    return wanted(guide(), node)


def facts(state: State, **extra: str) -> Facts:
    """What the facts script would find on a Mac in that state; `extra` are further sections."""
    return parse(text(state, **extra), 9742)


def text(state: State, **extra: str) -> str:
    """What the facts script would print."""
    ask = model.networksetup
    parts = {
        "user": "train\n501",
        "group": "nobody",
        "sudo": "yes",
        "ssh": "192.168.1.2 50000 192.168.1.11 22",
        "location": ask(state, ["-getcurrentlocation"]),
        "order": ask(state, ["-listnetworkserviceorder"]),
        "ports": ask(state, ["-listallhardwareports"]),
        "interfaces": model.ifconfig(state, ["-a"]),
        "netstat": model.netstat(state, ["-rn"]),
        "forwarding": model.sysctl(state, ["net.inet.ip.forwarding"]),
        "disabled": model.print_disabled(state),
        "listening": model.netstat(state, ["-anl"]),
        "firewall": model.socketfilterfw(state, ["--getglobalstate"])
        + model.socketfilterfw(state, ["--getstealthmode"]),
        "apps": model.socketfilterfw(state, ["--listapps"]),
        "power": model.pmset(state, ["-g"]),
        "python /opt/homebrew/bin/python3": PYTHON,
        "thunderbolt": state["thunderbolt"],
    }
    for one in state["services"]:
        parts[f"info {one['name']}"] = ask(state, ["-getinfo", one["name"]])
        parts[f"routes {one['name']}"] = ask(state, ["-getadditionalroutes", one["name"]])
    for label in LABELS:
        parts[f"job {label}"] = model.print_job(state, label)
    parts |= extra
    return "".join(f"@@{name}\n{block}\n" for name, block in parts.items())


def planned(state: State, node: str = "mini1") -> Plan:
    """The plan for `node` in that state."""
    return MacState(want(node), facts(state)).plan(bundle())


def network(state: State, node: str = "mini1") -> tuple[Step, ...]:
    """The network steps of that plan."""
    return planned(state, node).network


def done(state: State, commands: list[str]) -> State:
    """The state after these commands, which have no shell in them but ` && `."""
    state = copy.deepcopy(state)
    for line in commands:
        for words in _commands(line):
            path, *args = words[2:] if words[:2] == ["sudo", "-n"] else words
            said = model.TOOLS[path.rpartition("/")[2]](state, args)
            assert "Error" not in said, (line, said)
            assert "recognized" not in said, (line, said)
    return state


def _commands(line: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in shlex.split(line):
        if word == "&&":
            found.append([])
        else:
            found[-1].append(word)
    return found


def provisioned(node: str = "mini1", **changes: object) -> State:
    """A Mac after the network part of setup."""
    state = model.mini(**changes)
    return done(state, [step.command for step in network(state, node)])

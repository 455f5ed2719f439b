"""From facts to commit and back, by the real scripts in a real shell on a modelled Mac."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import time

import pytest
import yaml
from attrs import evolve

from smolmon.setup import apply as module
from smolmon.setup.apply import ApplyError, Say, change_network, change_system
from smolmon.setup.bundle import Bundle, Identity
from smolmon.setup.macos import tools
from smolmon.setup.macos.rollback import FOLDER
from smolmon.setup.macos.system import MacState, MacSystem
from smolmon.setup.steps import Plan
from smolmon.setup.survey import Target, gather
from tests.setup.macos.machine import Machine
from tests.setup.macos.material import guide, loaded
from tests.setup.macos.model import State, mini
from tests.setup.material import GUIDE

SHELLS = [s for s in map(shutil.which, ("dash", "bash")) if s]
SYSTEM = MacSystem(guide(), "mini1")
AGENT = b"import time\ntime.sleep(60)\n"
BUNDLE = Bundle(AGENT, b"cluster: guide\n", Identity(b"certificate", b"secret key", b"authority"))


@pytest.fixture
def mac(tmp_path):
    made: list[Machine] = []

    def make(state: State | None = None, shell: str = SHELLS[0]) -> Machine:
        root = tmp_path / str(len(made))
        root.mkdir()
        made.append(Machine.made(root, state or mini(), shell))
        return made[-1]

    yield make
    for machine in made:
        machine.stop()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "SETTLE", 3.0)
    monkeypatch.setattr(module, "LOOK", 20.0)


def look(machine: Machine) -> MacState:
    return asyncio.run(gather(SYSTEM, machine))


def target(machine: Machine, bundle: Bundle | None = BUNDLE) -> Target:
    """Without a bundle: to take everything away."""
    state = look(machine)
    assert state.refusals() == []

    def wish(seen: MacState) -> Plan:
        return seen.plan(bundle) if bundle else seen.removal()

    there = bundle is not None
    node = guide().node("mini1")
    return Target(node, machine, SYSTEM, state, wish(state), wish, exporter=there)


async def apply(found: Target, say: Say, seconds: int) -> None:
    if found.plan.network:
        await change_network(found, say, seconds)
    if found.plan.system:
        await change_system(found, say)


def carried_out(found: Target, seconds: int = 30) -> list[str]:
    said: list[str] = []
    asyncio.run(apply(found, said.append, seconds))
    return said


def stored(machine: Machine) -> list[State]:
    return machine.state()["services"]


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def unarmed(machine: Machine) -> bool:
    """Nothing of a rollback is left."""
    job = machine.state()["jobs"].get(tools.ROLLBACK)
    files = [machine.path(FOLDER), machine.path(tools.daemon_file(tools.ROLLBACK))]
    return (job is None or "ends" in job) and not any(f.exists() for f in files)


@pytest.mark.parametrize("shell", SHELLS)
def test_from_bare_to_nothing_to_do_with_the_narrow_sudoers_file(mac, shell):
    machine = mac(mini(firewall=1, wipes=True), shell)
    said = carried_out(target(machine))
    assert "committed" in said[0]
    after = target(machine)
    assert after.plan.steps == ()
    assert after.state.listening
    assert unarmed(machine)
    state = machine.state()
    assert state["forwarding"] == 1
    assert state["apps"] == [[os.path.realpath(machine.path(tools.PYTHONS[0])), True]]
    # A new agent, and nothing else: the daemon starts again.
    bundle = evolve(BUNDLE, agent=AGENT + b"# newer\n")
    newer = target(machine, bundle)
    assert [step.why.split(" ", 1)[0] for step in newer.plan.steps] == ["the", "the"]
    carried_out(newer)
    assert target(machine, bundle).plan.steps == ()


def test_the_key_is_never_readable_and_nothing_is_left_beside_it(mac):
    machine = mac()
    found = target(machine)
    carried_out(found)
    key = machine.path(tools.KEY)
    assert key.read_bytes() == b"secret key"
    assert key.stat().st_mode & 0o777 == 0o440
    assert sorted(p.name for p in key.parent.iterdir()) == ["authority.crt", "node.crt", "node.key"]
    (step,) = [s for s in found.plan.system if s.content == b"secret key"]
    assert "secret" not in step.command
    assert "umask 077" in step.command
    assert not any("c2VjcmV0" in str(s.why) + s.command + str(s.undo) for s in found.plan.steps)


def test_removal_leaves_nothing_and_only_what_was_there(mac):
    machine = mac(mini(firewall=1))
    bare = sorted(p for p in machine.root.rglob("*") if p.name not in ("state.json", "lock"))
    carried_out(target(machine))
    found = target(machine, None)
    assert "goes back to DHCP" in found.plan.notes[0]
    carried_out(found)
    assert look(machine).removal().steps == ()
    now = sorted(p for p in machine.root.rglob("*") if p.name not in ("state.json", "lock"))
    assert set(now) - set(bare) <= {machine.root / "opt", machine.root / "var"} | {
        machine.root / p for p in ("var/db", "var/log")
    }
    state = machine.state()
    assert stored(machine) == mini()["services"]
    assert (state["forwarding"], state["apps"], state["jobs"]) == (0, [], {})


MACS = {("fabric", "mini2"): "36:90:11:cc:0f:40", ("fabric", "mini3"): "36:90:11:cc:0f:41"}


def test_segments_kept_apart_and_neighbours_kept_with_the_narrow_sudoers_file(mac, monkeypatch):
    declared = yaml.safe_load(GUIDE.read_text())
    declared["isolation"] = "enforce"
    declared["segments"]["fabric"]["static_neighbors"] = True
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "SYSTEM", MacSystem(loaded(declared), "mini1"))
    bundle = evolve(BUNDLE, macs=MACS)
    machine = mac()
    carried_out(target(machine, bundle))
    assert target(machine, bundle).plan.steps == ()
    state = machine.state()
    assert state["arp"] == {
        "10.10.0.2": ["36:90:11:cc:f:40", "bridge0"],
        "10.10.0.3": ["36:90:11:cc:f:41", "bridge0"],
    }
    assert "block drop in quick inet from 192.168.50.0/24 to 192.168" in state["pf"]["rules"]
    assert state["pf"]["tokens"] == ["4711"]
    # By hand: each is named, and put back.
    for accident in (
        {"arp": {}, "pf": {"rules": "pass quick all", "tokens": ["4711"]}},
        {
            "arp": {**state["arp"], "10.10.0.2": ["2:0:0:0:0:9", "bridge0"]},
            "pf": {"rules": state["pf"]["rules"], "tokens": []},
        },
    ):
        machine.save(machine.state() | accident)
        found = target(machine, bundle)
        assert len(found.plan.steps) in (2, 3)
        carried_out(found)
        assert target(machine, bundle).plan.steps == ()
        assert {k: machine.state()[k] for k in ("arp", "pf")} == {
            k: state[k] for k in ("arp", "pf")
        }
    carried_out(target(machine, None))
    after = machine.state()
    assert (after["arp"], after["pf"]) == ({}, {"rules": "", "tokens": []})
    assert look(machine).removal().steps == ()
    # Rolled back, the entries go as they came.
    found = target(machine, bundle)
    result = asyncio.run(machine.run(found.state.armed(found.plan.network, 3600), 60.0))
    assert len(machine.state()["arp"]) == 2
    asyncio.run(machine.run(found.state.rollback(_token(result.out)), 60.0))
    assert machine.state()["arp"] == {}
    assert stored(machine) == mini()["services"]


def _token(out: str) -> str:
    found = re.search(r"^@@armed ([0-9a-f]+)$", out, re.M)
    assert found
    return found[1]


# -- nobody is cut off ----------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_a_step_that_says_it_failed_and_ends_with_status_0_is_rolled_back(mac, shell):
    machine = mac(mini(fails={"-setv6LinkLocal": 1}), shell)
    before = stored(machine)
    with pytest.raises(ApplyError) as error:
        carried_out(target(machine))
    assert str(error.value).endswith(
        "-setv6LinkLocal 'Thunderbolt Bridge'` failed: ** Error: The parameters were not valid.; "
        "rolled back: the network is as before"
    )
    assert stored(machine) == before
    assert unarmed(machine)
    ran = [" ".join(words) for words in machine.state()["ran"]]
    # What had not begun is not undone either.
    assert not any("-setdhcp USB" in line for line in ran)


def test_without_a_commit_the_node_goes_back_by_itself(mac):
    machine = mac()
    found = target(machine)
    result = asyncio.run(machine.run(found.state.armed(found.plan.network, 8), 60.0))
    assert result.status == 0
    assert stored(machine) != mini()["services"]
    until(lambda: unarmed(machine))
    assert stored(machine) == mini()["services"]
    late = asyncio.run(machine.run(found.state.commit(_token(result.out))))
    assert late.status != 0


def test_a_plan_that_cuts_the_node_off_undoes_itself(mac):
    machine = mac()
    found = target(machine)
    machine.cut = True

    async def main() -> BaseException | None:
        work = asyncio.ensure_future(apply(found, lambda _: None, 8))
        while not work.done():
            await asyncio.sleep(0.05)
            # It can be reached again once its own settings are back.
            machine.cut = not machine.ran or stored(machine) != mini()["services"]
        return work.exception()

    said = str(asyncio.run(main()))
    assert "the node rolled itself back: the network is as before" in said
    assert stored(machine) == mini()["services"]
    assert unarmed(machine)


@pytest.mark.parametrize("kill", ["reboot", "kill"])
def test_a_reboot_in_the_middle_undoes_everything_at_once(mac, kill):
    machine = mac()
    found = target(machine)
    result = asyncio.run(machine.run(found.state.armed(found.plan.network, 3600), 60.0))
    assert result.status == 0
    if kill == "kill":
        os.killpg(machine.state()["jobs"][tools.ROLLBACK]["pid"], signal.SIGKILL)
    machine.reboot()
    until(lambda: unarmed(machine))
    assert stored(machine) == mini()["services"]


def test_a_script_that_ends_anywhere_leaves_a_node_that_comes_back(mac):
    """The connection breaks after each step in turn, and nobody ever asks again."""
    machine = mac()
    found = target(machine)
    for last in range(len(found.plan.network)):
        broken = list(found.plan.network)
        broken[last] = evolve(broken[last], command=f"{broken[last].command}; exit 0")
        result = asyncio.run(machine.run(found.state.armed(tuple(broken), 3), 60.0))
        assert f"@@step {last}\n" in result.out
        until(lambda: unarmed(machine))
        assert stored(machine) == mini()["services"]


def test_a_second_setup_is_refused_and_changes_nothing(mac):
    machine = mac()
    found = target(machine)
    first = asyncio.run(machine.run(found.state.armed((), 3600), 60.0))
    with pytest.raises(ApplyError) as error:
        carried_out(found)
    assert str(error.value) == (
        "mini1: another setup changes its network at this moment; wait until it has committed or "
        "rolled back, and run again; nothing was changed"
    )
    assert stored(machine) == mini()["services"]
    token = _token(first.out)
    # Only who armed it may commit it, and only once.
    assert asyncio.run(machine.run(found.state.commit("0" * 16))).status != 0
    assert asyncio.run(machine.run(SYSTEM.settled())).status != 0
    assert asyncio.run(machine.run(found.state.commit(token))).status == 0
    assert asyncio.run(machine.run(SYSTEM.settled())).status == 0
    assert asyncio.run(machine.run(found.state.rollback(token))).status != 0
    assert unarmed(machine)


def test_what_a_killed_arming_left_behind_is_no_obstacle(mac):
    machine = mac()
    machine.path(FOLDER).mkdir(parents=True)
    (machine.path(FOLDER) / "armed-0123456789abcdef").touch()
    found = target(machine)
    assert "committed" in carried_out(found)[0]
    assert unarmed(machine)


def test_an_unfinished_change_that_nobody_undoes_is_told(mac):
    machine = mac()
    found = target(machine)
    asyncio.run(machine.run(found.state.armed(found.plan.network, 3600), 60.0))
    machine.stop()  # and somebody deleted the daemon
    machine.path(tools.daemon_file(tools.ROLLBACK)).unlink()
    before = stored(machine)
    result = asyncio.run(machine.run(found.state.armed(found.plan.network, 30), 60.0))
    assert result.status == 1
    assert "sudo /bin/sh /var/db/smolmon/rollback/script" in SYSTEM.unarmed(result.err)
    assert stored(machine) == before

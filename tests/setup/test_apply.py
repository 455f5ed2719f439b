"""The order of arming, proving and committing, on a node that is only a state machine."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from attrs import define, evolve, field

from smolmon.cluster import Node, Platform
from smolmon.setup import apply as module
from smolmon.setup.apply import ApplyError, change_network, change_system
from smolmon.setup.linux.system import LinuxState, LinuxSystem
from smolmon.setup.script import HELD, last_step
from smolmon.setup.ssh import Result, SshError
from smolmon.setup.steps import Plan, Step
from smolmon.setup.survey import Target
from tests.setup.material import guide, provisioned, want

TOKEN = "/org/freedesktop/NetworkManager/Checkpoint/7"  # noqa: S105
CHANGE = Step("change", "it is not changed")
INSTALL = Step("install", "it is not installed", "remove")


@define
class Machine:
    """A node and its system in one: scripts are single words, facts are the set of what is done."""

    done: set[str] = field(factory=set)
    ran: list[str] = field(factory=list)
    before: set[str] | None = None  # while armed
    reachable: bool = True
    cuts: bool = False  # whether the change takes the node off the network
    works: bool = True  # whether the change can be seen afterwards
    busy: bool = False  # whether another setup installs on it
    held: bool = False  # whether somebody else has armed a rollback
    fails: bool = False  # whether the command of the change fails
    listens: bool = True
    stays_cut: bool = False
    interrupt: str = ""  # the script during which somebody presses Ctrl-C

    async def run(self, script: str, timeout: float = 30.0, *, fresh: bool = False) -> Result:
        word = script.split(maxsplit=1)[0]
        self.ran.append(f"{word}, fresh" if fresh else word)
        if word == self.interrupt:
            self.interrupt = ""
            self.presser.cancel()
        await asyncio.sleep(0)
        if word == "settled" and not self.stays_cut and self.before is not None:
            self.done, self.before, self.reachable = self.before, None, True
        if not self.reachable:
            raise SshError("pi5", "it does not answer", "look")
        return self._ran(word)

    presser: asyncio.Task | None = None

    def _ran(self, word: str) -> Result:  # noqa: PLR0911
        match word:
            case "arm" if self.held:
                held = "Call failed: device 'eth0' is already included in checkpoint /x/7"
                return Result(1, "@@arm\n", held)
            case "arm":
                self.before = set(self.done)
                if self.fails:
                    return Result(1, f"@@armed {TOKEN}\n@@step 0\nno such thing\n", "")
                if self.works:
                    self.done.add("change")
                if self.cuts:
                    self.reachable = False
                    raise SshError("pi5", "the connection broke", "look")
                return Result(0, f"@@armed {TOKEN}\n@@step 0\n", "")
            case "commit":
                if self.before is None:
                    return Result(1, "", "no such checkpoint")
                self.before = None
            case "rollback":
                self.done, self.before = self.before, None
            case "alone" if self.busy:
                return Result(HELD, "", "")
            case "alone":
                self.done.add("install")
                return Result(0, "@@step 0\n", "")
            case "remove":
                self.done.discard("install")
            case "journal":
                return Result(0, "its last words\n", "")
        return Result(0, "", "")

    # the System and the State of this machine

    def facts_script(self, only_network=False, exporter=True):
        return "facts"

    def alone(self):
        return "alone"

    def state(self, out):
        return self

    @property
    def listening(self):
        return self.listens

    def plan(self, bundle):
        return Plan(
            () if "change" in self.done else (CHANGE,),
            () if "install" in self.done else (INSTALL,),
        )

    def armed(self, steps, seconds):
        return "arm"

    def commit(self, token):
        assert token == TOKEN
        return "commit"

    def rollback(self, token):
        assert token == TOKEN
        return "rollback"

    def unarmed(self, said):
        return LinuxSystem(guide(), "pi5").unarmed(said)

    def tidy(self):
        return "tidy"

    def settled(self):
        return "settled"

    def ready(self, seconds):
        return "ready"

    def journal(self):
        return "journal"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "SETTLE", 0.05)
    monkeypatch.setattr(module, "UNDOING", 0.05)
    monkeypatch.setattr(module, "PAUSE", 0.01)


def carried_out(machine: Machine) -> list[str]:
    """The progress it reports. Raises what `apply` raises."""
    said: list[str] = []
    target = Target(
        Node("pi5", Platform.LINUX, "pi5", "pi5"),
        *(machine, machine, machine),
        machine.plan(None),
        lambda state: state.plan(None),
    )

    async def apply() -> None:
        await change_network(target, said.append, 1)
        await change_system(target, said.append)

    async def main() -> None:
        machine.presser = asyncio.ensure_future(apply())
        try:
            await machine.presser
        except asyncio.CancelledError:
            said.append("interrupted")

    asyncio.run(main())
    return said


def refused(machine: Machine) -> str:
    with pytest.raises(ApplyError) as error:
        carried_out(machine)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_it_is_armed_first_and_committed_only_when_a_new_connection_saw_it():
    machine = Machine()
    carried_out(machine)
    assert machine.ran[:3] == ["arm", "facts, fresh", "commit"]
    assert machine.done == {"change", "install"}
    assert machine.before is None


def test_a_step_that_fails_is_rolled_back():
    machine = Machine(fails=True)
    assert "`change` failed: no such thing; rolled back: the network is as before" in refused(
        machine
    )
    assert "rollback, fresh" in machine.ran
    assert "commit" not in machine.ran
    assert machine.done == set()


def test_somebody_else_s_checkpoint_is_left_alone():
    machine = Machine(held=True)
    assert refused(machine) == (
        "pi5: another setup (or another tool) holds a NetworkManager checkpoint on it; wait up to "
        "its timeout and run again; nothing was changed"
    )
    assert machine.ran == ["arm"]
    arming = LinuxState(want("pi5"), provisioned("pi5")).armed((), 90).splitlines()[1]
    assert arming.endswith("CheckpointCreate aouu 0 90 6) || exit 1")  # never flag 1: destroy all


def test_what_was_kept_for_undoing_goes_only_when_all_is_ready():
    machine = Machine()
    carried_out(machine)
    assert machine.ran[-2:] == ["alone", "tidy"]
    broken = Machine(listens=False)
    refused(broken)
    assert "tidy" not in broken.ran


def test_nothing_runs_once_the_checkpoint_is_gone(tmp_path):
    """The armed script, with a stand-in for busctl whose checkpoint ends during the second step."""
    program = tmp_path / "busctl"
    gone = tmp_path / "gone"
    program.write_text(
        f"""#!/bin/sh
case "$*" in
*CheckpointCreate*) echo 'o "{TOKEN}"' ;;
"get-property org.freedesktop.NetworkManager {TOKEN} "*.Checkpoint*) [ ! -e {gone} ] ;;
*) exit 1 ;;
esac
"""
    )
    program.chmod(0o755)
    steps = tuple(Step(c, "why") for c in ("echo one", f"touch {gone}", f"rm {gone}"))
    text = LinuxState(want("pi5"), evolve(provisioned("pi5"), uid=0)).armed(steps, 90)
    done = subprocess.run(
        ["/bin/sh", "-c", text],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert last_step(done.stdout) == (2, "not begun: the rollback was no longer armed")
    assert gone.exists()


def test_what_cannot_be_seen_is_rolled_back():
    machine = Machine(works=False)
    assert "it is not changed; rolled back: the network is as before" in refused(machine)
    assert "commit" not in machine.ran


def test_a_node_that_is_cut_off_comes_back_by_itself():
    machine = Machine(cuts=True)
    assert "the node rolled itself back: the network is as before" in refused(machine)
    assert machine.done == set()
    assert "commit" not in machine.ran


def test_a_node_that_stays_away_is_told_so():
    machine = Machine(cuts=True, stays_cut=True)
    assert "does not answer since" in refused(machine)


def test_nothing_is_installed_where_the_network_failed():
    machine = Machine(fails=True)
    refused(machine)
    assert "alone" not in machine.ran


def test_an_exporter_that_does_not_listen_is_undone():
    machine = Machine(listens=False)
    said = refused(machine)
    assert "the exporter does not listen" in said
    assert said.endswith("its last words: its last words; undone")
    assert machine.done == {"change"}  # the network stays: it was proven and committed


@pytest.mark.parametrize("during", ["arm", "facts"])
def test_interrupted_before_the_commit_it_is_rolled_back(during):
    machine = Machine(interrupt=during)
    said = carried_out(machine)
    assert said == [
        "pi5: interrupted; rolled back: the network is as before",
        "interrupted",
    ]
    assert machine.done == set()


def test_interrupted_in_the_commit_it_is_committed():
    machine = Machine(interrupt="commit")
    said = carried_out(machine)
    assert said[-1] == "interrupted"
    assert "committed" in said[0]
    assert machine.done == {"change"}
    assert "alone" not in machine.ran


def test_another_setup_that_installs_at_this_moment_is_left_alone():
    machine = Machine(busy=True)
    assert "another setup is installing on it at this moment; nothing was changed" in refused(
        machine
    )
    assert machine.ran[-1] == "alone"

"""What smolmon installed goes, and nothing else."""

from __future__ import annotations

import pytest
from attrs import evolve

from smolmon.setup.linux.facts import Connection, Facts
from smolmon.setup.linux.facts_system import File
from smolmon.setup.linux.removal import removal
from smolmon.setup.linux.service import LEFTOVERS, PATHS, SYSCTL_FILE
from smolmon.setup.linux.system import LinuxState
from smolmon.setup.steps import Plan
from tests.setup.material import after, bare, installed, want

NODES = ("mini1", "pi5")


def removed(node: str, facts: Facts) -> Facts:
    for step in removal(want(node), facts).steps:
        facts = after(facts, step)
    return facts


@pytest.mark.parametrize("node", NODES)
def test_a_bare_node_has_nothing_to_remove(node):
    assert removal(want(node), bare(node)) == Plan()


@pytest.mark.parametrize("node", NODES)
def test_afterwards_nothing_is_left(node):
    done = removed(node, installed(node))
    assert removal(want(node), done) == Plan()
    assert not {*PATHS, *LEFTOVERS} & set(done.files)
    assert done.folder == ()
    assert (done.service.active, done.service.enabled) == (False, False)
    assert {c.name for c in done.connections} == {c.name for c in bare(node).connections}
    assert done.sysctl["net.ipv4.ip_forward"] == "0"


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("count", range(12))
def test_it_goes_on_where_it_was_cut_short(node, count):
    facts = installed(node)
    for step in removal(want(node), facts).steps[:count]:
        facts = after(facts, step)
    done = removed(node, facts)
    assert removal(want(node), done) == Plan()
    assert done.sysctl["net.ipv4.ip_forward"] == "0"


def test_what_installing_left_goes_too():
    facts = installed("pi5")
    left = {path: File("0" * 64, 0) for path in LEFTOVERS}
    folder = (*facts.folder, *(p for p in LEFTOVERS if p.startswith("/opt/")))
    facts = evolve(facts, files={**facts.files, **left}, folder=folder)
    assert removed("pi5", facts).files == {}


@pytest.mark.parametrize("other", ["/etc/sysctl.d/99-router.conf", "docker0"])
def test_forwarding_stays_where_something_else_may_need_it(other):
    facts = installed("mini1")
    if other.startswith("/"):
        key = "net.ipv4.ip_forward"
        facts = evolve(facts, setters={**facts.setters, key: (SYSCTL_FILE, other)})
    else:
        port = evolve(facts.interfaces[0], name=other)
        facts = evolve(facts, interfaces=(*facts.interfaces, port))
    plan = removal(want("mini1"), facts)
    assert plan.notes == (f"it goes on forwarding: {other} may need it",)
    assert removed("mini1", facts).sysctl["net.ipv4.ip_forward"] == "1"


def test_forwarding_that_smolmon_never_asked_for_stays():
    facts = installed("pi5")
    facts = evolve(facts, sysctl={**facts.sysctl, "net.ipv4.ip_forward": "1"})
    assert removed("pi5", facts).sysctl["net.ipv4.ip_forward"] == "1"


def test_foreign_files_and_profiles_stay():
    facts = installed("pi5")
    wifi = Connection("x", "smolmon-home", "wlan0", "802-11-wireless")
    facts = evolve(
        facts,
        folder=(*facts.folder, "/opt/smolmon/notes.txt"),
        connections=(*facts.connections, wifi, Connection("y", "eth-static", "", "802-3-ethernet")),
    )
    plan = removal(want("pi5"), facts)
    assert plan.notes == ("/opt/smolmon stays: /opt/smolmon/notes.txt in it is not smolmon's",)
    assert not any("rmdir" in step.command for step in plan.steps)
    done = removed("pi5", facts)
    assert done.folder == ("/opt/smolmon", "/opt/smolmon/notes.txt")
    assert {"x", "y"} <= {c.uuid for c in done.connections}


def test_a_profile_that_carries_the_session_is_not_taken_away():
    facts = installed("pi5")
    own = facts.interface("eth0").addresses[0]
    state = LinuxState(want("pi5"), evolve(facts, ssh_address=str(own.ip)))
    (line,) = state.removal_refusals()
    assert "its profile smolmon-edge50 carries this SSH session on eth0" in line
    assert LinuxState(want("pi5"), facts).removal_refusals() == []

"""Segments kept apart and static neighbours: the plans for them, against a model of commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from smolmon.cluster.model import Apart
from smolmon.setup.linux import fence, neighbours
from smolmon.setup.linux.facts import Facts
from smolmon.setup.linux.facts_system import Fence, File, read_fence, read_permanent
from smolmon.setup.linux.kept import kept
from smolmon.setup.linux.neighbours import StaticNeighbour, dispatcher, entries, is_mac
from smolmon.setup.linux.sudoers import as_root, permit_words, sudoers
from smolmon.setup.linux.system import LinuxState, LinuxSystem
from smolmon.setup.linux.wanted import Wanted, wanted
from smolmon.setup.steps import Plan
from tests.setup.linux.test_sudoers import PROGRAMS, may
from tests.setup.linux.test_sudoers import patterns as patterns_of
from tests.setup.material import after, bare, bundle, guide, installed, strict, want

PI5, MINI1 = "02:00:00:00:00:05", "02:00:00:00:00:01"
MACS = {("edge50", "pi5"): PI5, ("edge50", "mini1"): MINI1}
BUNDLE = evolve(bundle(), macs=MACS)
NODES = ("mini1", "pi5")


def asked(node: str) -> Wanted:
    return wanted(strict(), node)


def with_nft(facts: Facts) -> Facts:
    return evolve(facts, programs={**PROGRAMS, **facts.programs})


def state(node: str, facts: Facts, of: Wanted | None = None) -> LinuxState:
    return LinuxState(of or asked(node), facts)


def carried_out(node: str, facts: Facts, of: Wanted | None = None) -> Facts:
    for step in state(node, facts, of).plan(BUNDLE).steps:
        facts = after(facts, step)
    return facts


def done(node: str) -> Facts:
    """A node after setup."""
    facts = carried_out(node, with_nft(bare(node)))
    ours = [path for path in facts.files if path.startswith("/opt/smolmon/")]
    return evolve(facts, folder=("/opt/smolmon", *ours, "/opt/smolmon/tls"))


@pytest.mark.parametrize("node", NODES)
def test_one_run_is_enough(node):
    assert state(node, done(node)).plan(BUNDLE) == Plan()
    assert done(node).fence.active == (node == "mini1")
    (entry,) = done(node).permanent
    assert entry.mac == {"mini1": PI5, "pi5": MINI1}[node]


def test_who_keeps_what_apart():
    assert asked("mini1").fence == asked("mini3").fence
    assert asked("mini2").fence is None  # no gateway: it passes nothing on
    assert asked("pi5").fence is None
    assert want("mini1").fence is None
    alone = evolve(
        strict(), segments=tuple(s for s in strict().segments if s.name not in ("edge51",))
    )
    assert wanted(alone, "mini1").fence is None  # there is nothing to keep it from


def test_rules_are_loaded_before_anything_is_passed_on():
    commands = [s.command for s in state("mini1", with_nft(bare("mini1"))).plan(BUNDLE).system]
    start = commands.index("sudo -n systemctl restart smolmon-isolation.service")
    forward = commands.index("sudo -n sysctl -q -w net.ipv4.ip_forward=1")
    assert start < forward


# -- what people and accidents do ---------------------------------------------------------------


def fenced(facts: Facts, **changes: object) -> Facts:
    return evolve(facts, fence=evolve(facts.fence, **changes))


def overwritten(facts: Facts, path: str) -> Facts:
    return evolve(facts, files={**facts.files, path: evolve(facts.files[path], sha256="0" * 64)})


def without(facts: Facts, path: str) -> Facts:
    return evolve(facts, files={p: f for p, f in facts.files.items() if p != path})


BY_HAND: list[tuple[Callable[[Facts], Facts], str]] = [
    (lambda f: fenced(f, live=()), "isolation: the kernel has no rules of it"),
    (lambda f: fenced(f, live=(*f.fence.live, "accept")), "also has `accept`"),
    (lambda f: fenced(f, live=("x",)), "lacks "),
    (lambda f: fenced(f, active=False, live=()), "is not active, so nothing keeps segments apart"),
    (lambda f: fenced(f, enabled=False), "smolmon-isolation.service does not start at boot"),
    (lambda f: fenced(f, reload_needed=True), "smolmon-isolation.service changed"),
    (lambda f: overwritten(f, fence.RULES), "the isolation file is another one"),
    (lambda f: overwritten(f, fence.UNIT_FILE), "the isolation unit is another one"),
    (lambda f: without(f, fence.RULES), "the isolation file is not installed"),
    (lambda f: without(f, fence.UNIT_FILE), "the isolation unit is not installed"),
    (lambda f: overwritten(f, neighbours.FILE), "the static neighbours' script is another one"),
    (lambda f: without(f, neighbours.FILE), "the static neighbours' script is not installed"),
    (
        lambda f: evolve(
            f,
            files={**f.files, neighbours.FILE: evolve(f.files[neighbours.FILE], mode=0o644)},
        ),
        "has the mode 0644 instead of 0755",
    ),
    (lambda f: evolve(f, permanent=()), "no MAC address of pi5 (192.168.50.2) is kept on en5"),
    (
        lambda f: evolve(
            f, permanent=(StaticNeighbour(IPv4Address("192.168.50.2"), MINI1, "en5"),)
        ),
        f"{MINI1} is kept for pi5 (192.168.50.2) on en5 instead of {PI5}",
    ),
]


@pytest.mark.parametrize(("change", "said"), BY_HAND, ids=range(len(BY_HAND)))
def test_what_is_altered_by_hand_is_named_and_repaired(change, said):
    altered = change(done("mini1"))
    plan = state("mini1", altered).plan(BUNDLE)
    assert any(said in step.why for step in plan.steps), plan
    assert not any("sysctl" in step.command or "exporter" in step.command for step in plan.steps)
    assert all(step.undo for step in plan.steps)
    assert state("mini1", carried_out("mini1", altered)).plan(BUNDLE) == Plan()


def test_a_peer_with_another_network_card():
    """Its entry is stale at once: in the script and in the kernel."""
    new = evolve(BUNDLE, macs={**MACS, ("edge50", "pi5"): "02:00:00:00:00:55"})
    plan = state("mini1", done("mini1")).plan(new)
    assert [step.why for step in plan.steps] == [
        "the static neighbours' script is another one",
        f"{PI5} is kept for pi5 (192.168.50.2) on en5 instead of 02:00:00:00:00:55",
    ]
    assert plan.steps[1].command == (
        "sudo -n ip neigh replace 192.168.50.2 lladdr 02:00:00:00:00:55 nud permanent dev en5"
    )


# -- what is not known ----------------------------------------------------------------------------


@pytest.mark.parametrize("said", [None, "", "00:00:00:00:00:00", "01:00:5e:00:00:01", "$(x)"])
def test_a_mac_address_that_is_not_known_changes_nothing(said):
    """A peer that is not in this run, or one that says what is no hardware address."""
    macs = {} if said is None else {("edge50", "pi5"): said}
    plan = state("mini1", done("mini1")).plan(evolve(BUNDLE, macs=macs))
    assert plan.steps == ()
    (note,) = plan.notes
    assert "the MAC address of pi5 is not known in this run, so " + PI5 + " stays" in note
    new = state("mini1", with_nft(bare("mini1"))).plan(evolve(BUNDLE, macs=macs))
    assert not any("neigh" in step.command for step in new.steps)
    (note,) = new.notes
    assert "so none is kept" in note


def test_the_network_alone_leaves_neighbours_as_they_are():
    facts = evolve(without(done("mini1"), neighbours.FILE), permanent=())
    assert state("mini1", facts).plan(None) == Plan()
    assert state("mini1", fenced(done("mini1"), live=())).plan(None).system != ()


# -- when it is not asked for any more ------------------------------------------------------------


@pytest.mark.parametrize("node", NODES)
def test_no_longer_asked_for(node):
    facts = carried_out(node, done(node), want(node))
    assert state(node, facts, want(node)).plan(BUNDLE) == Plan()
    assert facts.permanent == ()
    assert (facts.fence.live, facts.fence.active, facts.fence.enabled) == ((), False, False)
    assert not {fence.RULES, fence.UNIT_FILE, neighbours.FILE} & set(facts.files)


@pytest.mark.parametrize("node", NODES)
def test_removed_with_everything_else(node):
    facts = done(node)
    for step in state(node, facts).removal().steps:
        facts = after(facts, step)
    assert state(node, facts).removal() == Plan()
    assert (facts.files, facts.folder, facts.permanent) == ({}, (), ())
    assert facts.fence == Fence()


def test_rules_that_lost_their_unit_are_removed_from_the_kernel():
    plan = state("mini1", evolve(bare("mini1"), fence=Fence(live=("x",)))).removal()
    assert [s.command for s in plan.steps] == ["sudo -n nft delete table ip smolmon"]


def test_somebody_else_s_permanent_entries_stay():
    mine = StaticNeighbour(IPv4Address("192.168.50.77"), "02:00:00:00:00:77", "en5")
    facts = evolve(done("mini1"), permanent=(*done("mini1").permanent, mine))
    assert state("mini1", facts).plan(BUNDLE) == Plan()
    for step in state("mini1", facts).removal().steps:
        facts = after(facts, step)
    assert facts.permanent == (mine,)


# -- before, after, and by whom -------------------------------------------------------------------


def test_a_gateway_without_nft_is_refused():
    programs = {name: path for name, path in PROGRAMS.items() if name != "nft"}
    facts = evolve(bare("mini1"), programs=programs)
    line = "there is no nft, which `isolation: enforce` needs on a gateway: "
    assert line + "sudo apt install nftables" in state("mini1", facts).refusals()
    assert state("mini1", with_nft(facts)).refusals() == []
    assert state("pi5", evolve(bare("pi5"), programs=programs)).refusals() == []


def test_what_would_come_back_after_a_boot():
    rows = {row.what: row for row in kept(asked("mini1"), done("mini1"))}
    assert rows[fence.UNIT].live == "its rules are in force"
    assert rows["static neighbours on en5"].stored == "192.168.50.2"
    for change in ({"live": ()}, {"enabled": False}, {"made": ()}):
        rows = {r.what: r for r in kept(asked("mini1"), fenced(done("mini1"), **change))}
        assert rows[fence.UNIT].reason
    rows = {r.what: r for r in kept(asked("mini1"), evolve(done("mini1"), permanent=()))}
    row = rows["static neighbours on en5"]
    assert (row.live, bool(row.reason)) == (f"without 192.168.50.2 at {PI5}", True)


@pytest.mark.parametrize("node", NODES)
def test_a_narrow_sudoers_file_allows_all_of_it(node):
    patterns = patterns_of(sudoers(asked(node), with_nft(bare(node))))
    seen = [with_nft(bare(node)), done(node)]
    if node == "mini1":
        seen += [change(done(node)) for change, _ in BY_HAND]
        seen.append(evolve(bare(node), fence=Fence(live=("x",))))
    for facts in seen:
        one = state(node, facts)
        for plan in (one.plan(BUNDLE), one.plan(None), one.removal()):
            for step in plan.steps:
                for text in (step.command, step.undo or ""):
                    assert all(may(patterns, words) for words in as_root(text)), text
    for words in (fence.live(), fence.made()) if node == "mini1" else ():
        assert may(patterns, words), words
    for words in (
        ["ip", "neigh", "replace", "192.168.1.1", "lladdr", PI5, "nud", "permanent", "dev", "en5"],
        ["ip", "neigh", "del", "192.168.50.2", "dev", "wlan0"],
        ["nft", "flush", "ruleset"],
        ["unshare", "-n", "sh", "-c", "id"],
        ["systemctl", "stop", "nftables.service"],
    ):
        assert not may(patterns, words), words
    assert permit_words(asked(node)) != permit_words(want(node))


def test_nodes_that_need_no_nft_have_a_sudoers_file_without_it():
    programs = {n: p for n, p in PROGRAMS.items() if n not in ("nft", "unshare")}
    assert "/nft " not in sudoers(want("pi5"), evolve(bare("pi5"), programs=programs))


# -- text -----------------------------------------------------------------------------------------

MAC = st.lists(st.integers(0, 255), min_size=6, max_size=6).map(
    lambda octets: ":".join(f"{octet:02x}" for octet in (octets[0] & ~1 | 2, *octets[1:]))
)
ENTRY = st.builds(
    StaticNeighbour, st.integers(1, 2**32 - 1).map(IPv4Address), MAC, st.sampled_from(["en5", "e0"])
)


@given(st.dictionaries(st.uuids().map(str), st.lists(ENTRY, min_size=1, max_size=4), max_size=3))
def test_a_script_tells_what_it_keeps(kept_apart):
    text = dispatcher(kept_apart).decode()
    assert entries(text) == tuple(entry for some in kept_apart.values() for entry in some)


@given(st.text(max_size=30))
@example("02:00:00:00:00:05\n")
@example("02:00:00:00:00:0g")
def test_no_peer_gets_a_word_of_its_own_into_a_script(said):
    """What a node says of itself becomes a line of a script that root runs on another one."""
    macs = {("edge50", "pi5"): said}
    plan = state("mini1", with_nft(bare("mini1"))).plan(evolve(BUNDLE, macs=macs))
    if not is_mac(said):
        assert not any("neigh" in (step.command + step.why) for step in plan.steps)


def test_a_script_is_a_script(tmp_path):
    script = tmp_path / "script"
    odd = StaticNeighbour(IPv4Address("192.168.50.2"), PI5, "a'; touch x; '")
    script.write_bytes(dispatcher({"$(touch y)": [odd]}))
    subprocess.run(["sh", "-n", str(script)], check=True)
    (line,) = [x for x in script.read_text().splitlines() if "replace" in x]
    assert shlex.split(line)[-1] == odd.interface


def test_reading():
    text = '[{"dst":"192.168.50.2","dev":"en5","lladdr":"02:00:00:00:00:05","state":["PERMANENT"]}]'
    assert read_permanent(text) == (StaticNeighbour(IPv4Address("192.168.50.2"), PI5, "en5"),)
    assert read_permanent("") == read_permanent("[]") == ()
    unit = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no"
    table = "table ip smolmon {\n\tchain forward {\n\t\taccept\n\t}\n}\n"
    seen = read_fence(unit, table, "")
    assert (seen.active, seen.enabled, seen.made) == (True, True, ())
    assert "accept" in seen.live
    assert read_fence("", "", "") == Fence()


def test_only_who_has_rules_is_asked_for_them():
    """To see rules takes root, and a node without any may not even have nft."""
    strict_script = LinuxSystem(strict(), "mini1").facts_script()
    free_script = LinuxSystem(evolve(strict(), isolation=Apart.REPORT), "mini1").facts_script()
    assert "[ -e /opt/smolmon/isolation.nft ]" not in strict_script
    assert "[ -e /opt/smolmon/isolation.nft ]" in free_script
    for text in (strict_script, free_script):
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_files_of_earlier_runs_are_told_from_those_of_this_one():
    facts = evolve(installed("pi5"), files={**installed("pi5").files, fence.RULES: File("0", 0)})
    plan = LinuxState(wanted(guide(), "pi5"), facts).plan(None)
    assert f"sudo -n rm -f {fence.RULES}" in [s.command for s in plan.system]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_understands_the_unit_and_calls_it_hardened(tmp_path):
    file = tmp_path / fence.UNIT
    file.write_bytes(fence.unit("mini1", shutil.which("true")))
    rate = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(file)]
    for command in (["systemd-analyze", "verify", str(file)], rate):
        seen = subprocess.run(command, capture_output=True, text=True, check=False)
        assert str(tmp_path) not in seen.stderr, seen.stderr
    rated = re.search(r"Overall exposure level for \S+: ([\d.]+)", seen.stdout)
    assert float(rated[1]) <= 2.0

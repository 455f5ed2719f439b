"""`isolation: enforce` and `static_neighbors` on Macs: what is planned, what the daemons run."""

from __future__ import annotations

import subprocess
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml
from attrs import evolve

from smolmon.cluster import Cluster, derive
from smolmon.setup.macos import fence, neighbours, rollback
from smolmon.setup.macos.facts import Facts, Neighbour, parse
from smolmon.setup.macos.kept import kept
from smolmon.setup.macos.sudoers import commands
from smolmon.setup.macos.system import MacState, MacSystem
from smolmon.setup.macos.tools import ANCHOR, PF_RULES, PF_SCRIPT
from smolmon.setup.macos.wanted import wanted
from smolmon.setup.steps import Plan
from tests.setup.macos.material import done, loaded, text
from tests.setup.macos.model import mini
from tests.setup.material import GUIDE, bundle

MINI2, MINI3 = "36:90:11:cc:0f:40", "36:90:11:cc:0f:41"
PI5 = "d8:3a:dd:01:02:03"
MACS = {("fabric", "mini2"): MINI2, ("fabric", "mini3"): MINI3, ("edge50", "pi5"): PI5}
RULES = (
    "block drop in quick inet from 192.168.50.0/24 to 192.168.51.0/24\n"
    "block drop in quick inet from 192.168.51.0/24 to 192.168.50.0/24\n"
)
FREE = (
    "pass quick inet from 192.168.50.1 to 192.168.51.0/24 flags S/SA keep state\n"
    "pass quick inet from 192.168.51.2 to 192.168.50.0/24 flags S/SA keep state\n"
)
HELD = "TOKENS:\nPID Process Name TOKEN TIMESTAMP\n4063 pfctl 42 0 days 00:00:00"


@cache
def cluster() -> Cluster:
    """The guide's, with everything kept."""
    declared = yaml.safe_load(GUIDE.read_text())
    for segment in declared["segments"].values():
        segment["static_neighbors"] = True
    return loaded(declared | {"isolation": "enforce"})


def facts(bare: bool = False, **extra: str) -> Facts:
    """Of mini1, its network as wanted, or as macOS begins."""
    pf = {"pf-info": "Status: Disabled", "pf-rules": "", "pf-references": "", "pf-token": ""}
    state = mini()
    if not bare:
        steps = MacState(wanted(cluster(), "mini1"), parse(text(state), 9742)).plan(None).network
        state = done(state, [s.command for s in steps if "/usr/sbin/arp" not in s.command])
    return parse(text(state, **(pf | {"arp": "", "neighbors": ""} | extra)), 9742)


def planned(found: Facts, macs: dict[tuple[str, str], str] = MACS) -> Plan:
    return MacState(wanted(cluster(), "mini1"), found).plan(evolve(bundle(), macs=macs))


def arp(*entries: str) -> str:
    rows = [entry.split() for entry in entries]
    return "".join(f"? ({a}) at {m} on {i} ifscope permanent [bridge]\n" for a, m, i in rows)


ALL = ("10.10.0.2 36:90:11:cc:f:40 bridge0", "10.10.0.3 36:90:11:cc:f:41 bridge0")
ALL += ("192.168.50.2 d8:3a:dd:1:2:3 en5",)
SCRIPT = neighbours.script(
    [
        Neighbour(IPv4Address(address), mac, interface)
        for address, mac, interface in (
            ("10.10.0.2", MINI2, "bridge0"),
            ("10.10.0.3", MINI3, "bridge0"),
            ("192.168.50.2", PI5, "en5"),
        )
    ]
)


def test_the_rules_keep_the_edges_apart_and_let_gateways_cross() -> None:
    asked = wanted(cluster(), "mini1")
    text_ = fence.ruleset(asked.apart, asked.free).decode()
    assert text_ == "# Written by `smolmon setup`.\n" + FREE + RULES
    assert asked.apart == tuple(sorted(s.subnet for s in derive.kept_apart(cluster())))
    assert wanted(cluster(), "mini2").apart == ()  # no gateway
    assert wanted(loaded(yaml.safe_load(GUIDE.read_text())), "mini1").apart == ()


def test_what_is_missing_is_planned_and_undone() -> None:
    plan = planned(facts())
    assert [s.command for s in plan.network] == [
        "sudo -n /usr/sbin/arp -S 10.10.0.2 36:90:11:cc:0f:40 ifscope bridge0",
        "sudo -n /usr/sbin/arp -S 10.10.0.3 36:90:11:cc:0f:41 ifscope bridge0",
        "sudo -n /usr/sbin/arp -S 192.168.50.2 d8:3a:dd:01:02:03 ifscope en5",
    ]
    assert "arp -d 10.10.0.2 ifscope bridge0" in plan.network[0].undo
    (run,) = [s for s in plan.system if s.command == f"sudo -n /bin/sh {PF_SCRIPT}"]
    assert run.undo.startswith(f"sudo -n /sbin/pfctl -q -a {ANCHOR} -F rules && ")
    order = [s.command for s in plan.system]
    assert order.index(run.command) > next(i for i, c in enumerate(order) if f"{PF_RULES}.new" in c)


def test_all_as_wanted_is_nothing_to_do() -> None:
    live = {"pf-info": "Status: Enabled for 0 days", "pf-rules": FREE + RULES}
    live |= {"pf-references": HELD, "pf-token": "42", "arp": arp(*ALL), "neighbors": SCRIPT}
    found = facts(**live)
    plan = planned(found)
    assert plan.network == ()
    assert not [s for s in plan.system if s.command == f"sudo -n /bin/sh {PF_SCRIPT}"][1:]
    assert fence.differs(wanted(cluster(), "mini1"), found) == ""
    rows = {row[0]: row[1:] for row in kept(wanted(cluster(), "mini1"), found)}
    assert rows["neighbor 10.10.0.2"] == (MINI2, MINI2, "")
    assert rows["isolation"][1] == "on"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pf-rules": ""}, "are missing"),
        ({"pf-rules": "pass quick all"}, "are others"),
        ({"pf-info": "Status: Disabled"}, "pf is not enabled"),
        ({"pf-token": "43"}, "nobody holds pf enabled"),
    ],
)
def test_what_was_altered_by_hand_is_named(change: dict[str, str], said: str) -> None:
    live = {"pf-info": "Status: Enabled for 0 days", "pf-rules": FREE + RULES}
    live |= {"pf-references": HELD, "pf-token": "42"} | change
    assert any(said in step.why for step in planned(facts(**live)).system)


def test_a_static_neighbour_with_another_address_is_named_and_comes_back() -> None:
    found = facts(arp=arp(*ALL).replace("f:41", "f:99"), neighbors=SCRIPT)
    (step,) = planned(found).network
    assert "10.10.0.3 on bridge0 is 36:90:11:cc:0f:99 instead of 36:90:11:cc:0f:41" in step.why
    assert step.undo == "sudo -n /usr/sbin/arp -S 10.10.0.3 36:90:11:cc:0f:99 ifscope bridge0"


def test_where_the_address_is_set_too_the_entries_wait_for_it() -> None:
    steps = planned(facts(bare=True)).network
    entries = [n for n, s in enumerate(steps) if "/usr/sbin/arp" in s.command]
    assert len(entries) == 3
    for n in entries:
        assert steps[n].command.startswith("/bin/sh -c ")
        assert any("-setmanual" in s.command for s in steps[:n])


def test_a_mac_address_that_is_not_known_is_told_and_a_stored_one_stays() -> None:
    alone = {("fabric", "mini2"): MINI2}
    plan = planned(facts(), alone)
    assert len(plan.network) == 1
    assert [n.split(",")[0] for n in plan.notes] == [
        "fabric: the MAC address of mini3 is not known",
        "edge50: the MAC address of pi5 is not known",
    ]
    plan = planned(facts(neighbors=SCRIPT), alone)
    assert len(plan.network) == 3
    assert plan.notes == ()


def test_what_is_not_wanted_any_more_goes() -> None:
    found = facts(arp=arp(*ALL), neighbors=SCRIPT)
    plain = MacState(wanted(loaded(yaml.safe_load(GUIDE.read_text())), "mini1"), found)
    gone = [s.command for s in plain.plan(bundle()).network]
    assert gone == [
        f"sudo -n /usr/sbin/arp -d {a} ifscope {i}" for a, _, i in (e.split() for e in ALL)
    ]
    removed = [s.command for s in plain.removal().system if "/usr/sbin/arp" in s.command]
    assert removed == [f"{{ {command} 2>/dev/null || :; }}" for command in gone]


def test_removal_gives_back_our_reference_and_nobody_else_s() -> None:
    live = {"pf-info": "Status: Enabled for 0 days", "pf-rules": FREE + RULES}
    token = {"pf-references": HELD, "pf-token": "42"}
    state = MacState(wanted(cluster(), "mini1"), facts(**live, **token))
    pf = [s.command for s in state.removal().system if "pfctl" in s.command]
    assert pf == [f"sudo -n /sbin/pfctl -q -a {ANCHOR} -F rules", "sudo -n /sbin/pfctl -X 42"]
    stale = MacState(wanted(cluster(), "mini1"), facts(**live, **{"pf-token": "42"}))
    assert not any("-X" in s.command for s in stale.removal().system)


def test_pf_and_arp_are_asked_only_where_they_matter() -> None:
    plain = MacSystem(loaded(yaml.safe_load(GUIDE.read_text())), "mini1").facts_script()
    assert f"if false || [ -e {PF_SCRIPT} ]" in plain
    assert "if true ||" in MacSystem(cluster(), "mini1").facts_script(only_network=True)


# -- what the daemons run -------------------------------------------------------------------------

PFCTL = """\
#!/bin/sh
echo "$*" >>{log}
case $* in
  "-s References") cat {held} ;;
  -E) echo "pf enabled" >&2; echo "Token : 4711" >&2 ;;
esac
"""


def run(script: str, folder: Path, shell: str) -> int:
    path = folder / "script"
    path.write_text(script)
    return subprocess.run([shell, path], check=False, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_pf_is_held_once(tmp_path: Path, shell: str) -> None:
    tool, log, held = tmp_path / "pfctl", tmp_path / "log", tmp_path / "held"
    tool.write_text(PFCTL.format(log=log, held=held))
    tool.chmod(0o755)
    held.write_text("No pf starter references held\n")
    script = fence.SCRIPT.replace("/sbin/pfctl", str(tool)).replace("/opt/smolmon", str(tmp_path))
    assert run(script, tmp_path, shell) == 0
    assert (tmp_path / "pf.token").read_text() == "4711\n"
    held.write_text("PID\n1 pfctl 4711 0 days 00:00:00\n")
    assert run(script, tmp_path, shell) == 0
    load = f"-q -onone -a {ANCHOR} -f {tmp_path}/pf.conf"
    assert log.read_text().splitlines() == [
        *(load, "-E"),
        *(load, "-s References"),
    ]
    held.write_text("PID\n1 pfctl 94711 0 days 00:00:00\n")  # another one: after a boot
    assert run(script, tmp_path, shell) == 0
    assert log.read_text().splitlines()[-1] == "-E"


ARP = """\
#!/bin/sh
echo "$*" >>{log}
case $* in
  "-n 10.10.0.2") echo "? (10.10.0.2) at 36:90:11:cc:f:40 on bridge0 ifscope permanent [bridge]" ;;
  "-n 10.10.0.3") echo "? (10.10.0.3) at 36:90:11:cc:f:41 on bridge0 ifscope [bridge]" ;;
esac
"""


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_only_entries_that_differ_are_set_and_none_while_setup_is_at_work(
    tmp_path: Path, shell: str
) -> None:
    tool, log = tmp_path / "arp", tmp_path / "log"
    tool.write_text(ARP.format(log=log))
    tool.chmod(0o755)
    busy = tmp_path / "rollback"
    script = SCRIPT.replace("/usr/sbin/arp", str(tool)).replace(rollback.FOLDER, str(busy))
    assert run(script, tmp_path, shell) == 0
    assert [line for line in log.read_text().splitlines() if "-S" in line] == [
        "-S 10.10.0.3 36:90:11:cc:f:41 ifscope bridge0",
        "-S 192.168.50.2 d8:3a:dd:1:2:3 ifscope en5",
    ]
    log.unlink()
    busy.mkdir()
    assert run(script, tmp_path, shell) == 0
    assert not log.exists()


def test_the_sudoers_file_has_these_commands() -> None:
    allowed = {one.replace("\\", "") for one in commands()}
    assert f"/sbin/pfctl -a {ANCHOR} -s rules" in allowed
    assert f"/bin/sh {PF_SCRIPT}" in allowed
    assert not any("pfctl -d" in one or "-F all" in one for one in allowed)

"""The plan against recorded nodes, and against a model of what its commands do."""

from __future__ import annotations

import shlex
import stat
import subprocess
import time
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.setup.linux.facts import Connection, Facts, KernelRoute
from smolmon.setup.linux.facts_system import File
from smolmon.setup.linux.plan import plan
from smolmon.setup.linux.service import (
    AGENT,
    AUTHORITY,
    CERTIFICATE,
    KEY,
    LEFTOVERS,
    PATHS,
    WEB_CONFIG,
    WantedFile,
)
from smolmon.setup.linux.system import LinuxState
from smolmon.setup.linux.wanted import wanted
from smolmon.setup.steps import Plan
from tests.setup.material import IDENTITY, after, bare, bundle, files_of, provisioned, strict, want

NODES = ("mini1", "pi5")
PORT = {"mini1": "en5", "pi5": "eth0"}


def planned(node: str, facts: Facts, agent: bytes = b"agent") -> Plan:
    return plan(want(node), facts, files_of(node, facts, agent))


def carried_out(node: str, facts: Facts) -> Facts:
    for step in planned(node, facts).steps:
        facts = after(facts, step)
    return facts


@pytest.mark.parametrize("node", NODES)
def test_a_provisioned_node_needs_nothing(node):
    assert planned(node, provisioned(node)) == Plan()


@pytest.mark.parametrize("node", NODES)
def test_a_bare_node_needs_everything_once(node):
    done = carried_out(node, bare(node))
    assert planned(node, done) == Plan()
    assert done.sysctl["net.ipv4.ip_forward"] == ("1" if node == "mini1" else "0")


def test_the_guide_s_own_commands_for_pi5():
    commands = [step.command for step in planned("pi5", bare("pi5")).network]
    assert commands[0] == (
        "sudo -n nmcli connection add type ethernet con-name smolmon-edge50 ifname eth0 "
        "connection.uuid a8d2a573-8e40-56ae-a1c3-8980a86297c6 connection.autoconnect no "
        "connection.autoconnect-priority 10 ipv4.method manual ipv4.addresses 192.168.50.2/24 "
        "ipv4.gateway '' ipv4.routes '10.10.0.0/24 192.168.50.1' ipv4.never-default yes "
        "ipv4.dns '' ipv6.method link-local"
    )
    assert [c.split(" ", 2)[2].split(" uuid")[0] for c in commands[1:]] == [
        "nmcli --wait 30 connection up",
        "nmcli connection modify",
    ]


@pytest.mark.parametrize("node", NODES)
def test_only_a_link_that_carries_nothing_yet_is_idle(node):
    assert planned(node, bare(node)).idle
    used = bare(node)
    for port in {link.profile.interface for link in want(node).links}:
        used = _interface(used, port, ipv6=("fe80::1", "2001:db8::7"))
    assert not planned(node, used).idle
    for alter in (another_active, altered_profile, lose_routes, lose_address, stolen_default):
        assert not planned(node, alter(provisioned(node), node)).idle


def test_root_needs_no_sudo():
    steps = planned("pi5", evolve(bare("pi5"), uid=0)).steps
    assert not any("sudo" in f"{step.command} {step.undo}" for step in steps)


# -- what people and accidents do to a node -----------------------------------------------------


def _interface(facts: Facts, name: str, **changes: object) -> Facts:
    return evolve(
        facts,
        interfaces=tuple(evolve(i, **changes) if i.name == name else i for i in facts.interfaces),
    )


def lose_routes(facts: Facts, node: str) -> Facts:
    return evolve(facts, routes=tuple(r for r in facts.routes if r.device != PORT[node]))


def lose_address(facts: Facts, node: str) -> Facts:
    return _interface(lose_routes(facts, node), PORT[node], addresses=())


def extra_address(facts: Facts, node: str) -> Facts:
    port = facts.interface(PORT[node])
    return _interface(
        facts, PORT[node], addresses=(*port.addresses, IPv4Interface("192.168.51.4/24"))
    )


def wrong_gateway(facts: Facts, node: str) -> Facts:
    wrong = KernelRoute(IPv4Network("10.10.0.0/24"), IPv4Address("192.168.50.99"), PORT[node])
    return evolve(facts, routes=(wrong, *facts.routes))


def stolen_default(facts: Facts, node: str) -> Facts:
    profile = facts.applied[PORT[node]]
    altered = evolve(profile, gateway="192.168.50.1", never_default=False)
    default = KernelRoute(IPv4Network("0.0.0.0/0"), IPv4Address("192.168.50.1"), PORT[node])
    return evolve(
        facts,
        stored={**facts.stored, profile.uuid: altered},
        applied={**facts.applied, PORT[node]: altered},
        routes=(default, *facts.routes),
    )


def altered_profile(facts: Facts, node: str) -> Facts:
    uuid = facts.applied[PORT[node]].uuid
    altered = evolve(facts.stored[uuid], routes=(), name="mine", priority=0, autoconnect=False)
    return evolve(facts, stored={**facts.stored, uuid: altered})


def duplicate(facts: Facts, node: str) -> Facts:
    name = facts.applied[PORT[node]].name
    return evolve(
        facts, connections=(*facts.connections, Connection("another", name, "", "802-3-ethernet"))
    )


def another_active(facts: Facts, node: str) -> Facts:
    other = evolve(facts.applied[PORT[node]], uuid="eth-static", name="eth-static", routes=())
    return lose_routes(evolve(facts, applied={**facts.applied, PORT[node]: other}), node)


def deleted_profile(facts: Facts, node: str) -> Facts:
    uuid = facts.applied[PORT[node]].uuid
    facts = evolve(
        facts,
        stored={k: v for k, v in facts.stored.items() if k != uuid},
        applied={k: v for k, v in facts.applied.items() if k != PORT[node]},
        connections=tuple(c for c in facts.connections if c.uuid != uuid),
    )
    return lose_address(facts, node)


def link_down(facts: Facts, node: str) -> Facts:
    return _interface(lose_routes(facts, node), PORT[node], up=False, carrier=False)


def pings_forbidden(facts: Facts, node: str) -> Facts:
    return evolve(facts, sysctl={**facts.sysctl, "net.ipv4.ping_group_range": "1 0"})


def another_agent(facts: Facts, node: str) -> Facts:
    old = evolve(facts.files[AGENT], sha256="0" * 64)
    return evolve(facts, files={**facts.files, AGENT: old})


def older_process(facts: Facts, node: str) -> Facts:
    return evolve(facts, service=evolve(facts.service, started=facts.service.started - 3600))


def stopped(facts: Facts, node: str) -> Facts:
    return evolve(facts, service=evolve(facts.service, active=False, started=None))


def disabled(facts: Facts, node: str) -> Facts:
    return evolve(facts, service=evolve(facts.service, enabled=False))


def not_reloaded(facts: Facts, node: str) -> Facts:
    return evolve(facts, service=evolve(facts.service, reload_needed=True))


def _altered(facts: Facts, path: str, **changes: object) -> Facts:
    return evolve(facts, files={**facts.files, path: evolve(facts.files[path], **changes)})


def another_certificate(facts: Facts, node: str) -> Facts:
    return _altered(facts, CERTIFICATE, sha256="0" * 64)


def another_authority(facts: Facts, node: str) -> Facts:
    return _altered(facts, AUTHORITY, sha256="0" * 64)


def lost_key(facts: Facts, node: str) -> Facts:
    return evolve(facts, files={p: f for p, f in facts.files.items() if p != KEY})


def open_key(facts: Facts, node: str) -> Facts:
    return facts if KEY not in facts.files else _altered(facts, KEY, mode=0o644)


def stranger_s_agent(facts: Facts, node: str) -> Facts:
    return _altered(facts, AGENT, owner=1000)


def no_mutual_tls(facts: Facts, node: str) -> Facts:
    return _altered(facts, WEB_CONFIG, sha256="0" * 64)


ACCIDENTS = (
    another_certificate,
    another_authority,
    lost_key,
    open_key,
    stranger_s_agent,
    no_mutual_tls,
    lose_routes,
    lose_address,
    extra_address,
    wrong_gateway,
    stolen_default,
    altered_profile,
    duplicate,
    another_active,
    link_down,
    pings_forbidden,
    another_agent,
    older_process,
    stopped,
    disabled,
    not_reloaded,
    deleted_profile,
)


@pytest.mark.parametrize("accident", ACCIDENTS)
@pytest.mark.parametrize("node", NODES)
def test_each_accident_is_seen_and_repaired(node, accident):
    broken = accident(provisioned(node), node)
    assert planned(node, broken).steps
    assert planned(node, carried_out(node, broken)) == Plan()


@given(st.sampled_from(NODES), st.lists(st.sampled_from(ACCIDENTS), unique=True))
@settings(max_examples=150, deadline=None)
def test_carrying_out_the_plan_leaves_nothing_to_do(node, accidents):
    broken = provisioned(node)
    for accident in sorted(accidents, key=ACCIDENTS.index):  # a deleted profile cannot be altered
        broken = accident(broken, node)
    assert bool(planned(node, broken).steps) == bool(accidents)
    assert planned(node, carried_out(node, broken)) == Plan()


def test_what_only_the_kernel_lost_is_put_back_without_taking_the_link_down():
    steps = planned("pi5", lose_routes(provisioned("pi5"), "pi5")).network
    assert len(steps) == 1
    assert "device reapply eth0" in steps[0].command
    assert "10.10.0.0/24 via 192.168.50.1 is missing" in steps[0].why


def test_a_stored_change_that_was_never_applied_leaves_the_link_alone():
    steps = planned("pi5", altered_profile(provisioned("pi5"), "pi5")).network
    assert [step.command.split()[2:5] for step in steps] == [["nmcli", "connection", "modify"]]
    assert "name is mine instead of smolmon-edge50" in steps[0].why
    assert "routes is empty instead of 10.10.0.0/24 via 192.168.50.1" in steps[0].why


def test_forwarding_is_turned_on_for_gateways_and_never_off():
    facts = provisioned("mini1")
    off = evolve(facts, sysctl={**facts.sysctl, "net.ipv4.ip_forward": "0"})
    (step,) = planned("mini1", off).system
    assert step.command == "sudo -n sysctl -q -w net.ipv4.ip_forward=1"
    assert step.undo == "sudo -n sysctl -q -w net.ipv4.ip_forward=0"
    docker = provisioned("pi5")
    docker = evolve(docker, sysctl={**docker.sysctl, "net.ipv4.ip_forward": "1"})
    assert planned("pi5", docker) == Plan()


def test_a_new_agent_restarts_the_exporter_and_can_be_taken_back():
    steps = planned("pi5", provisioned("pi5"), agent=b"newer").system
    assert [step.content for step in steps] == [b"newer", None]
    assert steps[1].command == "sudo -n systemctl restart smolmon-exporter.service"
    assert steps[0].undo == (
        f"{{ [ ! -e {AGENT}.previous ] || [ {AGENT}.previous -ef {AGENT} ] "
        f"|| sudo -n mv -f {AGENT}.previous {AGENT}; }} "
        f"&& sudo -n rm -f {AGENT}.new {AGENT}.previous && sudo -n systemctl daemon-reload "
        "&& sudo -n systemctl restart smolmon-exporter.service"
    )


def test_a_renewed_certificate_is_read_without_a_restart():
    (step,) = planned("pi5", another_certificate(provisioned("pi5"), "pi5")).system
    assert step.why == "the certificate is another one"
    assert "systemctl" not in f"{step.command} {step.undo}"


@pytest.mark.parametrize(
    ("accident", "why", "what"),
    [
        (lost_key, "the key is not installed", "the key"),
        (open_key, "the key has the mode 0644 instead of 0600", "the key"),
        # Whoever is connected already would stay so.
        (another_authority, "the authority's certificate is another one", None),
        (no_mutual_tls, "the web configuration is another one", None),
    ],
)
def test_whatever_decides_who_is_let_in_restarts_the_exporter(accident, why, what):
    install, restart = planned("pi5", accident(provisioned("pi5"), "pi5")).system
    assert install.why == why
    assert restart.command == "sudo -n systemctl restart smolmon-exporter.service"
    assert restart.why == f"the running exporter predates {what or why.partition(' is ')[0]}"
    assert ("-m 0600 " in install.command) == (what == "the key")


def test_a_clock_by_which_certificates_are_not_valid_is_told():
    facts = evolve(provisioned("pi5"), clock=1_700_000_000)
    files = files_of("pi5", facts)
    (note,) = plan(want("pi5"), facts, files, (1_700_000_001, 1_800_000_000)).notes
    assert "its clock says 2023-11-14 22:13 UTC, but" in note
    assert "sudo timedatectl set-ntp true" in note
    (note,) = plan(want("pi5"), facts, files, (1_600_000_000, 1_700_000_000)).notes
    assert "due to be renewed on 2023-11-14 22:13 UTC: `smolmon render DIR`" in note
    for window in (None, (1_700_000_000, 1_700_000_001)):
        assert not plan(want("pi5"), facts, files, window).notes
    assert not plan(want("pi5"), evolve(facts, clock=None), files, (0, 1)).notes


def test_no_one_else_can_read_a_key_while_it_is_installed(tmp_path):
    """As it happens: the key arrives slowly, and the umask lets everybody read."""
    folder = tmp_path / "tls"
    facts = evolve(bare("pi5"), uid=0)
    (step,) = (s for s in planned("pi5", facts).system if s.content == IDENTITY.key)
    command = step.command.replace("/opt/smolmon/tls", shlex.quote(str(folder)))
    new, key = folder / "node.key.new", folder / "node.key"
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"umask 000; {command}"], stdin=subprocess.PIPE, bufsize=0
    )
    assert process.stdin
    process.stdin.write(IDENTITY.key[:1])
    deadline = time.monotonic() + 10
    while not (new.exists() and new.stat().st_size == 1):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert not key.exists()
    process.stdin.write(IDENTITY.key[1:])
    process.stdin.close()
    assert process.wait(10) == 0
    assert key.read_bytes() == IDENTITY.key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_without_carrier_the_profile_is_stored_and_nothing_is_activated():
    unplugged = _interface(bare("pi5"), "eth0", carrier=False)
    found = planned("pi5", unplugged)
    assert not any("connection up" in step.command for step in found.network)
    assert "eth0 has no carrier" in found.notes[0]
    done = carried_out("pi5", unplugged)
    assert planned("pi5", done).steps == ()
    assert next(iter(done.stored.values())).autoconnect


def test_another_network_s_profile_and_address_are_left_alone():
    facts = provisioned("pi5")
    port = facts.interface("eth0")
    facts = _interface(facts, "eth0", addresses=(*port.addresses, IPv4Interface("10.99.0.1/24")))
    facts = evolve(
        facts, connections=(*facts.connections, Connection("x", "eth-static", "", "802-3-ethernet"))
    )
    assert planned("pi5", facts) == Plan()


def test_a_profile_of_another_kind_with_such_a_name_is_left_alone():
    facts = provisioned("pi5")
    wifi = Connection("x", "smolmon-home", "", "802-11-wireless")
    facts = evolve(facts, connections=(*facts.connections, wifi))
    assert planned("pi5", facts) == Plan()


@pytest.mark.parametrize("breaks", ["rm", "ln", "install", "mv", None])
def test_undoing_an_installation_brings_back_what_was_there_and_leaves_nothing(tmp_path, breaks):
    """On real files, with a stale copy from long ago, and each command failing in turn."""
    bin_, here = tmp_path / "bin", tmp_path / "here"
    bin_.mkdir()
    here.mkdir()
    file = here / "file"
    if breaks:
        program = bin_ / breaks
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    for name, text in (("file", "former"), ("file.previous", "stale"), ("file.new", "stale")):
        (here / name).write_text(text)
    facts = evolve(bare("pi5"), uid=0, files={str(file): File("0" * 64, 0)})
    (step, *_) = plan(
        want("pi5"), facts, (WantedFile(str(file), "the file", b"wanted", exporter=False),)
    ).system

    def sh(text: str, path: str) -> int:
        return subprocess.run(
            ["/bin/sh", "-c", text], input=b"wanted", env={"PATH": path}, check=False
        ).returncode

    status = sh(step.command, f"{bin_}:/usr/bin:/bin")
    assert (status == 0) == (breaks is None)
    assert file.read_text() == ("wanted" if status == 0 else "former")
    if breaks != "rm":  # with that nothing began, and what is stale stays
        assert sh(step.undo, "/usr/bin:/bin") == 0
        assert file.read_text() == "former"
        assert [p.name for p in here.iterdir()] == ["file"]


def test_what_installing_leaves_is_tidied_up():
    steps = [s for node in NODES for s in planned(node, bare(node)).system if s.content]
    again = evolve(provisioned("pi5"), files={s: File("0" * 64, 0) for s in PATHS})
    steps += [s for s in planned("pi5", again).system if s.content]
    state = LinuxState(wanted(strict(), "mini1"), provisioned("mini1"))
    macs = {("edge50", "pi5"): "02:00:00:00:00:05"}
    there = evolve(state.facts, files={s: File("0" * 64, 0) for s in PATHS})
    for facts in (state.facts, there):
        steps += evolve(state, facts=facts).plan(evolve(bundle(), macs=macs)).system
    kept = {w for s in steps for w in s.command.split() if w.endswith((".new", ".previous"))}
    assert kept == set(LEFTOVERS)
    left = evolve(bare("pi5"), files={LEFTOVERS[1]: File("0" * 64, 0)})
    assert LinuxState(want("pi5"), left).tidy().split()[4:] == list(LEFTOVERS)
    assert LinuxState(want("pi5"), bare("pi5")).tidy() == ""


@pytest.mark.parametrize("node", NODES)
def test_the_network_alone_leaves_the_exporter_as_it_is(node):
    steps = LinuxState(want(node), bare(node)).plan(None).steps
    assert not any(word in step.command for step in steps for word in ("/opt", "systemctl"))
    forwards = [s for s in steps if "net.ipv4.ip_forward=1" in s.command]
    assert len(forwards) == (node == "mini1")
    done = bare(node)
    for step in steps:
        done = after(done, step)
    assert LinuxState(want(node), done).plan(None) == Plan()


def test_a_node_without_libiperf_is_named_with_the_remedy():
    facts = evolve(provisioned("pi5"), libiperf=False)
    (note,) = planned("pi5", facts).notes
    assert note.endswith("on the node: sudo apt install libiperf0")
    for silent in (True, None):
        assert not planned("pi5", evolve(facts, libiperf=silent)).notes
    off = evolve(want("pi5"), bandwidth=False)
    assert not plan(off, facts, files_of("pi5", facts, b"agent")).notes

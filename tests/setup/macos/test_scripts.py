"""Every script is one that any POSIX shell reads, and no name in it is ever more than a word."""

from __future__ import annotations

import plistlib
import shutil
import socket
import subprocess
import sys
from fnmatch import fnmatch
from ipaddress import IPv4Address

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.cluster.model import Kind
from smolmon.setup.looks import Hop, parse_ping
from smolmon.setup.macos import launchd, networksetup, rollback
from smolmon.setup.macos.facts import Facts, Python, parse
from smolmon.setup.macos.kept import kept
from smolmon.setup.macos.service import files, listen_address
from smolmon.setup.macos.sudoers import commands, sudoers
from smolmon.setup.macos.system import MacState, MacSystem
from smolmon.setup.macos.tools import PATHS, PYTHONS
from smolmon.setup.macos.wanted import member_port
from smolmon.setup.script import steps_script, undo_script
from smolmon.setup.shell import command
from tests.macos.recorded import recorded
from tests.setup.macos.material import facts, guide, planned, provisioned, text, want
from tests.setup.macos.model import change, device_of, mini
from tests.setup.material import bundle

SHELLS = [[s] for s in [shutil.which("dash")] if s] + [["bash", "--posix"]]
NODES = ("mini1", "mini2", "mini3")
# Everything that an argument can hold; a service's name is one line of the tool's own output.
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAMES = WORDS.map(lambda w: "".join(w.split("\n")).strip()).filter(
    lambda w: w and w.isprintable() and not w.startswith("smolmon-")
)
BARE = facts(mini())


def sh(script: str, *shell: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*(shell or ["/bin/sh"]), "-s"], input=script.encode(), capture_output=True, check=False
    )


def state_of(found: Facts) -> MacState:
    return MacState(want(), found)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
@pytest.mark.parametrize("node", NODES)
def test_every_script_is_read_by_every_shell(node, shell):
    system, plan, state = MacSystem(guide(), node), planned(mini(), node), state_of(BARE)
    scripts = [
        *(system.facts_script(only_network=True), system.alone()),
        *(f"x=$({system.connect(IPv4Address('10.10.0.1'), 65432)})", system.settled()),
        *(system.facts_script(), system.settled(), system.ready(10.0), system.forwarding()),
        system.agent("bandwidth", "end"),
        *(system.ping(IPv4Address("10.10.0.1"), 3, "en5"), system.route(IPv4Address("10.10.0.1"))),
        *(state.armed(plan.network, 90), state.commit("a" * 16), state.rollback("a" * 16)),
        *(state.tidy(), state.journal(), steps_script(plan.system), undo_script(plan.steps)),
        *(steps_script(state.removal().system), rollback.script(plan.network, 90, "a" * 16)),
        f"port={member_port('9c:eb:e8:98:0e:62', Kind.ETHERNET)}",
    ]
    for script in scripts:
        done = subprocess.run(
            [*shell, "-n"], input=script.encode(), capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), script
        # What macOS does not have, or has another meaning there.
        for word in ("install -D", "/dev/stdin", "stat -c", "sha256sum", "nmcli", "systemctl"):
            assert word not in script


@given(NAMES)
@settings(max_examples=80, deadline=None)
def test_a_hostile_name_of_a_service_stays_a_word(hostile):
    state = mini()
    state["services"][2]["name"] = hostile
    first, *_ = planned(state).network
    out = sh("sudo() { printf '%s\\0' \"$@\"; }\n" + first.command).stdout.decode()
    assert out.split("\0")[3:4] == [hostile]
    # The undo is run by the dead-man switch, where sudo is the shell's own function.
    daemon = rollback.script([first], 1, "a" * 16, "/nonexistent")
    calls = daemon.replace("/usr/sbin/networksetup", "printf '%s\\0'").replace(
        "\nmain\n", "\nundo_0\n"
    )
    assert sh(calls).stdout.decode().split("\0")[:2] == ["-setdhcp", hostile]


@given(NAMES)
@settings(max_examples=40, deadline=None)
def test_the_facts_script_asks_for_each_service_by_its_very_name(hostile):
    """Its loop over the services, by the real shell, with a networksetup that echoes."""
    state = mini()
    state["services"][0]["name"] = hostile
    order = text(state).split("@@order\n")[1].split("@@")[0]
    from smolmon.setup.macos.asking import _services  # noqa: PLC0415

    loop = _services().replace("/usr/sbin/networksetup", "printf '<%s>\\n'")
    out = sh(f"order={command(order)}\n{loop}").stdout.decode()
    assert f"@@info {hostile}\n<-getinfo>\n<{hostile}>\n" in out


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({0: 13, 3: 9}, 0),
        ({1: 9, 2: 12, 3: 9}, 2),
        ({3: 10}, 3),
        ({3: 9}, 3),  # it says itself what it cannot do
    ],
)
def test_the_agent_is_run_by_the_interpreter_that_the_service_has(tmp_path, there, chosen):
    """The first new enough: Apple's own is 3.9, and all that the search path has."""
    script = MacSystem(guide(), "mini1").agent("bandwidth", "end")
    for number, path in enumerate(PYTHONS):
        python = tmp_path / str(number)
        script = script.replace(path, str(python))
        if number in there:
            test = f"import sys\nsys.version_info = (3, {there[number]})\nexec(sys.argv[1])"
            real = command(sys.executable, "-c", test)
            python.write_text(
                f'#!/bin/sh\n[ "$1" != -c ] || exec {real} "$2"\necho {number} "$@"; exit 7\n'
            )
            python.chmod(0o755)
    done = sh(script)
    assert done.stdout.decode() == f"{chosen} /opt/smolmon/smolmon.pyz bandwidth end\n"
    assert done.returncode == 7
    versions = [Python(PYTHONS[n], (3, minor), "/x") for n, minor in there.items()]
    assert evolve(BARE, pythons=tuple(versions)).python.path == PYTHONS[chosen]


@given(WORDS.filter(bool))
@settings(max_examples=40, deadline=None)
def test_a_hostile_token_is_neither_a_command_nor_a_way_to_another_folder(hostile):
    root = state_of(evolve(BARE, uid=0))
    script = root.commit(hostile).split("\n")[0].removesuffix(" || exit 1")
    words = sh(script.replace("/bin/mv", "printf '%s\\n'", 1)).stdout.decode().splitlines()
    assert len(words) == 2
    assert all(w.rpartition("/")[0] == rollback.FOLDER for w in words)


def test_the_sudoers_file_covers_everything_that_is_run_as_root():
    """`test_apply` runs a whole setup with it; here is what that does not come to."""
    allowed = [one.replace("\\", "") for one in commands()]
    state = mini(firewall=1)
    plans = [planned(state), planned(provisioned()), state_of(facts(provisioned())).removal()]
    change(state, state["services"][0], method="manual", address="192.168.50.9", mask="255.0.0.0")
    plans.append(planned(state))
    said = "\n".join(f"{step.command}\n{step.undo}" for plan in plans for step in plan.steps)
    ran = [
        part.split(";")[0].split(" </dev")[0].split(" >")[0].split(" 2>")[0].split(" ||")[0]
        for part in said.replace(" && ", "\n").split("sudo -n ")[1:]
    ]
    lines = [" ".join(part.split("\n")[0].replace("'", "").split()).rstrip(" )") for part in ran]
    for line in lines:
        assert any(fnmatch(line, one) or fnmatch(f"{line} ", one) for one in allowed), line


def test_the_sudoers_file_is_one_that_sudo_reads(tmp_path):
    found = sudoers("a user")
    assert found.endswith("a\\ user ALL = (root) NOPASSWD: SMOLMON\n")
    assert "net.inet.ip.forwarding\\=1" in found
    if visudo := shutil.which("visudo"):
        file = tmp_path / "smolmon"
        file.write_text(sudoers("train"))
        subprocess.run([visudo, "-cf", file], check=True, capture_output=True)


# -- daemons ------------------------------------------------------------------------------------


def test_the_exporter_s_daemon():
    found = {f.path: f for f in files(want(), BARE, bundle())}
    plist = plistlib.loads(found["/Library/LaunchDaemons/dev.smolmon.exporter.plist"].content)
    assert plist["ProgramArguments"] == [
        *("/opt/homebrew/bin/python3", "/opt/smolmon/smolmon.pyz", "exporter"),
        *("--node", "mini1", "--cluster", "/opt/smolmon/cluster.yaml"),
        *("--listen", "192.168.1.11:9742", "--web.config.file", "/opt/smolmon/web.yml"),
    ]
    assert (plist["UserName"], plist["GroupName"]) == ("nobody", "nobody")
    assert plist["KeepAlive"] is True
    assert plist["ProcessType"] == "Interactive"
    assert plistlib.loads(launchd.forwarding())["StartInterval"] == 300
    assert set(found) < set(PATHS)


def test_only_gateways_get_the_forwarding_daemon():
    assert files(want("mini2"), BARE, bundle())[0].path == "/opt/smolmon/smolmon.pyz"
    assert "forwarding" in files(want("mini3"), BARE, bundle())[0].path


def test_the_exporter_never_listens_everywhere():
    named = evolve(want(), management="mini1.local")
    assert listen_address(named, BARE) == "192.168.1.11:9742"
    link_local = facts(mini(), ssh="fe80::1%en9 5 fe80::c1d:55aa:9f3e:1%en1 22")
    assert listen_address(named, link_local) == "192.168.1.11:9742"
    assert listen_address(named, evolve(BARE, ssh_address=None)) == "127.0.0.1:9742"


def test_a_gateway_that_is_none_any_more_stops_forwarding():
    state = mini(forwarding=1)
    daemon = "/Library/LaunchDaemons/dev.smolmon.forwarding.plist"
    python = '{"version": [3, 12], "program": "/x", "files": {"' + daemon + '": [420, 1]}}'
    extra = {"python /opt/homebrew/bin/python3": python, "job dev.smolmon.forwarding": "state = x"}
    found = parse(text(state, **extra), 9742)
    steps = MacState(want("mini2"), found).plan(bundle()).system
    assert any("forwarding=0" in step.command for step in steps)
    # Without our daemon it was somebody else, and stays.
    others = MacState(want("mini2"), facts(state)).plan(bundle()).system
    assert not any("forwarding=0" in step.command for step in others)


# -- looks ----------------------------------------------------------------------------------------


def test_what_verify_looks_at():
    system = MacSystem(guide(), "mini1")
    assert system.hop(recorded("route_get.txt")) == Hop("bridge0", IPv4Address("10.10.0.3"))
    assert system.hop(recorded("route_get_on_link.txt")).gateway is None
    assert system.hop(recorded("route_get_rejected.txt")) is None
    assert system.hop(recorded("route_get_not_in_table.txt")) is None
    assert parse_ping(recorded("ping.txt")).answers
    assert "-W 1000 -b en5 10.10.0.1" in system.ping(IPv4Address("10.10.0.1"), 3, "en5")


@pytest.mark.parametrize(
    ("mac", "kind", "name"),
    [
        ("9c:eb:e8:98:0e:62", Kind.ETHERNET, "en5"),
        ("36:7e:4d:07:b2:c0", Kind.ETHERNET, "en2"),
        ("36:7e:4d:07:b2:c0", Kind.THUNDERBOLT, "bridge0"),
        ("02:00:00:00:00:01", Kind.ETHERNET, ""),
    ],
)
def test_a_port_is_found_by_its_mac_address(mac, kind, name):
    word = member_port(mac, kind).replace("/sbin/ifconfig -a", "printf '%s' \"$ifconfig\"")
    out = sh(f"ifconfig={command(recorded('ifconfig_a.txt'))}\nprintf '%s' {word}").stdout
    assert out.decode() == name


def test_a_connection_is_tried_for_a_bounded_time():
    system = MacSystem(guide(), "mini1")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        there = system.connect(IPv4Address("127.0.0.1"), port)
        assert sh(there).stdout == b"refused\n"
        listener.listen()
        assert sh(there).stdout == b"open\n"


def test_two_installations_at_once_are_kept_apart(tmp_path):
    alone = MacSystem(guide(), "mini1").alone().replace("/Library/LaunchDaemons", str(tmp_path))
    script = f"{alone}\n/bin/sh -s <<'@@' || echo second $?\n{alone}\n@@\necho first\n"
    assert sh(script).stdout == b"second 75\nfirst\n"
    assert sh(f"{alone}\necho free\n").stdout == b"free\n"


def test_the_network_alone_can_be_asked_and_planned():
    state = mini()
    some = ("user", "sudo", "ssh", "location", "order", "ports", "interfaces", "netstat")
    told = text(state)
    blocks = [
        b for b in told.split("@@") if b.split("\n")[0].split(" ")[0] in (*some, "info", "routes")
    ]
    found = MacState(want(), parse("@@".join(["", *blocks]), 9742))
    assert found.plan(None).network == planned(state).network
    assert {s.content for s in found.plan(None).system} == {None, launchd.forwarding()}


def test_what_is_kept_for_a_reboot_is_compared_with_what_is_live():
    rows = {row[0]: row[1:] for row in kept(want(), facts(provisioned()))}
    assert rows["address of Thunderbolt Bridge"] == ("10.10.0.1/24", "10.10.0.1/24", "")
    assert rows["route 192.168.51.0/24"] == ("via 10.10.0.3", "via 10.10.0.3", "")
    assert rows["net.inet.ip.forwarding"][2] == "dev.smolmon.forwarding is not kept"
    state = provisioned()
    device_of(state, "bridge0")["routes"] = []
    lost = {row[0]: row[1:] for row in kept(want(), facts(state))}
    assert lost["route 192.168.51.0/24"][1:] == ("no route", "the kernel goes another way")


def test_what_cannot_be_undone_has_no_inverse():
    (usb, *_) = facts(mini()).services
    assert networksetup.as_before(evolve(usb, info=None)) is None
    assert networksetup.as_before(evolve(usb, info=evolve(usb.info, method=None))) is None
    assert networksetup.as_before(usb)[1] == "-setdhcp"

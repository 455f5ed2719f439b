"""Setup on real machines: nobody is cut off, whatever is broken is repaired, and it all goes again.

One gateway, an edge node on either side of it; one boot for all of this file.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from smolmon.cluster import parse
from smolmon.setup.linux import facts
from smolmon.setup.linux.system import LinuxSystem
from tests.lab.client import Lab, refuse_to_replace_a_lab, setup, smolmon, until, write

CLUSTER = """\
cluster: small
server: {node: gate, segment: edge1}
internet: {address: 8.8.8.8}
nodes:
  gate: {platform: linux, ssh: smol@192.168.1.11, management: 192.168.1.11}
  left: {platform: linux, ssh: smol@192.168.1.12, management: 192.168.1.12}
  right: {platform: linux, ssh: smol@192.168.1.13, management: 192.168.1.13}
segments:
  edge1:
    kind: ethernet
    subnet: 192.168.50.0/24
    members:
      gate: {address: 192.168.50.1, interface: eth0}
      left: {address: 192.168.50.2, interface: eth0}
  edge2:
    kind: ethernet
    subnet: 192.168.51.0/24
    members:
      gate: {address: 192.168.51.1, interface: eth1}
      right: {address: 192.168.51.2, interface: eth0}
"""
NODES = ("gate", "left", "right")
ADDRESS = {"gate": "192.168.1.11", "left": "192.168.1.12", "right": "192.168.1.13"}
ROLLBACK = 8  # seconds; the command's own least is meant for people
TWIST = "/root/twist"
# Not what people call, but all of what they call: only with a shorter time to confirm.
SETUP = """\
import sys
from pathlib import Path
from smolmon.cluster import load
from smolmon.setup.session import Request, chosen, run_setup
file = Path("/etc/smolmon/cluster.yaml")
cluster = load(file)
network = "network" in sys.argv[1:]
request = Request(file.read_bytes(), yes=True, confirm_within=%d, only_network=network)
try:
    sys.exit(run_setup(cluster, chosen(cluster, ["gate"]), request))
except KeyboardInterrupt:
    sys.exit(130)
"""
BLACK_HOLE = """\
import asyncio, sys
from pathlib import Path
from attrs import evolve
from smolmon.cluster import load
from smolmon.setup.apply import ApplyError, change_network
from smolmon.setup.ssh import connections
from smolmon.setup.steps import Plan, Step
from smolmon.setup.survey import Job, survey
file = Path("/etc/smolmon/cluster.yaml")
cluster = load(file)
node = cluster.node("left")
async def main(runners):
    found = await survey(cluster, [node], runners, Job(file.read_bytes()))
    target = found.targets["left"]
    (uuid,) = target.system.wanted.uuids
    steps = [
        f"sudo -n nmcli connection modify uuid {uuid} +ipv4.routes '192.168.1.100/32 192.168.50.9'",
        "sudo -n nmcli --wait 30 device reapply eth0",
    ]
    plan = Plan(tuple(Step(command, "a mistake") for command in steps))
    await change_network(evolve(target, plan=plan, wish=lambda state: plan), print, %d)
with connections([node]) as runners:
    try:
        asyncio.run(main(runners))
    except ApplyError as error:
        sys.exit(str(error))
"""
PYTHON = "/usr/local/lib/smolmon-python"


@pytest.fixture(scope="module", params=["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Bare machines; an edge node has a profile of its owner's."""
    refuse_to_replace_a_lab()
    file = tmp_path_factory.mktemp("provision") / "cluster.yaml"
    file.write_text(CLUSTER)
    try:
        smolmon("lab", "up", "--bare", "--cluster", str(file), "--suite", request.param)
        lab = Lab(file)
        lab.run("left", *OWNER, "eth0", "ipv4.method", "manual", "ipv4.addresses", "10.99.0.2/24")
        lab.run("controller", "mkdir", TWIST)
        shim = (Path(__file__).parent / "ssh_with_a_twist.py").read_text()
        write(lab, "controller", f"{TWIST}/ssh", shim)
        lab.run("controller", "chmod", "755", f"{TWIST}/ssh")
        write(lab, "controller", "/root/setup.py", SETUP % ROLLBACK)
        write(lab, "controller", "/root/hole.py", BLACK_HOLE % ROLLBACK)
        yield lab
    finally:
        smolmon("lab", "down")


OWNER = ("nmcli", "connection", "add", "type", "ethernet", "con-name", "owner", "ifname")


def planned(lab: Lab) -> dict[str, list[str]]:
    """The commands that are left to do, by node."""
    done = lab.run("controller", "smolmon", "setup", "--plan", "--json", check=False)
    plans = json.loads(done.stdout)["plan"]
    return {
        name: [step["command"] for step in plan["network"] + plan["system"]]
        for name, plan in plans.items()
        if plan["network"] + plan["system"]
    }


def in_all(lab: Lab, *command: str) -> dict[str, str]:
    """What a command says on every node."""
    with ThreadPoolExecutor(len(NODES)) as pool:
        said = pool.map(lambda node: lab.run(node, *command).stdout, NODES)
        return dict(zip(NODES, said, strict=True))


def files(lab: Lab, *, everywhere: bool = False) -> set[str]:
    """The files of every node, but for logs and NetworkManager's own memory."""
    apart = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/lib/NetworkManager")
    paths = " -o ".join(f"-path {path}" for path in apart)
    below = "/" if everywhere else "/etc /opt /root /home /var/lib"
    listing = rf"find {below} -xdev \( {paths} \) -prune -o -printf '%y %m %u %g %s %p %l\n'"
    # A folder's size tells what was once in it.
    said = in_all(lab, "sh", "-c", rf"{listing} | sed 's/^\(d [^ ]* [^ ]* [^ ]*\) [^ ]*/\1/'")
    return {f"{node} {line}" for node, text in said.items() for line in text.splitlines()}


def profiles(lab: Lab) -> dict[str, str]:
    """The profiles and where they are active, and the addresses and routes of the links.

    NetworkManager gives the kernel's own route a metric by the order in which ports came up.
    """
    script = "nmcli -t -f NAME,DEVICE connection | sort; ip -4 -o addr show dev eth0 scope global "
    script += "| cut -d' ' -f2-7; ip -4 route show dev eth0 | sed '/proto kernel/s/ metric.*//'; "
    script += "cat /proc/sys/net/ipv4/ip_forward"
    return in_all(lab, "sh", "-c", script)


def reachable(lab: Lab) -> bool:
    """Whether every node answers over new connections."""
    done = [
        lab.run("controller", "ssh", "-o", "ConnectTimeout=3", f"smol@{a}", "true", check=False)
        for a in ADDRESS.values()
    ]
    return all(one.returncode == 0 for one in done)


def settled(lab: Lab, node: str) -> bool:
    """Whether no rollback is armed on a node."""
    manager = "org.freedesktop.NetworkManager"
    path = "/org/freedesktop/NetworkManager"
    said = lab.run(node, "busctl", "get-property", manager, path, manager, "Checkpoints").stdout
    return said.strip() == "ao 0"


def test_what_is_installed_can_be_taken_away_again(lab: Lab) -> None:
    before, network = files(lab, everywhere=True), profiles(lab)
    assert "owner:eth0" in network["left"]
    assert "done in" in setup(lab, "--yes")
    assert planned(lab) == {}
    assert "nothing to do: every node is as wanted" in setup(lab, "--yes")
    assert "owner:eth0" not in profiles(lab)["left"]
    lab.run("controller", "smolmon", "verify")
    lab.run("controller", "smolmon", "verify", "--after-reboot")
    setup(lab, "--remove", "--yes")
    assert "nothing of smolmon is on any node" in setup(lab, "--remove", "--yes")
    # NetworkManager activates the owner's profile by itself.
    until("the former profiles", lambda: profiles(lab) == network, 20)
    assert files(lab, everywhere=True) ^ before == set()


MOMENTS = [
    "send CheckpointCreate",
    "line ^@@armed",
    *(f"line ^@@step {number}$" for number in range(6)),
    "done CheckpointCreate",
    "send CheckpointDestroy",
]


def twisted(lab: Lab, when: str, then: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Setup of the gateway while that happens at that moment."""
    lab.run("controller", "rm", "-f", "/root/twisted")
    environment = [f"PATH={TWIST}:/usr/bin:/bin", f"WHEN={when}", f"THEN={then}"]
    environment += [f"NODE={ADDRESS['gate']}"]
    words = ["env", *environment, PYTHON, "/root/setup.py", *arguments]
    done = lab.run("controller", *words, check=False)
    happened = lab.run("controller", "cat", "/root/twisted", check=False).stdout
    assert happened == f"{then}\n", f"{when} never came:\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def test_killed_in_the_middle_of_the_network_the_node_comes_back(lab: Lab) -> None:
    comes_back(lab, ["line ^@@step 2$", "send CheckpointDestroy"])


@pytest.mark.long
def test_killed_at_any_step_of_the_network_the_node_comes_back(lab: Lab) -> None:
    setup(lab, "--remove", "--yes")
    comes_back(lab, MOMENTS)


def comes_back(lab: Lab, moments: list[str]) -> None:
    """Setup is killed at each of `moments`, and everybody can be reached and is as before."""
    before = profiles(lab)
    for moment in moments:
        twisted(lab, moment, "kill", "network")
        until(f"all nodes after {moment}", lambda: reachable(lab), ROLLBACK + 10)
        until(f"the rollback after {moment}", lambda: settled(lab, "gate"), ROLLBACK + 10)
        until(f"the network as before {moment}", lambda: profiles(lab) == before, 10)
    setup(lab, "--yes", "--only", "network")


def test_killed_when_all_is_committed_nothing_is_lost(lab: Lab) -> None:
    setup(lab, "--remove", "--yes", "--node", "gate")
    twisted(lab, "done CheckpointDestroy", "kill", "network")
    assert reachable(lab)
    assert settled(lab, "gate")
    assert not any("nmcli" in one for one in planned(lab)["gate"])


@pytest.mark.long
def test_killed_at_any_step_of_the_system_the_next_run_goes_on(lab: Lab) -> None:
    """Each run is killed in its first step, which ends: so every state in between is met."""
    setup(lab, "--yes", "--only", "network")
    first = planned(lab)["gate"]
    assert len(first) == 9  # agent, cluster file, four for TLS, unit, enable, start
    begun: list[str] = []
    while (left := planned(lab).get("gate")) and len(begun) < 2 * len(first):
        twisted(lab, "line ^@@step 0$", "kill")
        begun.append(left[0])
        assert reachable(lab)
    assert set(begun) >= {command for command in first if "install" in command}
    setup(lab, "--yes")
    assert planned(lab) == {}


def test_interrupted_it_takes_back_what_it_did(lab: Lab) -> None:
    setup(lab, "--yes")
    setup(lab, "--remove", "--yes", "--node", "gate")
    before = profiles(lab)
    done = twisted(lab, "line ^@@step 1$", "interrupt", "network")
    assert done.returncode == 130
    assert "gate: interrupted; rolled back: the network is as before" in done.stdout
    assert profiles(lab) == before


def test_a_link_that_is_lost_in_the_middle(lab: Lab) -> None:
    setup(lab, "--yes")
    setup(lab, "--remove", "--yes", "--node", "gate")
    before = profiles(lab)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(twisted, lab, "line ^@@step 1$", "cut", "network")
        cut = ("controller", "nft", "list", "table", "ip", "cut")
        until("the cut", lambda: lab.run(*cut, check=False).returncode == 0, 40)
        try:
            until("the node's own rollback", lambda: settled(lab, "gate"), ROLLBACK + 10)
        finally:
            lab.run("controller", "nft", "delete", "table", "ip", "cut")
        done = running.result(60)
    assert done.returncode == 1
    line = done.stderr.splitlines()[0]
    assert line.startswith("gate: ")
    assert line.endswith("the node rolled itself back: the network is as before"), done.stderr
    assert profiles(lab) == before
    setup(lab, "--yes")


def test_a_plan_that_shuts_the_controller_out_takes_itself_back(lab: Lab) -> None:
    setup(lab, "--yes")
    before = profiles(lab)
    done = lab.run("controller", PYTHON, "/root/hole.py", check=False)
    assert done.returncode == 1
    assert "left: " in done.stderr
    assert "rolled itself back: the network is as before" in done.stderr
    assert profiles(lab) == before
    assert reachable(lab)


OURS = "$(nmcli -g UUID,NAME connection | grep smolmon-edge1 | cut -d: -f1)"
# What stands together is altered at once: on different nodes, or in different things of one.
BY_HAND = [
    [
        ("left", "ip addr del 192.168.50.2/24 dev eth0", "eth0 lost its address 192.168.50.2/24"),
        ("left", "echo >> /opt/smolmon/tls/node.crt", "the certificate is another one"),
        ("right", "touch /opt/smolmon/smolmon.pyz", "the running exporter predates the agent"),
        ("gate", "sysctl -q -w net.ipv4.ip_forward=0", "it is a gateway and does not forward"),
    ],
    [
        (
            "left",
            "ip route del 192.168.51.0/24",
            "the route 192.168.51.0/24 via 192.168.50.1 is miss",
        ),
        ("left", "rm /opt/smolmon/tls/node.key", "the key is not installed"),
        ("right", "systemctl disable -q --now smolmon-exporter", "does not start at boot"),
        ("gate", "rm /etc/sysctl.d/90-smolmon.conf", "the sysctl file is not installed"),
    ],
    [
        (
            "left",
            "nmcli connection add type ethernet con-name smolmon-edge1 ifname eth0 autoconnect no",
            "a second profile called smolmon-edge1",
        ),
        (
            "left",
            "echo '# mine' >> /etc/systemd/system/smolmon-exporter.service; "
            "systemctl daemon-reload",
            "the unit is another one",
        ),
        (
            "right",
            "ip route del 192.168.50.0/24",
            "the route 192.168.50.0/24 via 192.168.51.1 is mis",
        ),
    ],
    [
        (
            "left",
            f"nmcli connection modify uuid {OURS} ipv4.never-default no ipv4.gateway 192.168.50.1; "
            f"nmcli connection up uuid {OURS}",
            "never_default is no instead of yes",
        ),
        ("right", "echo >> /opt/smolmon/smolmon.pyz", "the agent is another one"),
    ],
    [
        (
            "left",
            "ip route add default via 192.168.50.1 dev eth0",
            "eth0 also has a default route",
        ),
    ],
    [("left", "ip link set eth0 down", "eth0 was taken down by hand")],
]


def test_one_process_tells_of_networkmanager_what_its_tools_tell(lab: Lab) -> None:
    cluster = parse(CLUSTER, "cluster.yaml")
    for node in NODES:
        script = LinuxSystem(cluster, node).facts_script(only_network=True)
        by_bus, by_tools = (
            facts.parse(lab.run(node, "sh", "-c", f"{missing}() {{ false; }}\n{script}").stdout)
            for missing in ("nmcli", "python3")
        )
        assert by_bus.nm_running
        assert by_bus.stored.keys() == {p.uuid for p in by_bus.applied.values()} != set()
        assert _in_order(by_bus) == _in_order(by_tools)


def _in_order(found: facts.Facts) -> facts.Facts:
    return evolve(
        found,
        devices=sorted(found.devices, key=lambda d: d.name),
        connections=sorted(found.connections, key=lambda c: c.uuid),
    )


@pytest.mark.parametrize("alterations", BY_HAND, ids=range(len(BY_HAND)))
def test_what_is_altered_by_hand_is_named_and_repaired(
    lab: Lab, alterations: list[tuple[str, str, str]]
) -> None:
    setup(lab, "--yes")
    before = profiles(lab)
    for node, command, _ in alterations:
        lab.run(node, "sh", "-c", command)
    plan = setup(lab, "--plan", code=2)
    for _, _, said in alterations:
        assert said in plan
    assert planned(lab).keys() == {node for node, _, _ in alterations}
    setup(lab, "--yes")
    until("nothing left to do", lambda: planned(lab) == {}, 20)
    assert profiles(lab) == before


def test_after_a_reboot_of_every_node_there_is_nothing_to_do(lab: Lab) -> None:
    setup(lab, "--yes")
    before = profiles(lab)
    smolmon("lab", "reboot", *NODES)
    until("all nodes answer", lambda: reachable(lab), 60)
    until("nothing left to do", lambda: planned(lab) == {}, 60)
    until("the network as before", lambda: profiles(lab) == before, 60)
    lab.run("controller", "smolmon", "verify")
    lab.run("controller", "smolmon", "verify", "--after-reboot")


# -- trouble that is told in one line -------------------------------------------------------------


def refused(lab: Lab, words: str) -> None:
    """Setup says one line that has these words, and changes nothing."""
    before, network = files(lab), profiles(lab)
    done = lab.run("controller", "smolmon", "setup", "--yes", check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len([line for line in lines if re.match(rf"({'|'.join(NODES)}): ", line)]) == 1
    assert words in done.stderr
    assert files(lab) ^ before == set()
    assert profiles(lab) == network


TROUBLE = [
    (
        "controller",
        "sed -i.old 's|^left.* ssh-ed25519 .*|left,192.168.1.12 '\"$(cut -d' ' -f1,2 "
        "/root/.ssh/id_ed25519.pub)\"'|' /root/.ssh/known_hosts",
        "mv /root/.ssh/known_hosts.old /root/.ssh/known_hosts",
        "left: its host key is not the one known here",
    ),
    (
        "left",
        "mv /home/smol/.ssh/authorized_keys /root/kept",
        "mv /root/kept /home/smol/.ssh/authorized_keys",
        "left: it does not accept your SSH key; `ssh-copy-id smol@192.168.1.12` installs it",
    ),
    (
        "left",
        "mv /etc/sudoers.d/smolmon-lab /root/kept",
        "mv /root/kept /etc/sudoers.d/smolmon-lab",
        "left: sudo asks smol for a password; allow what setup does with what "
        "`smolmon setup --sudoers left` prints",
    ),
    (
        "left",
        "mv /usr/bin/python3 /root/kept",
        "mv /root/kept /usr/bin/python3",
        "left: there is no python3; install 3.10 or newer: sudo apt install python3",
    ),
    (
        "left",
        "ip link add docker0 type bridge && ip addr add 192.168.51.1/24 dev docker0",
        "ip link del docker0",
        "left: 192.168.51.0/24 of edge2 overlaps 192.168.51.1/24 on docker0",
    ),
    (
        "controller",
        "cp /root/.ssh/config /root/kept; sed -i 's/HostName 192.168.1.12/HostName 192.168.50.2/' "
        "/root/.ssh/config",
        "mv /root/kept /root/.ssh/config",
        "left: its SSH connection goes to 192.168.50.2, inside edge1 (192.168.50.0/24)",
    ),
]


@pytest.mark.parametrize(("where", "breaks", "mends", "said"), TROUBLE, ids=range(len(TROUBLE)))
def test_trouble_is_one_line_and_nothing_half_done(
    lab: Lab, where: str, breaks: str, mends: str, said: str
) -> None:
    lab.run(where, "sh", "-c", breaks)
    try:
        refused(lab, said)
    finally:
        lab.run(where, "sh", "-c", mends)


def test_another_setup_at_work_is_one_line(lab: Lab) -> None:
    setup(lab, "--yes")
    manager, path = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"
    call = ("busctl", "call", manager, path, manager)
    lab.run("left", "ip", "route", "del", "192.168.51.0/24")
    lab.run("left", *call, "CheckpointCreate", "aouu", "0", "60", "6")
    try:
        said = setup(lab, "--yes", code=1)
        assert "left: another setup (or another tool) holds a NetworkManager checkpoint" in said
    finally:
        lab.run("left", *call, "CheckpointDestroy", "o", "/")
    lab.run("right", "rm", "/opt/smolmon/cluster.yaml")
    holder = lab.run(
        "right",
        "sh",
        "-c",
        "flock /etc/systemd/system sh -c 'echo held; exec sleep 60' >/root/held 2>&1 & echo $!",
    )
    try:
        until("the lock", lambda: "held" in lab.run("right", "cat", "/root/held").stdout, 5)
        said = setup(lab, "--yes", "--node", "right", code=1)
        assert "right: another setup is installing on it at this moment" in said
    finally:
        lab.run("right", "pkill", "-P", holder.stdout.strip())
        lab.run("right", "rm", "/root/held")
    setup(lab, "--yes")


@pytest.mark.long
def test_two_at_once_leave_nothing_half_done(lab: Lab) -> None:
    setup(lab, "--remove", "--yes")
    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(
                lambda _: lab.run("controller", "smolmon", "setup", "--yes", check=False), range(2)
            )
        )
    for done in both:
        assert done.returncode in (0, 1)
        assert "Traceback" not in done.stderr
        for line in done.stderr.splitlines():
            assert re.search("another setup|left untouched|already exists", line), line
    setup(lab, "--yes")
    assert planned(lab) == {}


def test_a_full_disk_is_one_line_and_undone(lab: Lab) -> None:
    setup(lab, "--remove", "--yes", "--node", "left")
    before = files(lab)
    lab.run("left", "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "/opt")
    try:
        said = setup(lab, "--yes", "--node", "left", code=1)
        (line,) = [x for x in said.splitlines() if "No space left on device" in x]
        assert line.startswith("left: `sudo -n install")
        assert line.endswith("; undone")
        assert lab.run("left", "find", "/opt", "-type", "f").stdout == ""
    finally:
        lab.run("left", "umount", "/opt")
    setup(lab, "--remove", "--yes", "--node", "left")
    assert files(lab) ^ before == set()
    setup(lab, "--yes")


def test_a_narrow_sudoers_file_is_enough(lab: Lab) -> None:
    setup(lab, "--remove", "--yes", "--node", "right")
    text = lab.run("controller", "smolmon", "setup", "--sudoers", "right").stdout
    write(lab, "right", "/root/drop-in", text)
    lab.run("right", "install", "-m", "0440", "/root/drop-in", "/etc/sudoers.d/smolmon")
    lab.run("right", "mv", "/etc/sudoers.d/smolmon-lab", "/root/kept")
    try:
        ask = ("ssh", "smol@192.168.1.13", "sudo -n id")
        assert lab.run("controller", *ask, check=False).returncode != 0
        setup(lab, "--yes", "--node", "right")
        lab.run("right", "ip", "route", "del", "192.168.50.0/24")
        lab.run("right", "sh", "-c", "echo >> /opt/smolmon/smolmon.pyz")
        setup(lab, "--yes", "--node", "right")
        setup(lab, "--remove", "--yes", "--node", "right")
        setup(lab, "--yes", "--node", "right")
    finally:
        lab.run("right", "mv", "/root/kept", "/etc/sudoers.d/smolmon-lab")
        lab.run("right", "rm", "/etc/sudoers.d/smolmon", "/root/drop-in")


def test_a_saved_plan_is_carried_out_while_it_holds(lab: Lab) -> None:
    setup(lab, "--yes")
    lab.run("left", "ip", "route", "del", "192.168.51.0/24")
    setup(lab, "--plan", "-o", "/root/plan.json", code=2)
    lab.run("right", "ip", "route", "del", "192.168.50.0/24")
    before = profiles(lab)
    said = setup(lab, "/root/plan.json", "--yes", code=1)
    assert "right: there is one network step more" in said
    assert "nothing was changed on any node" in said
    assert profiles(lab) == before
    setup(lab, "--yes", "--node", "right")
    setup(lab, "/root/plan.json", "--yes")
    assert planned(lab) == {}

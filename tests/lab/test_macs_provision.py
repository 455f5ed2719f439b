"""Setup of Macs, on the lab's stand-ins: nobody is cut off, what is broken is repaired, all goes.

A gateway and its peer on the fabric, an edge node on either side of the gateway, one of them a Mac;
static neighbours where both ends are Macs, and the edges are kept apart. One boot for all of it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.client import Lab, refuse_to_replace_a_lab, setup, smolmon, until, write

pytestmark = pytest.mark.long

CLUSTER = """\
cluster: small
server: {node: gate, segment: fabric}
isolation: enforce
bandwidth: {enabled: false}
nodes:
  gate: {platform: macos, ssh: smol@192.168.1.11, management: 192.168.1.11}
  peer: {platform: macos, ssh: smol@192.168.1.12, management: 192.168.1.12}
  left: {platform: linux, ssh: smol@192.168.1.13, management: 192.168.1.13}
  right: {platform: macos, ssh: smol@192.168.1.14, management: 192.168.1.14}
segments:
  fabric:
    kind: thunderbolt
    subnet: 10.10.0.0/24
    static_neighbors: true
    members:
      gate: {address: 10.10.0.1, interface: bridge0}
      peer: {address: 10.10.0.2, interface: bridge0}
  edge50:
    kind: ethernet
    subnet: 192.168.50.0/24
    members:
      gate: {address: 192.168.50.1, interface: en5}
      left: {address: 192.168.50.2, interface: eth0}
  edge51:
    kind: ethernet
    subnet: 192.168.51.0/24
    static_neighbors: true
    members:
      gate: {address: 192.168.51.1, interface: en7}
      right: {address: 192.168.51.2, interface: en5}
"""
MACS = ("gate", "peer", "right")
ADDRESS = {f"{name}": f"192.168.1.{11 + n}" for n, name in enumerate(("gate", "peer"))}
ADDRESS |= {"left": "192.168.1.13", "right": "192.168.1.14"}
ROLLBACK = 20  # seconds; the command's own least is meant for people
TWIST = "/root/twist"
PYTHON = "/usr/local/lib/smolmon-python"
# Not what people call, but all of what they call: only with a shorter time to confirm.
SETUP = """\
import sys
from pathlib import Path
from smolmon.cluster import load
from smolmon.setup.session import Request, chosen, run_setup
file = Path("/etc/smolmon/cluster.yaml")
cluster = load(file)
request = Request(file.read_bytes(), yes=True, confirm_within=%d)
try:
    sys.exit(run_setup(cluster, chosen(cluster, []), request))
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
node = cluster.node("right")
words = "-host 192.168.1.100 192.168.51.9"  # nobody is there
async def main(runners):
    found = await survey(cluster, [node], runners, Job(file.read_bytes()))
    target = found.targets["right"]
    do, undo = (f"sudo -n /sbin/route -n {word} {words}" for word in ("add", "delete"))
    plan = Plan((Step(do, "a mistake", undo),))
    await change_network(evolve(target, plan=plan, wish=lambda state: plan), print, %d)
with connections([node]) as runners:
    try:
        asyncio.run(main(runners))
    except ApplyError as error:
        sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Bare machines."""
    refuse_to_replace_a_lab()
    file = tmp_path_factory.mktemp("macs") / "cluster.yaml"
    file.write_text(CLUSTER)
    try:
        smolmon("lab", "up", "--bare", "--cluster", str(file))
        lab = Lab(file)
        lab.run("controller", "mkdir", TWIST)
        shim = (Path(__file__).parent / "ssh_with_a_twist.py").read_text()
        write(lab, "controller", f"{TWIST}/ssh", shim)
        lab.run("controller", "chmod", "755", f"{TWIST}/ssh")
        write(lab, "controller", "/root/setup.py", SETUP % ROLLBACK)
        write(lab, "controller", "/root/hole.py", BLACK_HOLE % ROLLBACK)
        yield lab
    finally:
        smolmon("lab", "down")


def planned(lab: Lab, *nodes: str) -> dict[str, list[str]]:
    """Why something is left to do, by node."""
    only = [word for node in nodes for word in ("--node", node)]
    done = lab.run("controller", "smolmon", "setup", "--plan", "--json", *only, check=False)
    found = json.loads(done.stdout)
    assert not found["refused"]
    return {
        name: [step["why"] for step in plan["network"] + plan["system"]]
        for name, plan in found["plan"].items()
        if plan["network"] + plan["system"]
    }


NETWORK = r"""
/usr/sbin/networksetup -listallnetworkservices | tail -n +2 | while IFS= read -r one; do
  echo "$one"; /usr/sbin/networksetup -getinfo "$one"
  /usr/sbin/networksetup -getadditionalroutes "$one"
done
/sbin/ifconfig -a | awk '/^[a-z]/ { print $1 } $1 == "inet"'
/usr/sbin/netstat -rn -f inet | awk '$3 !~ /W/ { print $1, $2, $3, $4 }'
/usr/sbin/arp -an | grep permanent
/usr/sbin/sysctl net.inet.ip.forwarding
/sbin/pfctl -a com.apple/250.smolmon -s rules; /sbin/pfctl -s info
"""


def network(lab: Lab, node: str) -> str:
    """What is stored and what is live of a Mac's network."""
    return lab.run(node, "sh", "-c", NETWORK, check=False).stdout


def files(lab: Lab) -> set[str]:
    """The files of every Mac, but for logs and what the stand-ins themselves keep."""
    apart = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/lib/smolmon-mac")
    paths = " -o ".join(f"-path {path}" for path in (*apart, "/usr/lib/smolmon-mac"))
    listing = rf"find / -xdev \( {paths} \) -prune -o -printf '%y %m %u %g %s %p %l\n'"
    # A folder's size tells what was once in it.
    script = rf"{listing} | sed 's/^\(d [^ ]* [^ ]* [^ ]*\) [^ ]*/\1/'"
    script += "; find /var/log -path '*smolmon*'"
    with ThreadPoolExecutor(len(MACS)) as pool:
        said = pool.map(lambda node: lab.run(node, "sh", "-c", script).stdout, MACS)
    return {
        f"{node} {line}"
        for node, text in zip(MACS, said, strict=True)
        for line in text.splitlines()
    }


def reachable(lab: Lab) -> bool:
    """Whether every node answers over new connections."""
    done = [
        lab.run("controller", "ssh", "-o", "ConnectTimeout=3", f"smol@{a}", "true", check=False)
        for a in ADDRESS.values()
    ]
    return all(one.returncode == 0 for one in done)


def settled(lab: Lab, node: str) -> bool:
    """Whether no rollback is armed on a Mac, and nothing of one is left."""
    gone = "! launchctl print system/dev.smolmon.rollback && [ ! -e /var/db/smolmon/rollback ]"
    gone += " && [ ! -e /Library/LaunchDaemons/dev.smolmon.rollback.plist ]"
    return lab.run(node, "sh", "-c", gone, check=False).returncode == 0


def test_from_bare_to_nothing_to_do_and_back(lab: Lab) -> None:
    before = files(lab)
    bare = {node: network(lab, node) for node in MACS}
    assert "done in" in setup(lab, "--yes")
    assert planned(lab) == {}
    assert "nothing to do: every node is as wanted" in setup(lab, "--yes")
    lab.run("controller", "smolmon", "verify")
    lab.run("controller", "smolmon", "verify", "--after-reboot")
    setup(lab, "--remove", "--yes")
    assert "nothing of smolmon is on any node" in setup(lab, "--remove", "--yes")
    assert {node: network(lab, node) for node in MACS} == bare
    assert files(lab) ^ before == set()


def twisted(lab: Lab, when: str, then: str) -> subprocess.CompletedProcess[str]:
    """Setup of everything, while that happens at that moment on the gateway."""
    lab.run("controller", "rm", "-f", "/root/twisted")
    environment = [f"PATH={TWIST}:/usr/bin:/bin", f"WHEN={when}", f"THEN={then}"]
    environment += [f"NODE={ADDRESS['gate']}"]
    done = lab.run("controller", "env", *environment, PYTHON, "/root/setup.py", check=False)
    happened = lab.run("controller", "cat", "/root/twisted", check=False).stdout
    assert happened == f"{then}\n", f"{when} never came:\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


MOMENTS = ("line ^@@armed", "line ^@@step 3$", "line ^@@step 7$", "send /committed-")


def test_killed_at_a_step_of_the_network_the_mac_comes_back(lab: Lab) -> None:
    """By its dead-man switch alone: nobody asks it to."""
    setup(lab, "--yes")
    setup(lab, "--remove", "--yes", "--node", "gate")
    before = network(lab, "gate")
    for moment in MOMENTS:
        twisted(lab, moment, "kill")
        assert not settled(lab, "gate")
        until(f"all nodes after {moment}", lambda: reachable(lab), ROLLBACK + 10)
        until(f"the rollback after {moment}", lambda: settled(lab, "gate"), ROLLBACK + 10)
        assert network(lab, "gate") == before, moment
    setup(lab, "--yes")
    assert planned(lab) == {}


def test_killed_in_the_middle_of_the_system_the_next_run_goes_on(lab: Lab) -> None:
    setup(lab, "--remove", "--yes", "--node", "gate")
    setup(lab, "--yes", "--only", "network")
    for number in (2, 5, 2):  # the network has two steps left, its static neighbours
        twisted(lab, f"line ^@@step {number}$", "kill")
        assert reachable(lab)
    setup(lab, "--yes")
    assert planned(lab) == {}


def test_a_plan_that_shuts_the_controller_out_takes_itself_back(lab: Lab) -> None:
    setup(lab, "--yes")
    before = network(lab, "right")
    done = lab.run("controller", PYTHON, "/root/hole.py", check=False)
    assert done.returncode == 1
    assert "right: " in done.stderr
    assert "rolled itself back: the network is as before" in done.stderr
    assert network(lab, "right") == before
    assert settled(lab, "right")


def test_after_a_reboot_all_is_as_it_was(lab: Lab) -> None:
    setup(lab, "--yes")
    smolmon("lab", "reboot", *MACS)
    until("nothing to do", lambda: planned(lab) == {}, 60)
    lab.run("controller", "smolmon", "verify", "--after-reboot")
    lab.run("controller", "smolmon", "verify")


def test_the_edges_are_kept_apart_and_nothing_else_is(lab: Lab) -> None:
    """Somebody gives each edge a route to the other."""
    setup(lab, "--yes")
    lab.run("left", "ip", "route", "add", "192.168.51.0/24", "via", "192.168.50.1")
    lab.run("right", "ip", "route", "add", "192.168.50.0/24", "via", "192.168.51.1")
    try:
        assert not lab.pings("left", "192.168.51.2")
        assert not lab.pings("left", "192.168.51.1")  # the gateway's own, over there
        assert not lab.pings("right", "192.168.50.2")
        for node, address in (("left", "10.10.0.1"), ("left", "10.10.0.2"), ("right", "10.10.0.2")):
            assert lab.pings(node, address)
        for address in ("192.168.50.2", "192.168.51.2"):
            assert lab.pings("peer", address)
            assert lab.pings("gate", address)
        lab.run("gate", "/sbin/pfctl", "-a", "com.apple/250.smolmon", "-F", "rules")
        assert lab.pings("left", "192.168.51.2")
    finally:
        lab.run("left", "ip", "route", "del", "192.168.51.0/24")
        lab.run("right", "ip", "route", "del", "192.168.50.0/24")
        setup(lab, "--yes")


def test_what_is_held_by_others_stays(lab: Lab) -> None:
    """Their reference to pf, and their anchor."""
    rule = "block drop quick from 203.0.113.0/24 to any"
    told = lab.run("gate", "/sbin/pfctl", "-E").stderr.split()[-1]
    lab.run("gate", "sh", "-c", f"echo '{rule}' | /sbin/pfctl -a com.apple/mine -f -")
    setup(lab, "--remove", "--yes", "--node", "gate")
    assert told in lab.run("gate", "/sbin/pfctl", "-s", "References").stdout
    assert (
        "203.0.113" in lab.run("gate", "/sbin/pfctl", "-a", "com.apple/mine", "-s", "rules").stdout
    )
    assert "Enabled" in lab.run("gate", "/sbin/pfctl", "-s", "info").stdout
    setup(lab, "--yes")
    lab.run("gate", "/sbin/pfctl", "-X", told)
    assert "Enabled" in lab.run("gate", "/sbin/pfctl", "-s", "info").stdout
    lab.run("gate", "/sbin/pfctl", "-a", "com.apple/mine", "-F", "rules")


def service(lab: Lab, node: str, device: str) -> str:
    """The name of the service on a device, for a shell."""
    order = lab.run(node, "networksetup", "-listnetworkserviceorder").stdout.splitlines()
    at = next(n for n, line in enumerate(order) if line.endswith(f"Device: {device})"))
    return f"'{order[at - 1].partition(') ')[2]}'"


SET = "/usr/sbin/networksetup -set"
# They would put back by themselves, now and then, what is altered.
NO_ISOLATION = "launchctl bootout system/dev.smolmon.isolation; "
NO_NEIGHBOURS = "launchctl bootout system/dev.smolmon.neighbors; "
PF = "/sbin/pfctl -a com.apple/250.smolmon"
BY_HAND = [
    (
        "gate",
        SET + "manual {en5} 192.168.50.77 255.255.255.0 ''",
        "is manual 192.168.50.77 instead of manual 192.168.50.1",
    ),
    ("gate", "/sbin/ifconfig en5 inet 192.168.50.1 -alias", "en5 lost its address 192.168.50.1/24"),
    ("right", SET + "additionalroutes {en5}", "lacks 10.10.0.0/24 via 192.168.51.1"),
    (
        "right",
        "/sbin/route -n delete -net 10.10.0.0/24 192.168.51.1",
        "the route 10.10.0.0/24 via 192.168.51.1 is missing",
    ),
    ("gate", "/usr/sbin/sysctl -w net.inet.ip.forwarding=0", "is a gateway and does not forward"),
    (
        "gate",
        "echo ' ' >> /Library/LaunchDaemons/dev.smolmon.forwarding.plist",
        "the forwarding daemon is another one",
    ),
    (
        "gate",
        "launchctl bootout system/dev.smolmon.isolation; "
        "rm /Library/LaunchDaemons/dev.smolmon.isolation.plist",
        "the isolation daemon is not installed",
    ),
    ("right", "echo >> /opt/smolmon/smolmon.pyz", "the agent is another one"),
    ("right", "echo >> /opt/smolmon/tls/node.crt", "the node's certificate is another one"),
    ("gate", f"{NO_ISOLATION}{PF} -F rules", "the rules that keep segments apart are missing"),
    (
        "gate",
        f"{NO_ISOLATION}echo 'pass quick all' | {PF} -f -",
        "the rules that keep segments apart are others",
    ),
    ("gate", f"{NO_ISOLATION}/sbin/pfctl -d", "pf is not enabled, so nothing keeps segments apart"),
    ("gate", "echo 'pass quick all' > /opt/smolmon/pf.conf", "the file of pf's rules is another"),
    (
        "gate",
        f"{NO_NEIGHBOURS}/usr/sbin/arp -d 10.10.0.2 ifscope bridge0",
        "the static neighbour 10.10.0.2 on bridge0 is to be",
    ),
    (
        "gate",
        f"{NO_NEIGHBOURS}/usr/sbin/arp -S 10.10.0.2 2:0:0:0:0:9 ifscope bridge0",
        "the static neighbour 10.10.0.2 on bridge0 is 02:00:00:00:00:09 instead of",
    ),
]


def test_what_is_altered_by_hand_is_named_and_repaired(lab: Lab) -> None:
    setup(lab, "--yes")
    before = {node: network(lab, node) for node in MACS}
    for node, command, said in BY_HAND:
        if "{en5}" in command:
            command = command.replace("{en5}", service(lab, node, "en5"))  # noqa: PLW2901
        lab.run(node, "sh", "-c", command)
        (whys,) = planned(lab, node).values()
        assert any(said in why for why in whys), (command, whys)
        setup(lab, "--yes", "--node", node)
        assert network(lab, node) == before[node], command
    assert planned(lab) == {}


def test_a_narrow_sudoers_file_is_enough(lab: Lab) -> None:
    setup(lab, "--remove", "--yes", "--node", "gate")
    text = lab.run("controller", "smolmon", "setup", "--sudoers", "gate").stdout
    write(lab, "gate", "/root/drop-in", text)
    lab.run("gate", "/usr/sbin/visudo", "-cf", "/root/drop-in")
    lab.run("gate", "install", "-m", "0440", "/root/drop-in", "/etc/sudoers.d/smolmon")
    lab.run("gate", "mv", "/etc/sudoers.d/smolmon-lab", "/root/kept")
    try:
        ask = ("ssh", f"smol@{ADDRESS['gate']}", "sudo -n id")
        assert lab.run("controller", *ask, check=False).returncode != 0
        setup(lab, "--yes")
        lab.run("gate", "sh", "-c", f"{PF} -F rules; /usr/sbin/arp -d 10.10.0.2 ifscope bridge0")
        lab.run(
            "gate", "sh", "-c", "echo >> /opt/smolmon/smolmon.pyz; echo >> /opt/smolmon/pf.conf"
        )
        setup(lab, "--yes")
        setup(lab, "--remove", "--yes", "--node", "gate")
        assert "nothing to do" in setup(lab, "--remove", "--yes", "--node", "gate")
    finally:
        lab.run("gate", "mv", "/root/kept", "/etc/sudoers.d/smolmon-lab")
        lab.run("gate", "rm", "/etc/sudoers.d/smolmon", "/root/drop-in")

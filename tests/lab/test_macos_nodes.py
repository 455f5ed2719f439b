"""Nodes declared `platform: macos`: the guide's own commands, typed on stand-ins for Apple's tools.

Every test leaves the cluster as the guide leaves it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from smolmon.macos import (
    cabling,
    ifconfig,
    launchctl,
    netstat_routes,
    netstat_tcp,
    networksetup,
    route_get,
    socketfilterfw,
    sysctl,
    thunderbolt,
)
from smolmon.macos.networksetup import AdditionalRoute, Method
from tests.lab.client import Lab, example, in_network, refuse_to_replace_a_lab, smolmon, until

BRIDGE, USB = "Thunderbolt Bridge", "USB 10/100/1000 LAN"
MINIS = ("mini1", "mini2", "mini3")
FORWARD = "sudo /usr/sbin/sysctl -w net.inet.ip.forwarding=1"
# The guide's Part 1, with the return routes that it leaves out.
GUIDE = {
    "mini1": [
        f'sudo networksetup -setmanual "{BRIDGE}" 10.10.0.1 255.255.255.0 ""',
        f'sudo networksetup -setmanual "{USB}" 192.168.50.1 255.255.255.0 ""',
        f'sudo networksetup -setadditionalroutes "{BRIDGE}" 192.168.51.0 255.255.255.0 10.10.0.3',
        FORWARD,
    ],
    "mini2": [
        f'sudo networksetup -setmanual "{BRIDGE}" 10.10.0.2 255.255.255.0 ""',
        f'sudo networksetup -setadditionalroutes "{BRIDGE}" 192.168.50.0 255.255.255.0 10.10.0.1'
        " 192.168.51.0 255.255.255.0 10.10.0.3",
    ],
    "mini3": [
        f'sudo networksetup -setmanual "{BRIDGE}" 10.10.0.3 255.255.255.0 ""',
        f'sudo networksetup -setmanual "{USB}" 192.168.51.2 255.255.255.0 ""',
        f'sudo networksetup -setadditionalroutes "{BRIDGE}" 192.168.50.0 255.255.255.0 10.10.0.1',
        FORWARD,
    ],
    "pi5": [
        "sudo nmcli con add type ethernet con-name eth-static ifname eth0 ipv4.method manual "
        "ipv4.addresses 192.168.50.2/24 ipv4.never-default yes "
        "ipv4.routes '10.10.0.0/24 192.168.50.1'",
        "sudo nmcli con up eth-static",
    ],
    "pi4": [
        "sudo nmcli con add type ethernet con-name eth-static ifname eth0 ipv4.method manual "
        "ipv4.addresses 192.168.51.4/24 ipv4.never-default yes "
        "ipv4.routes '10.10.0.0/24 192.168.51.2'",
        "sudo nmcli con up eth-static",
    ],
}
USERS = {"pi5": "pi@192.168.1.14", "pi4": "pi@192.168.1.15"}


class Macs(Lab):
    """The lab, and its nodes as one sees them over SSH."""

    def ssh(self, node: str, command: str, *, check: bool = True) -> str:
        """What `command` prints on `node`; where `check` it must end with status 0."""
        there = USERS.get(node, node)
        return self.run("controller", "ssh", there, command, check=check).stdout

    def write(self, node: str, path: str, text: str) -> None:
        """Write a file as root: `sudo tee`, as over any SSH session."""
        self.ssh(node, f"printf %s {shlex.quote(text)} | sudo tee {path} >/dev/null")

    def bridge(self, node: str) -> ifconfig.Interface:
        """The Thunderbolt Bridge of `node` as ifconfig tells it."""
        (found,) = ifconfig.parse(self.ssh(node, "/sbin/ifconfig bridge0"))
        return found

    def routes(self, node: str) -> dict[str, netstat_routes.NetstatRoute]:
        """The routes of `node` that every socket uses, by destination."""
        rows = netstat_routes.parse(self.ssh(node, "/usr/sbin/netstat -rn -f inet"))
        return {str(r.destination): r for r in rows if not r.scoped and not r.cloned}

    def job(self, node: str, label: str) -> launchctl.Job | None:
        """A job of launchd."""
        return launchctl.parse(self.ssh(node, f"launchctl print system/{label}", check=False))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Macs]:
    """The guide's cluster with macOS minis, booted and not set up."""
    path = example("guide.yaml", tmp_path_factory.mktemp("macs"))
    refuse_to_replace_a_lab()
    try:
        smolmon("lab", "up", "--bare", "--cluster", str(path))
        yield Macs(path)
    finally:
        smolmon("lab", "down")


@pytest.fixture(scope="module")
def macs(bare: Macs) -> Macs:
    """The same, with every command of the guide typed."""
    for node, commands in GUIDE.items():
        bare.ssh(node, " && ".join(commands))
    return bare


def test_a_bare_mac(bare: Macs) -> None:
    order = networksetup.service_order(bare.ssh("mini1", "networksetup -listnetworkserviceorder"))
    assert [(s.name, s.device) for s in order] == [
        (USB, "en5"),
        ("Wi-Fi", "en1"),
        (BRIDGE, "bridge0"),
    ]
    fresh = networksetup.info(bare.ssh("mini1", f"networksetup -getinfo '{BRIDGE}'"))
    assert fresh is not None
    assert (fresh.method, fresh.router) == (Method.DHCP, None)
    assert fresh.address is not None
    assert fresh.address.is_link_local
    assert sysctl.forwarding(bare.ssh("mini1", f"/usr/sbin/sysctl {sysctl.FORWARDING}")) is False
    assert bare.routes("mini1")["0.0.0.0/0"].device == "en1"


def test_what_no_mac_has_is_not_found(bare: Macs) -> None:
    absent = "ip ss nmcli busctl systemctl sha256sum nft setsid timeout"
    found = f'for t in {absent}; do command -v $t; sudo sh -c "command -v $t"; done; true'
    assert bare.ssh("mini1", found) == ""
    for gnu in ("stat -c %a /etc/hosts", "install -D /etc/hosts /tmp/a/b", "base64 -d /etc/hosts"):
        assert bare.run("controller", "ssh", "mini1", gnu, check=False).returncode != 0
    assert bare.ssh("mini1", "stat -f '%Su:%Sg %Lp' /etc/hosts") == "root:wheel 644\n"
    # The lab's own users have them all.
    assert "bridge0" in bare.run("mini1", "ip", "-br", "link").stdout


def test_the_cables_are_those_of_the_chain(bare: Macs) -> None:
    asked = "system_profiler SPThunderboltDataType -json"
    reports = {node: thunderbolt.parse(bare.ssh(node, asked)) for node in MINIS}
    seen = cabling.cabling(reports)
    assert {frozenset((c.a.node, c.b.node)) for c in seen.cables} == {
        frozenset(("mini1", "mini2")),
        frozenset(("mini2", "mini3")),
    }
    assert not seen.unknown
    assert not cabling.rings(seen.cables)


def test_only_root_changes_anything_and_errors_are_on_stdout(bare: Macs) -> None:
    told = bare.ssh("mini1", f"networksetup -setdhcp '{BRIDGE}'", check=False)
    assert networksetup.error(told) == "Command requires admin privileges."
    told = bare.ssh("mini1", "sudo networksetup -setdhcp Nothing", check=False)
    assert networksetup.error(told) == "Nothing is not a recognized network service."
    told = bare.ssh("mini1", f"sudo networksetup -setmanual '{BRIDGE}' 10.10.0.x 24", check=False)
    assert networksetup.error(told) == "The parameters were not valid."


def test_the_guide_makes_a_network(macs: Macs) -> None:
    stored = networksetup.info(macs.ssh("mini1", f"networksetup -getinfo '{BRIDGE}'"))
    assert stored is not None
    assert (stored.method, str(stored.address), stored.prefix_length) == (
        Method.MANUAL,
        "10.10.0.1",
        24,
    )
    listed = macs.ssh("mini1", f"networksetup -getadditionalroutes '{BRIDGE}'")
    assert networksetup.additional_routes(listed) == (
        AdditionalRoute(IPv4Network("192.168.51.0/24"), IPv4Address("10.10.0.3")),
    )
    way = route_get.parse(macs.ssh("mini1", "/sbin/route -n get 192.168.51.4"))
    assert way is not None
    assert (str(way.destination), str(way.gateway), way.interface) == (
        "192.168.51.0/24",
        "10.10.0.3",
        "bridge0",
    )
    missing = route_get.parse(macs.ssh("mini1", "/sbin/route -n get 192.168.99.0/24"))
    assert missing is not None
    assert missing.is_default
    assert macs.pings("pi4", "10.10.0.1")
    assert macs.pings("pi5", "10.10.0.3")
    assert not macs.pings("pi5", "192.168.51.4")


def test_forwarding_decides(macs: Macs) -> None:
    assert macs.ssh("mini3", "sudo sysctl -w net.inet.ip.forwarding=0") == (
        "net.inet.ip.forwarding: 1 -> 0\n"
    )
    assert not macs.pings("pi4", "10.10.0.1")
    macs.ssh("mini3", FORWARD)
    assert macs.pings("pi4", "10.10.0.1")


ROUTE = "route -n get 192.168.51.4 | awk '/destination/ {print $2}'"


@pytest.mark.parametrize(
    ("fault", "node", "ask", "answers"),
    [
        ("forwarding-off", "mini3", "sysctl -n net.inet.ip.forwarding", ("1", "0")),
        ("return-route-gone", "mini1", ROUTE, ("192.168.51.0", "default")),
    ],
)
def test_faults_hit_macs(
    macs: Macs, fault: str, node: str, ask: str, answers: tuple[str, str]
) -> None:
    whole, broken = answers
    assert macs.ssh(node, ask).strip() == whole
    smolmon("lab", "break", fault, "--node", node)
    assert macs.ssh(node, ask).strip() == broken
    assert not macs.pings("pi4", "10.10.0.1")
    smolmon("lab", "heal", fault)
    assert macs.ssh(node, ask).strip() == whole
    assert macs.pings("pi4", "10.10.0.1")


def test_a_server_on_a_mac_can_be_made_unreachable(macs: Macs) -> None:
    smolmon("lab", "break", "server-unreachable", "--node", "pi4")
    assert not macs.pings("pi4", "10.10.0.1")
    assert macs.pings("pi5", "10.10.0.1")
    smolmon("lab", "heal")
    assert macs.pings("pi4", "10.10.0.1")


def test_a_bridge_without_a_peer_has_nothing_and_gets_it_back(macs: Macs) -> None:
    assert macs.bridge("mini3").addresses == (IPv4Interface("10.10.0.3/24"),)
    assert in_network("mini2", "ip", "link", "set", "lab-b", "down").returncode == 0
    until("mini3's bridge to be bare", lambda: not macs.bridge("mini3").addresses, 10)
    assert macs.bridge("mini3").active is False
    assert "192.168.50.0/24" not in macs.routes("mini3")
    # What is stored is still told; and mini2 has its other neighbour.
    stored = networksetup.info(macs.ssh("mini3", f"networksetup -getinfo '{BRIDGE}'"))
    assert stored is not None
    assert str(stored.address) == "10.10.0.3"
    assert macs.bridge("mini2").active is True
    assert in_network("mini2", "ip", "link", "set", "lab-b", "up").returncode == 0
    until("mini3's routes to return", lambda: "192.168.50.0/24" in macs.routes("mini3"), 10)
    assert macs.bridge("mini3").addresses == (IPv4Interface("10.10.0.3/24"),)
    assert macs.pings("pi4", "10.10.0.1")


def test_networksetup_takes_back_what_it_did(macs: Macs) -> None:
    address = f"sudo networksetup -setmanual '{BRIDGE}' 10.10.0.1 255.255.255.0 ''"
    before = macs.ssh("mini1", f"networksetup -getinfo '{BRIDGE}'; /usr/sbin/netstat -rn -f inet")
    macs.ssh("mini1", f"sudo networksetup -setmanual '{BRIDGE}' 10.99.0.1 255.255.0.0 10.99.0.9")
    assert macs.routes("mini1")["10.99.0.0/16"].device == "bridge0"
    assert macs.routes("mini1")["0.0.0.0/0"].device == "en1"  # Wi-Fi stands before the bridge
    assert not macs.pings("mini1", "10.10.0.3")
    macs.ssh("mini1", address)
    after = macs.ssh("mini1", f"networksetup -getinfo '{BRIDGE}'; /usr/sbin/netstat -rn -f inet")
    assert stable(after) == stable(before)
    assert macs.pings("pi4", "10.10.0.1")


def stable(text: str) -> list[str]:
    """A routing table without the entries that come and go with neighbours."""
    return [line for line in text.splitlines() if "UHLWIi" not in line]


def test_static_neighbours_and_stealth_act_and_go(macs: Macs) -> None:
    macs.ssh("mini1", "sudo arp -s 10.10.0.3 2:0:0:0:de:ad")
    assert not macs.pings("mini1", "10.10.0.3")
    macs.ssh("mini1", "sudo arp -d 10.10.0.3")
    assert macs.pings("mini1", "10.10.0.3")
    firewall = "/usr/libexec/ApplicationFirewall/socketfilterfw"
    macs.ssh("mini1", f"sudo {firewall} --setstealthmode on")
    assert socketfilterfw.stealth_mode(macs.ssh("mini1", f"{firewall} --getstealthmode")) is True
    assert not macs.pings("mini2", "10.10.0.1")
    macs.ssh("mini1", f"sudo {firewall} --setstealthmode off")
    assert macs.pings("mini2", "10.10.0.1")


def test_pf_keeps_the_edges_apart(macs: Macs) -> None:
    rule = "block drop quick from 192.168.51.0/24 to 10.10.0.1\n"
    macs.write("mini3", "/etc/pf.anchors.smolmon", rule)
    macs.ssh("mini3", "sudo pfctl -a com.apple/smolmon -f /etc/pf.anchors.smolmon")
    assert macs.pings("pi4", "10.10.0.1")  # pf is not enabled
    told = macs.ssh("mini3", "sudo pfctl -E 2>&1")
    assert not macs.pings("pi4", "10.10.0.1")
    assert macs.pings("pi4", "10.10.0.2")
    printed = rule.replace("quick from", "quick inet from")
    assert macs.ssh("mini3", "sudo pfctl -a com.apple/smolmon -s rules") == printed
    macs.ssh("mini3", f"sudo pfctl -X {told.split()[-1]}")
    assert macs.pings("pi4", "10.10.0.1")
    macs.ssh("mini3", "sudo pfctl -a com.apple/smolmon -F all; sudo rm /etc/pf.anchors.smolmon")


PLIST = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>{label}</string>
<key>ProgramArguments</key><array>{arguments}</array>
{more}
</dict></plist>
"""


def plist(label: str, arguments: list[str], more: str = "<key>RunAtLoad</key><true/>") -> str:
    """The property list of a daemon."""
    words = "".join(f"<string>{word}</string>" for word in arguments)
    return PLIST.format(label=label, arguments=words, more=more)


def test_a_reboot_keeps_the_network_and_forwarding_only_by_a_daemon(macs: Macs) -> None:
    smolmon("lab", "reboot", "mini1", "mini3")
    assert macs.bridge("mini3").addresses == (IPv4Interface("10.10.0.3/24"),)
    assert macs.routes("mini1")["192.168.51.0/24"].gateway == IPv4Address("10.10.0.3")
    assert macs.ssh("mini3", "sysctl -n net.inet.ip.forwarding") == "0\n"
    assert not macs.pings("pi4", "10.10.0.1")
    daemon = "/Library/LaunchDaemons/dev.smolmon.forwarding.plist"
    command = ["/usr/sbin/sysctl", "-w", "net.inet.ip.forwarding=1"]
    for node in ("mini1", "mini3"):
        macs.write(node, daemon, plist("dev.smolmon.forwarding", command))
        macs.ssh(
            node, f"sudo chown root:wheel {daemon} && sudo launchctl bootstrap system {daemon}"
        )
    until("forwarding", lambda: macs.pings("pi4", "10.10.0.1"), 10)
    ended = launchctl.Job("not running", None, "0")
    until("the job's end", lambda: macs.job("mini3", "dev.smolmon.forwarding") == ended, 10)
    smolmon("lab", "reboot", "mini3", "mini1")
    until("forwarding after a reboot", lambda: macs.pings("pi4", "10.10.0.1"), 20)


def test_the_life_of_a_daemon(macs: Macs) -> None:
    label = "dev.smolmon.test"
    path = f"/Library/LaunchDaemons/{label}.plist"
    quick = "<key>KeepAlive</key><true/><key>ThrottleInterval</key><integer>1</integer>"
    user = "<key>UserName</key><string>nobody</string>"
    absent = macs.run("controller", "ssh", "mini2", f"launchctl print system/{label}", check=False)
    assert absent.returncode == 113
    macs.write("mini2", path, plist(label, ["/bin/sleep", "4711"], quick + user))
    bootstrap = f"sudo launchctl bootstrap system {path}"
    macs.ssh("mini2", f"sudo chmod 666 {path}")  # anybody could have written it
    refused = macs.run("controller", "ssh", "mini2", bootstrap, check=False)
    assert refused.returncode == 5
    assert "Bootstrap failed: 5: Input/output error" in refused.stderr
    macs.ssh("mini2", f"sudo chmod 644 {path} && {bootstrap}")

    def running() -> launchctl.Job | None:
        job = macs.job("mini2", label)
        return job if job and job.running else None

    first = until("the job to run", running, 10)
    assert macs.ssh("mini2", f"ps -o user= -p {first.pid}").strip() == "nobody"
    assert macs.run("controller", "ssh", "mini2", bootstrap, check=False).returncode == 5  # twice
    macs.ssh("mini2", f"sudo kill -9 {first.pid}")
    second = until("the job to run again", running, 10)
    assert second.pid != first.pid
    macs.ssh("mini2", f"sudo launchctl kickstart -k system/{label}")
    until("another process", lambda: (j := running()) and j.pid != second.pid, 10)
    macs.ssh("mini2", f"sudo launchctl bootout system/{label}")
    until("the job to be gone", lambda: macs.job("mini2", label) is None, 10)
    macs.ssh("mini2", f"sudo launchctl disable system/{label}")
    assert macs.run("controller", "ssh", "mini2", bootstrap, check=False).returncode == 5
    smolmon("lab", "reboot", "mini2")
    assert macs.job("mini2", label) is None  # disabled, over a reboot
    macs.ssh("mini2", f"sudo launchctl enable system/{label} && {bootstrap}")
    until("the job to run", running, 10)
    macs.ssh("mini2", f"sudo launchctl bootout system/{label} && sudo rm {path}")


BUILD = (
    "from pathlib import Path; from smolmon.setup.agent import build; "
    "Path('/root/agent.pyz').write_bytes(build())"
)


def test_the_exporter_runs_there_as_a_daemon(macs: Macs, tmp_path: Path) -> None:
    macs.run("controller", "/usr/local/lib/smolmon-python", "-c", BUILD)
    macs.run("controller", "scp", "-q", "/root/agent.pyz", "/etc/smolmon/cluster.yaml", "mini1:")
    label = "dev.smolmon.exporter"
    command = ["/opt/homebrew/bin/python3", "/opt/smolmon/agent.pyz", "exporter", "--node", "mini1"]
    command += ["--cluster", "/opt/smolmon/cluster.yaml", "--listen", "192.168.1.11:9742"]
    more = "<key>RunAtLoad</key><true/><key>UserName</key><string>nobody</string>"
    more += "<key>StandardErrorPath</key><string>/Library/Logs/smolmon.log</string>"
    macs.write("mini1", f"/Library/LaunchDaemons/{label}.plist", plist(label, command, more))
    macs.ssh(
        "mini1",
        "sudo mkdir -p /opt/smolmon && sudo mv agent.pyz cluster.yaml /opt/smolmon/ && "
        "sudo chmod 644 /opt/smolmon/* && "
        f"sudo launchctl bootstrap system /Library/LaunchDaemons/{label}.plist",
    )

    def scrape() -> dict[str, float]:
        url = "http://192.168.1.11:9742/metrics"
        text = macs.run("controller", "curl", "-sf", url, check=False).stdout
        rows = [line.rpartition(" ") for line in text.splitlines() if line[:1] not in ("", "#")]
        return {name: float(value) for name, _, value in rows}

    def settled() -> dict[str, float] | None:
        found = scrape()
        pings = [v for k, v in found.items() if k.startswith("smolmon_ping_up{")]
        # system_profiler is asked on the side: Wi-Fi is known a moment later.
        fine = [v for k, v in found.items() if k.startswith("smolmon_collector_success{")]
        return found if pings and all(pings + fine) else None

    metrics = until("answers to every ping", settled, 60)
    assert metrics['smolmon_ip_forwarding_enabled{family="ipv4"}'] == 1
    (route,) = [v for k, v in metrics.items() if k.startswith("smolmon_route_present{")]
    assert route == 1
    addresses = [v for k, v in metrics.items() if k.startswith("smolmon_address_present{")]
    assert addresses == [1, 1]  # on the fabric and on the edge link
    moved = [v for k, v in metrics.items() if k.startswith("smolmon_neighbor_mac_changes_total")]
    assert set(moved) == {0}
    listening = netstat_tcp.parse(macs.ssh("mini1", "/usr/sbin/netstat -anl -p tcp"))
    assert netstat_tcp.listeners(listening, 9742)
    log = macs.ssh("mini1", "cat /Library/Logs/smolmon.log")
    assert log.count("no routing socket") == 1

    smolmon("lab", "break", "return-route-gone", "--node", "mini1")
    until(
        "the exporter to see it",
        lambda: [v for k, v in scrape().items() if k.startswith("smolmon_route_present{")] == [0],
        20,
    )
    smolmon("lab", "heal")
    plist_file = f"/Library/LaunchDaemons/{label}.plist"
    macs.ssh("mini1", f"sudo launchctl bootout system/{label}; sudo rm {plist_file}")

"""The stand-ins in a plain network namespace: smolmon's parsers read what they print.

The namespace has the interfaces of the guide's mini1 and, at the other ends, another Mac and a Pi.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from smolmon.cluster import load
from smolmon.cluster.model import Platform
from smolmon.lab.mac_model import description, ring
from smolmon.lab.plan import plan
from smolmon.macos import (
    airport,
    arp,
    cabling,
    ifconfig,
    ndp,
    netstat_interfaces,
    netstat_routes,
    netstat_tcp,
    networksetup,
    pf,
    ping,
    pmset,
    route_get,
    socketfilterfw,
    sysctl,
    thunderbolt,
)
from smolmon.macos.networksetup import AdditionalRoute, HardwarePort, Method, Service
from smolmon.macos.socketfilterfw import AppRule, FirewallState
from smolmon.setup.macos import fence
from smolmon.setup.macos.tools import ANCHOR

ROOT = Path(__file__).parents[2]
NAME = f"smt-{os.getpid()}-mac"
FAR = f"smt-{os.getpid()}-far"
BRIDGE, USB = "Thunderbolt Bridge", "USB 10/100/1000 LAN"
ROUTE = ("192.168.51.0", "255.255.255.0", "10.10.0.3")

Tool = Callable[..., str]


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, (command, done.stderr)
    return done


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """The guide's cluster, its minis Macs."""
    text = (ROOT / "examples/guide.yaml").read_text(encoding="utf-8")
    for name in ("mini1", "mini2", "mini3"):
        text = text.replace(f"{name}: {{platform: linux", f"{name}: {{platform: macos")
    path = tmp_path / "guide.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def state(tmp_path: Path, guide: Path) -> Path:
    """The folder in which the stand-ins keep what they are told."""
    cluster = load(guide)
    wanted = plan(cluster)
    folder = tmp_path / "state"
    folder.mkdir()
    machine = description(cluster, wanted, wanted.machine("mini1"))
    (folder / "machine.json").write_text(json.dumps(machine))
    return folder


@pytest.fixture
def tool(state: Path) -> Iterator[Tool]:
    """Runs a stand-in as mini1's root would: its module, then its arguments."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        reason = "needs root and ip"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)

    def ask(module: str, *words: str, status: int = 0) -> str:
        settings = [f"SMOLMON_MAC={state}", f"SMOLMON_MAC_RUN={state}", f"PYTHONPATH={ROOT}"]
        python = [sys.executable, "-m", f"smolmon.lab.mac.{module}"]
        entered = ["ip", "netns", "exec", NAME, "env", *settings, *python, *words]
        done = run(*entered, check=False)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout

    try:
        for name in (NAME, FAR):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
            ping_range = "net.ipv4.ping_group_range=0 2147483647"
            run("ip", "netns", "exec", name, "sysctl", "-qw", ping_range)
        for device in ("en1", "en5", "bridge0"):
            ends = (f"{device} type veth peer name {device} netns {FAR}").split()
            run("ip", "-n", NAME, "link", "add", *ends)
            for name in (NAME, FAR):
                run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", FAR, "address", "add", "10.10.0.3/24", "dev", "bridge0")
        run("ip", "-n", FAR, "address", "add", "192.168.1.1/24", "dev", "en1")
        run("ip", "-n", NAME, "address", "add", "192.168.1.11/24", "dev", "en1")
        default = "route add default via 192.168.1.1 dev en1 metric 600"
        run("ip", "-n", NAME, *default.split())
        yield ask
    finally:
        for name in (NAME, FAR):
            run("ip", "netns", "delete", name, check=False)


@pytest.fixture
def mac(tool: Tool) -> Tool:
    """The same, with the fabric set up."""
    tool("networksetup", "-setmanual", BRIDGE, "10.10.0.1", "255.255.255.0", "")
    tool("networksetup", "-setadditionalroutes", BRIDGE, *ROUTE)
    return tool


def test_services_and_ports(tool: Tool) -> None:
    assert networksetup.services(tool("networksetup", "-listallnetworkservices")) == (
        Service(USB, enabled=True),
        Service("Wi-Fi", enabled=True),
        Service(BRIDGE, enabled=True),
    )
    tool("networksetup", "-setnetworkserviceenabled", USB, "off")
    order = networksetup.service_order(tool("networksetup", "-listnetworkserviceorder"))
    assert order[0] == Service(USB, enabled=False, port=USB, device="en5")
    assert order[2] == Service(BRIDGE, enabled=True, port=BRIDGE, device="bridge0")
    assert tool("networksetup", "-getnetworkserviceenabled", USB) == "Disabled\n"
    ports = networksetup.hardware_ports(tool("networksetup", "-listallhardwareports"))
    assert [(p.name, p.device) for p in ports] == [
        (USB, "en5"),
        ("Wi-Fi", "en1"),
        (BRIDGE, "bridge0"),
        ("Thunderbolt 1", "en2"),
        ("Thunderbolt 2", "en3"),
    ]
    assert isinstance(ports[0], HardwarePort)
    assert ports[0].mac is not None


@pytest.mark.parametrize("name", ["雷雳网桥", 'Puente "Thunderbolt"', "a'b $(x) *"])
def test_a_service_may_be_called_anything(mac: Tool, name: str) -> None:
    mac("networksetup", "-renamenetworkservice", BRIDGE, name)
    assert name in mac("networksetup", "-listallnetworkservices").splitlines()
    found = networksetup.info(mac("networksetup", "-getinfo", name))
    assert found is not None
    assert found.address == IPv4Address("10.10.0.1")


def test_settings_are_stored_and_live(mac: Tool) -> None:
    found = networksetup.info(mac("networksetup", "-getinfo", BRIDGE))
    assert found is not None
    assert (found.method, found.prefix_length, found.router) == (Method.MANUAL, 24, None)
    assert networksetup.additional_routes(mac("networksetup", "-getadditionalroutes", BRIDGE)) == (
        AdditionalRoute(IPv4Network("192.168.51.0/24"), IPv4Address("10.10.0.3")),
    )
    (bridge,) = ifconfig.parse(mac("ifconfig", "bridge0"))
    assert bridge.addresses == (IPv4Interface("10.10.0.1/24"),)
    assert (bridge.active, bridge.members) == (True, ("en2", "en3"))


def test_the_list_of_routes_is_replaced_whole(mac: Tool) -> None:
    other = ("192.168.52.0", "255.255.255.0", "10.10.0.2")
    mac("networksetup", "-setadditionalroutes", BRIDGE, *other)
    assert [str(r) for r in table(mac) if r.prefixlen == 24 and str(r).startswith("192.168.5")] == [
        "192.168.52.0/24"
    ]
    mac("networksetup", "-setadditionalroutes", BRIDGE)
    none = mac("networksetup", "-getadditionalroutes", BRIDGE)
    assert none == f"There are no additional IPv4 routes on {BRIDGE}.\n"
    assert IPv4Network("192.168.52.0/24") not in table(mac)


def table(mac: Tool) -> dict[IPv4Network, netstat_routes.NetstatRoute]:
    rows = netstat_routes.parse(mac("netstat", "-rn", "-f", "inet"))
    return {r.destination: r for r in rows if not r.scoped and not r.cloned}


def test_while_the_link_is_down_settings_are_stored_only(mac: Tool) -> None:
    run("ip", "-n", FAR, "link", "set", "bridge0", "down")
    mac("networksetup", "-setmanual", BRIDGE, "10.10.0.7", "255.255.255.0", "")
    found = networksetup.info(mac("networksetup", "-getinfo", BRIDGE))
    assert found is not None
    assert found.address == IPv4Address("10.10.0.7")
    (bridge,) = ifconfig.parse(mac("ifconfig", "bridge0"))
    assert (bridge.active, bridge.addresses) == (False, ())
    assert not [r for r in table(mac).values() if r.device == "bridge0"]


def test_back_to_dhcp_and_to_nothing(mac: Tool) -> None:
    mac("networksetup", "-setdhcp", BRIDGE)
    found = networksetup.info(mac("networksetup", "-getinfo", BRIDGE))
    assert found is not None
    assert found.method is Method.DHCP
    assert found.address is not None
    assert found.address in IPv4Network("169.254.0.0/16")
    mac("networksetup", "-removenetworkservice", BRIDGE)
    (bridge,) = ifconfig.parse(mac("ifconfig", "bridge0"))
    assert bridge.addresses == ()
    mac("networksetup", "-createnetworkservice", "Fabric", BRIDGE)
    order = networksetup.service_order(mac("networksetup", "-listnetworkserviceorder"))
    assert order[-1] == Service("Fabric", True, BRIDGE, "bridge0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-getinfo", "None"), "None is not a recognized network service."),
        (("-setmanual", BRIDGE, "10.10.0.1"), "The parameters were not valid."),
        (("-setmanual", BRIDGE, "10.10.0.300", "255.0.0.0", ""), "The parameters were not valid."),
        (("-setadditionalroutes", BRIDGE, "10.0.0.0"), "The parameters were not valid."),
    ],
)
def test_errors_are_on_stdout(tool: Tool, words: tuple[str, ...], said: str) -> None:
    assert networksetup.error(tool("networksetup", *words, status=4)) == said


def test_routes(mac: Tool) -> None:
    found = table(mac)
    assert found[IPv4Network("0.0.0.0/0")].gateway == IPv4Address("192.168.1.1")
    way = found[IPv4Network("192.168.51.0/24")]
    assert (way.gateway, way.device, way.flags) == (IPv4Address("10.10.0.3"), "bridge0", "UGSc")
    assert found[IPv4Network("10.10.0.0/24")].gateway is None
    assert found[IPv4Network("127.0.0.0/8")].device == "lo0"


def test_a_second_default_route_is_scoped(mac: Tool) -> None:
    extra = "route add default via 10.10.0.3 dev bridge0 metric 700"
    run("ip", "-n", NAME, *extra.split())
    rows = netstat_routes.parse(mac("netstat", "-rn", "-f", "inet"))
    defaults = [(r.device, r.scoped) for r in rows if r.destination.prefixlen == 0]
    assert defaults == [("en1", False), ("bridge0", True)]


def test_which_route_is_used(mac: Tool) -> None:
    def get(address: str) -> route_get.RouteGet | None:
        return route_get.parse(mac("route", "-n", "get", address))

    way = get("192.168.51.4")
    assert way is not None
    assert (way.destination, way.gateway, way.interface, way.mtu) == (
        IPv4Network("192.168.51.0/24"),
        IPv4Address("10.10.0.3"),
        "bridge0",
        1500,
    )
    near = get("10.10.0.3")
    assert near is not None
    assert (near.gateway, near.interface) == (None, "bridge0")
    missing = get("192.168.77.0/24")
    assert missing is not None
    assert missing.is_default
    own = get("10.10.0.1")
    assert own is not None
    assert own.interface == "lo0"
    run("ip", "-n", NAME, "route", "delete", "default")
    assert get("8.8.8.8") is None
    assert get("192.168.77.0/24") is None
    run("ip", "-n", NAME, "route", "add", "blackhole", "192.168.60.0/24")
    refused = get("192.168.60.1")
    assert refused is not None
    assert refused.refuses


def test_routes_are_added_changed_and_deleted(mac: Tool) -> None:
    net = IPv4Network("192.168.60.0/24")
    added = mac("route", "-n", "add", "-net", "192.168.60.0/24", "10.10.0.3")
    assert added == "add net 192.168.60.0/24: gateway 10.10.0.3\n"
    assert table(mac)[net].gateway == IPv4Address("10.10.0.3")
    assert "File exists" in mac("route", "add", str(net), "10.10.0.2", status=1)
    mac("route", "change", str(net), "10.10.0.2")
    assert table(mac)[net].gateway == IPv4Address("10.10.0.2")
    mac("route", "delete", "-net", "192.168.60.0", "-netmask", "255.255.255.0")
    assert net not in table(mac)
    assert "not in table" in mac("route", "delete", str(net), status=1)


def test_interfaces_and_their_counters(mac: Tool) -> None:
    seen = {i.name: i for i in ifconfig.parse(mac("ifconfig", "-a"))}
    assert list(seen) == ["lo0", "en5", "en1", "en2", "en3", "bridge0"]
    assert (seen["en5"].speed, seen["en5"].full_duplex) == (1e9, True)
    assert (seen["en2"].active, seen["en3"].active) == (True, False)
    counters = {
        c.name: c for c in netstat_interfaces.parse(mac("netstat", *["-i", "-b", "-d", "-n"]))
    }
    assert set(counters) == {"lo0", "en5", "en1", "bridge0"}
    assert counters["bridge0"].mac == seen["bridge0"].mac
    assert counters["bridge0"].transmit_drops is not None
    before = counters["bridge0"].transmit_bytes
    mac("ping", "-c", "1", "10.10.0.3")
    (after,) = netstat_interfaces.parse(mac("netstat", *["-I", "bridge0", "-b", "-d", "-n"]))
    assert after.transmit_bytes is not None
    assert before is not None
    assert after.transmit_bytes > before


def test_neighbours(mac: Tool) -> None:
    mac("ping", "-c", "1", "10.10.0.3")
    mac("ping", "-c", "1", "-t", "1", "10.10.0.9", status=2)
    mac("arp", "-s", "10.10.0.5", "2:0:0:0:0:5")
    entries = {str(e.address): e for e in arp.parse(mac("arp", "-an"))}
    assert entries["10.10.0.1"].permanent
    assert entries["10.10.0.3"].mac is not None
    assert entries["10.10.0.9"].mac is None
    assert (entries["10.10.0.5"].mac, entries["10.10.0.5"].permanent) == ("02:00:00:00:00:05", True)
    heard = {str(r.address): r for r in arp.parse_reachability(mac("arp", "-anl"))}
    assert heard["10.10.0.3"].recent is True
    assert heard["10.10.0.1"].recent is None
    mac("arp", "-d", "10.10.0.5")
    assert "no entry" in mac("arp", "-n", "10.10.0.5", status=1)
    assert all(e.device == "bridge0" for e in ndp.parse(mac("ndp", "-an")) if "bridge" in e.device)
    assert ndp.parse(mac("ndp", "-an"))


def test_neighbours_of_one_interface(mac: Tool) -> None:
    def seen() -> dict[str, tuple[str | None, bool]]:
        found = arp.parse(mac("arp", "-an"))
        return {str(e.address): (e.mac, e.permanent) for e in found if e.device == "bridge0"}

    scope = ("ifscope", "bridge0")
    mac("ping", "-c", "1", "10.10.0.3")
    mac("arp", "-S", "10.10.0.3", "2:0:0:0:0:3", *scope)
    assert seen()["10.10.0.3"] == ("02:00:00:00:00:03", True)
    mac("arp", "-S", "10.10.0.3", "2:0:0:0:0:4", *scope)
    assert seen()["10.10.0.3"] == ("02:00:00:00:00:04", True)
    mac("arp", "-d", "10.10.0.3", "ifscope", "en1", status=1)
    mac("arp", "-d", "10.10.0.3", *scope)
    mac("arp", "-d", "10.10.0.3", *scope, status=1)
    # Such an entry needs the interface's address, and goes with it.
    assert "cannot intuit" in mac("arp", "-S", "192.168.50.2", "2:0:0:0:0:5", *scope, status=1)
    mac("arp", "-S", "10.10.0.3", "2:0:0:0:0:3", *scope)
    mac("networksetup", "-setmanual", BRIDGE, "10.99.0.1", "255.255.255.0", "")
    mac("networksetup", "-setmanual", BRIDGE, "10.10.0.1", "255.255.255.0", "")
    assert seen().get("10.10.0.3", (None, False))[1] is False


def test_the_rules_of_setup_act_while_somebody_holds_pf(mac: Tool, tmp_path: Path) -> None:
    mac("networksetup", "-setmanual", USB, "192.168.50.1", "255.255.255.0", "")
    run("ip", "-n", NAME, "address", "add", "192.168.51.2/32", "dev", "lo")
    run("ip", "-n", FAR, "address", "add", "192.168.50.2/24", "dev", "en5")
    run("ip", "-n", FAR, "route", "add", "192.168.51.0/24", "via", "192.168.50.1")
    file = tmp_path / "pf.conf"
    asked = fence.ruleset(
        [IPv4Network("192.168.50.0/24"), IPv4Network("192.168.51.0/24")],
        [IPv4Address("192.168.50.1")],
    )
    file.write_bytes(asked)

    def crosses() -> bool:
        ping_ = ("ping", "-c1", "-W1", "-q", "-I", "192.168.50.2", "192.168.51.2")
        return run("ip", "netns", "exec", FAR, *ping_, check=False).returncode == 0

    assert crosses()
    mac("pfctl", "-q", "-onone", "-a", ANCHOR, "-f", str(file))
    assert crosses()  # nobody has enabled it
    assert pf.enabled(mac("pfctl", "-s", "info")) is False
    assert pf.references(mac("pfctl", "-s", "References")) == frozenset()
    for _ in range(2):
        mac("pfctl", "-E")
    assert not crosses()
    assert mac("ping", "-c", "1", "-W", "1000", "192.168.50.2")
    first, second = pf.references(mac("pfctl", "-s", "References"))
    assert pf.rules(mac("pfctl", "-a", ANCHOR, "-s", "rules")) == pf.rules(asked.decode())
    mac("pfctl", "-X", first)
    mac("pfctl", "-X", first, status=1)
    assert not crosses()
    mac("pfctl", "-q", "-a", ANCHOR, "-F", "rules")
    assert crosses()
    assert pf.enabled(mac("pfctl", "-s", "info")) is True
    mac("pfctl", "-X", second)
    assert pf.enabled(mac("pfctl", "-s", "info")) is False


def test_pings(mac: Tool) -> None:
    answered = ping.parse(mac("ping", "-n", "-c", "2", "-i", "0.1", "-W", "1000", "10.10.0.3"))
    assert answered is not None
    assert (answered.transmitted, answered.received) == (2, 2)
    assert answered.average is not None
    lost = ping.parse(mac("ping", "-q", "-c", "1", "-W", "200", "10.10.0.9", status=2))
    assert lost == ping.PingResult(1, 0)
    bound = ping.parse(mac("ping", "-b", "bridge0", "-c", "1", "10.10.0.3"))
    assert bound is not None
    assert bound.received == 1
    mac("ping", "nowhere.invalid", status=68)


def test_tcp(mac: Tool) -> None:
    code = (
        "import socket, sys; a = socket.create_server(('10.10.0.1', 65432));"
        "b = socket.create_server(('::', 9742), family=socket.AF_INET6, dualstack_ipv6=True);"
        "c = socket.create_connection(('10.10.0.1', 65432)); print('up', flush=True);"
        "sys.stdin.read()"
    )
    server = subprocess.Popen(
        ["ip", "netns", "exec", NAME, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    with server:
        assert server.stdout.readline() == "up\n"
        sockets = netstat_tcp.parse(mac("netstat", "-anl", "-p", "tcp"))
        server.communicate("")
    (listener,) = netstat_tcp.listeners(sockets, 65432)
    assert listener.address == IPv4Address("10.10.0.1")
    assert len(netstat_tcp.established(sockets, 65432)) == 2  # both ends are here
    (both,) = (s for s in sockets if s.local.port == 9742)
    assert both.families == {4, 6}


def test_forwarding(tool: Tool) -> None:
    assert sysctl.forwarding(tool("sysctl", sysctl.FORWARDING)) is False
    assert sysctl.forwarding(tool("sysctl", "-w", f"{sysctl.FORWARDING}=1")) is True
    assert tool("sysctl", "-n", sysctl.FORWARDING) == "1\n"
    assert sysctl.boot_time(tool("sysctl", "kern.boottime")) is not None
    assert tool("sysctl", "net.ipv4.ip_forward", status=1) == ""


def test_firewall(tool: Tool, tmp_path: Path) -> None:
    program, link = tmp_path / "python3.12", tmp_path / "python3"
    program.touch()
    link.symlink_to(program)
    state = socketfilterfw.global_state(tool("socketfilterfw", "--getglobalstate"))
    assert state is FirewallState.OFF
    tool("socketfilterfw", "--setglobalstate", "on")
    tool("socketfilterfw", "--add", str(link), "--blockapp", str(link))
    listed = socketfilterfw.apps(tool("socketfilterfw", "--listapps"))
    assert listed == (AppRule(str(program), allowed=False),)
    tool("socketfilterfw", "--unblockapp", str(program))
    (rule,) = socketfilterfw.apps(tool("socketfilterfw", "--listapps"))
    assert rule.allowed
    assert socketfilterfw.stealth_mode(tool("socketfilterfw", "--getstealthmode")) is False
    tool("socketfilterfw", "--setblockall", "on")
    assert socketfilterfw.block_all(tool("socketfilterfw", "--getblockall")) is True
    state = socketfilterfw.global_state(tool("socketfilterfw", "--getglobalstate"))
    assert state is FirewallState.BLOCK_ALL
    tool("socketfilterfw", "--remove", str(program))
    assert socketfilterfw.apps(tool("socketfilterfw", "--listapps")) == ()


def test_profiler_and_power(tool: Tool) -> None:
    buses = thunderbolt.parse(tool("system_profiler", "SPThunderboltDataType", "-json"))
    assert [(b.receptacle, b.connected, len(b.peers)) for b in buses] == [
        ("1", True, 1),
        ("2", False, 0),
    ]
    (wifi,) = airport.parse(tool("system_profiler", "SPAirPortDataType", "-json"))
    assert wifi.device == "en1"
    assert pmset.parse(tool("small", "pmset", "-g")).sleeps is True
    tool("small", "pmset", "-a", "sleep", "0")
    assert pmset.parse(tool("small", "pmset", "-g")).sleeps is False


def test_a_closed_ring_can_be_told(guide: Path) -> None:
    cluster = load(guide)
    wanted = plan(cluster)
    macs = [n.name for n in cluster.nodes if n.platform is Platform.MACOS]
    extra = ring(cluster.segment("fabric"))
    reports = {}
    for name in macs:
        sockets = description(cluster, wanted, wanted.machine(name))["thunderbolt"]
        for file in extra.get(name, ()):
            sockets += json.loads(file.text)["extra"]
        entries = [{"domain_uuid_key": s["domain"], "_items": peers(s)} for s in sockets]
        reports[name] = thunderbolt.parse(json.dumps({"SPThunderboltDataType": entries}))
    seen = cabling.cabling(reports)
    assert len(seen.cables) == 3
    assert [set(way) for way in cabling.rings(seen.cables)] == [set(macs)]


def peers(socket: dict[str, dict[str, str]]) -> list[dict[str, str]]:
    """The other end of a socket as system_profiler has it."""
    return [{"domain_uuid_key": socket["peer"]["domain"]}] if "peer" in socket else []

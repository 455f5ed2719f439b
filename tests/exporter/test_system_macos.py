"""The state of macOS' network, from recorded output of its tools."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest

from smolmon.cluster import Cluster, load
from smolmon.exporter import interfaces, process_macos, routes, training
from smolmon.exporter.neighbours import NeighbourWatch
from smolmon.exporter.process_macos import Figures
from smolmon.exporter.system import (
    Connection,
    Counters,
    Firewall,
    Interface,
    KernelRoute,
    Listener,
    Neighbour,
    NeighbourState,
    NotAvailableError,
    System,
    Topic,
    Way,
    Wifi,
)
from smolmon.exporter.system_macos import FIREWALL_FRESH, FRESH, WIFI_FRESH, MacSystem
from smolmon.exporter.tools_macos import run
from tests.macos.recorded import recorded

ANSWERS = {
    "/usr/sbin/netstat -rn -f inet": recorded("netstat_rn.txt"),
    "/usr/sbin/netstat -i -b -d -n": recorded("netstat_ibdn.txt"),
    "/usr/sbin/netstat -anl -p tcp": recorded("netstat_anl_tcp.txt"),
    "/sbin/ifconfig -a": recorded("ifconfig_a.txt"),
    "/sbin/route -n get 192.168.51.4": recorded("route_get.txt"),
    "/sbin/route -n get 192.168.50.2": recorded("route_get_on_link.txt"),
    "/sbin/route -n get 192.168.50.9": recorded("route_get_rejected.txt"),
    "/sbin/route -n get 192.168.59.1": recorded("route_get_not_in_table.txt"),
    "/usr/sbin/arp -an": recorded("arp_an.txt"),
    "/usr/sbin/arp -anl": recorded("arp_anl.txt"),
    "/usr/sbin/sysctl net.inet.ip.forwarding": "net.inet.ip.forwarding: 1\n",
    "/usr/libexec/ApplicationFirewall/socketfilterfw --getglobalstate": (
        "Firewall is enabled. (State = 1)\n"
    ),
    "/usr/libexec/ApplicationFirewall/socketfilterfw --getblockall": (
        "Firewall has block all state set to disabled.\n"
    ),
    "/usr/libexec/ApplicationFirewall/socketfilterfw --getstealthmode": (
        "Firewall stealth mode is on\n"
    ),
    "/usr/sbin/system_profiler SPAirPortDataType -json": recorded("system_profiler_airport.json"),
}
FIREWALL = "/usr/libexec/ApplicationFirewall/socketfilterfw"


class Mac:
    """Answers as a Mac would. `asked` are the commands that were run, in order."""

    def __init__(self) -> None:
        self.answers: dict[str, str | OSError] = dict(ANSWERS)
        self.asked: list[str] = []
        self.now = 1000.0
        self.later: list[Callable[[], None]] = []
        self.routing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.system = MacSystem(
            self.run, lambda: self.now, self.later.append, lambda: self.routing[0]
        )

    def run(self, argv: Sequence[str], timeout: float = 5.0) -> str:
        command = " ".join(argv)
        self.asked.append(command)
        answer = self.answers[command]
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.fixture
def mac() -> Iterator[Mac]:
    mac = Mac()
    yield mac
    for sock in mac.routing:
        sock.close()


def test_it_is_a_system(mac: Mac) -> None:
    system: System = mac.system
    system.close()


def test_routes_that_every_socket_uses(mac: Mac) -> None:
    table = mac.system.routes()
    assert [(str(r.destination), r.device) for r in table] == [
        ("0.0.0.0/0", "en1"),  # once: the others are for sockets bound to their interfaces
        ("0.0.0.0/1", "utun4"),
        ("10.0.0.0/8", "utun4"),
        ("10.10.0.0/24", "bridge0"),
        ("10.10.0.1/32", "bridge0"),
        ("10.64.0.1/32", "utun4"),
        ("127.0.0.0/8", "lo0"),
        ("127.0.0.1/32", "lo0"),
        ("128.0.0.0/1", "utun4"),
        ("169.254.0.0/16", "en1"),
        ("172.18.3.0/24", "en1"),
        ("192.168.0.0/16", "utun4"),
        ("192.168.50.0/24", "en5"),
        ("192.168.51.0/24", "bridge0"),
        ("192.168.52.0/24", "bridge0"),
        ("224.0.0.0/4", "en1"),
        ("255.255.255.255/32", "en1"),
    ]
    by_destination = {str(r.destination): r for r in table}
    assert by_destination["192.168.51.0/24"] == KernelRoute(
        IPv4Network("192.168.51.0/24"), IPv4Address("10.10.0.3"), "bridge0"
    )
    # This one refuses packets: it leads to no gateway.
    assert by_destination["192.168.52.0/24"].gateway is None


def test_a_route_over_an_inactive_bridge_leads_nowhere(mac: Mac) -> None:
    mac.answers["/sbin/ifconfig -a"] = recorded("ifconfig_bridge_without_peer.txt")
    broken = {r.device for r in mac.system.routes() if r.linkdown}
    assert broken == {"bridge0"}


@pytest.mark.parametrize(
    ("command", "ask"),
    [
        ("/usr/sbin/netstat -rn -f inet", lambda s: s.routes()),
        ("/sbin/ifconfig -a", lambda s: s.interfaces()),
        ("/usr/sbin/netstat -anl -p tcp", lambda s: s.tcp(22)),
        ("/usr/sbin/sysctl net.inet.ip.forwarding", lambda s: s.forwarding()),
    ],
)
def test_output_that_cannot_be_read_is_no_empty_answer(
    mac: Mac, command: str, ask: Callable[[System], object]
) -> None:
    mac.answers[command] = "Everything is different in macOS 99\n"
    with pytest.raises(OSError, match="read"):
        ask(mac.system)


def test_ways(mac: Mac) -> None:
    def way(address: str) -> Way | None:
        return mac.system.way(IPv4Address(address))

    assert way("192.168.51.4") == Way("bridge0", IPv4Address("10.10.0.3"))
    assert way("192.168.50.2") == Way("en5", None)
    assert way("192.168.50.9") is None  # refused
    assert way("192.168.59.1") is None  # not in table


def test_forwarding(mac: Mac) -> None:
    assert mac.system.forwarding() is True


def test_interfaces(mac: Mac) -> None:
    seen = {i.name: i for i in mac.system.interfaces()}
    assert seen["en5"] == Interface(
        name="en5",
        up=True,
        carrier=True,
        mac="9c:eb:e8:98:0e:62",
        addresses=(IPv4Address("192.168.50.1"), IPv4Address("192.168.60.1")),
        mtu=1500,
        speed=125e6,  # bytes per second
        full_duplex=True,
        receive=Counters(5998695733, 5661610, 3, None),
        transmit=Counters(991638350, 1557229, 4, 6),
    )
    assert seen["en7"].carrier is False
    assert seen["en7"].receive is None  # netstat did not list it
    assert seen["gif0"].carrier is None
    assert seen["bridge0"].carrier is True


def test_an_interface_by_address_is_the_bridge_and_not_its_member(mac: Mac) -> None:
    assert mac.system.interface("36:7e:4d:07:b2:c0") == "bridge0"
    assert mac.system.interface("9c:eb:e8:98:0e:62") == "en5"
    assert mac.system.interface("00:00:00:00:00:01") == ""
    first = next(i for i in mac.system.interfaces() if i.mac == "36:7e:4d:07:b2:c0")
    assert first.name == "bridge0"


def test_neighbours(mac: Mac) -> None:
    def neighbour(address: str, device: str, state: NeighbourState, mac: str = "") -> Neighbour:
        return Neighbour(IPv4Address(address), device, state, mac)

    assert list(mac.system.neighbours()) == [
        # 10.10.0.1 is a permanent entry: set by hand, on this machine (which has 10.10.0.2).
        neighbour("10.10.0.1", "bridge0", NeighbourState.PERMANENT, "82:15:07:f3:c5:40"),
        neighbour("10.10.0.3", "bridge0", NeighbourState.REACHABLE, "36:90:11:cc:0f:40"),
        neighbour("172.18.3.1", "en1", NeighbourState.STALE, "00:18:01:8f:23:ed"),
        neighbour("192.168.50.2", "en5", NeighbourState.STALE, "d8:3a:dd:01:02:03"),
        neighbour("192.168.50.3", "en5", NeighbourState.INCOMPLETE),
        neighbour("192.168.50.4", "en5", NeighbourState.FAILED),
        neighbour("192.168.50.5", "en5", NeighbourState.PERMANENT, "d8:3a:dd:01:02:05"),
    ]


def test_neighbours_of_an_arp_that_does_not_know_reachability(mac: Mac) -> None:
    mac.answers["/usr/sbin/arp -anl"] = ""
    states = {str(n.address): n.state for n in mac.system.neighbours()}
    assert states["10.10.0.3"] is NeighbourState.STALE
    assert states["192.168.50.4"] is NeighbourState.INCOMPLETE


def test_tcp(mac: Mac) -> None:
    training = mac.system.tcp(65432)
    assert training.listeners == [Listener(IPv4Address("10.10.0.1"))]
    assert training.connections == [
        Connection(IPv4Address("10.10.0.1"), 65432, IPv4Address("10.10.0.3"), 50311)
    ]
    assert mac.system.tcp(9742).listeners == [Listener(IPv6Address("::"), ipv4=True)]
    assert mac.system.tcp(22).listeners == [
        Listener(IPv6Address("::"), ipv4=False),
        Listener(IPv4Address("0.0.0.0")),
    ]
    assert mac.system.tcp(1).listeners == []


def test_wifi_is_asked_on_the_side(mac: Mac) -> None:
    with pytest.raises(OSError, match="not answered yet"):
        mac.system.wifi()
    with pytest.raises(OSError, match="not answered yet"):
        mac.system.wifi()
    (ask,) = mac.later  # once, however often it is wanted
    ask()
    assert mac.system.wifi() == [Wifi("en1", -52, -90)]
    mac.now += WIFI_FRESH + 1
    assert mac.system.wifi() == [Wifi("en1", -52, -90)]
    assert len(mac.later) == 2


def test_wifi_that_cannot_be_asked(mac: Mac) -> None:
    mac.answers["/usr/sbin/system_profiler SPAirPortDataType -json"] = TimeoutError(
        errno.ETIMEDOUT, "system_profiler does not answer"
    )
    with pytest.raises(OSError, match="not answered yet"):
        mac.system.wifi()
    mac.later.pop()()
    with pytest.raises(OSError, match="does not answer"):
        mac.system.wifi()


def test_firewall(mac: Mac) -> None:
    assert mac.system.firewall() == Firewall(enabled=True, block_all=False, stealth=True)
    before = len(mac.asked)
    mac.now += FIREWALL_FRESH - 1
    mac.system.firewall()
    assert len(mac.asked) == before
    mac.answers[f"{FIREWALL} --getglobalstate"] = "Blocks everything. (State = 2)\n"
    mac.answers[f"{FIREWALL} --getblockall"] = "?\n"
    mac.answers[f"{FIREWALL} --getstealthmode"] = "?\n"
    mac.now += 2
    assert mac.system.firewall() == Firewall(enabled=True, block_all=True, stealth=None)


def test_a_firewall_that_does_not_say(mac: Mac) -> None:
    mac.answers[f"{FIREWALL} --getglobalstate"] = (
        "Firewall settings cannot be modified from command line on managed Mac computers.\n"
    )
    with pytest.raises(NotAvailableError):
        mac.system.firewall()


def test_one_scrape_runs_each_tool_once(mac: Mac) -> None:
    def scrape() -> None:
        mac.system.routes()
        mac.system.interfaces()
        mac.system.interface("9c:eb:e8:98:0e:62")
        mac.system.neighbours()

    scrape()
    assert len(mac.asked) == len(set(mac.asked)) == 5
    mac.now += FRESH
    scrape()
    assert len(mac.asked) == 10


def test_sockets_are_looked_at_each_time(mac: Mac) -> None:
    mac.system.tcp(65432)
    mac.system.tcp(65432)
    assert len(mac.asked) == 2


def test_trouble_is_shared_as_well(mac: Mac) -> None:
    mac.answers["/sbin/ifconfig -a"] = FileNotFoundError(errno.ENOENT, "No such file")
    for ask in (mac.system.interfaces, mac.system.interfaces):
        with pytest.raises(OSError, match="No such file"):
            ask()
    assert mac.asked.count("/sbin/ifconfig -a") == 1


def routing_message(kind: int, flags: int = 0) -> bytes:
    return struct.pack("=HBBHHi", 92, 5, kind, 4, 0, flags).ljust(92, b"\0")


def test_news_from_the_kernel_makes_answers_stale(mac: Mac) -> None:
    here, kernel = mac.routing
    changes = mac.system.changes()
    assert changes.fileno() == here.fileno()
    mac.system.forwarding()
    assert changes.receive().topics == frozenset()
    kernel.send(routing_message(0x4))  # the answer to our own `route get`
    assert changes.receive().topics == frozenset()
    mac.system.forwarding()
    assert len(mac.asked) == 1
    kernel.send(routing_message(0x2) + routing_message(0xE))
    kernel.send(routing_message(0x1, flags=0x400))
    news = changes.receive()
    assert news.topics == {Topic.ROUTES, Topic.INTERFACES, Topic.NEIGHBOURS}
    mac.system.forwarding()
    assert len(mac.asked) == 2
    changes.close()


def test_running_a_tool() -> None:
    code = "import os; print(os.environ['LC_ALL'], os.path.exists('/dev/stdin'), end='')"
    assert run([sys.executable, "-c", code]) == "C True"


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("import time; time.sleep(30)", "does not answer"),
        ("import os, time; os.close(1); time.sleep(30)", "does not end"),
        ("while True: print('x' * 4096)", "more than"),
        ("raise SystemExit(3)", "status 3"),
    ],
)
def test_a_tool_that_misbehaves_is_stopped(code: str, match: str) -> None:
    before = time.monotonic()
    with pytest.raises(OSError, match=match):
        run([sys.executable, "-c", code], timeout=1.0, limit=1 << 20)
    assert time.monotonic() - before < 10


def test_a_tool_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        run(["/usr/sbin/no-such-tool"])


def test_figures_of_the_process() -> None:
    seen = process_macos.figures(1.0, lambda argv, timeout=5.0: "45056\n")
    assert seen.memory == 45056 * 1024
    assert seen.open_fds is not None
    assert 3 <= seen.open_fds < 1000
    assert seen.cpu > 0


def test_process_metrics_have_the_names_that_all_clients_use() -> None:
    families = list(process_macos.metrics(Figures(1.5, 1763900000.0, 45056, None, 256)))
    samples = {s.name: s.value for family in families for s in family.samples}
    assert samples == {
        "process_cpu_seconds_total": 1.5,
        "process_start_time_seconds": 1763900000.0,
        "process_resident_memory_bytes": 45056,
        "process_max_fds": 256,
    }


def test_a_ps_that_fails_leaves_the_memory_out() -> None:
    def fails(argv: Sequence[str], timeout: float = 5.0) -> str:
        raise OSError(errno.EIO, "ps ended with status 1")

    assert process_macos.figures(1.0, fails).memory is None


def mini1(tmp_path: Path, mac: Mac) -> Cluster:
    """The guide's cluster on Macs; `mac` becomes its mini1, with the server."""
    text = (Path(__file__).parents[2] / "examples" / "guide.yaml").read_text(encoding="utf-8")
    for name in ("mini1", "mini2", "mini3"):
        text = text.replace(f"{name}: {{platform: linux", f"{name}: {{platform: macos")
    text = text.replace("mini1: 10.10.0.1", "mini1: {address: 10.10.0.1, interface: bridge0}")
    path = tmp_path / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    mac.answers["/sbin/ifconfig -a"] = ANSWERS["/sbin/ifconfig -a"].replace(
        "inet 10.10.0.2 ", "inet 10.10.0.1 "
    )
    mac.answers["/sbin/route -n get 8.8.8.8"] = recorded("route_get_default.txt")
    return load(path)


def test_the_whole_way_from_the_tools_to_the_metrics(mac: Mac, tmp_path: Path) -> None:
    cluster = mini1(tmp_path, mac)
    families = [
        *routes.RouteWatch(cluster, "mini1", mac.system).collect(),
        *routes.default_route(cluster, "mini1", mac.system),
        *interfaces.collect(cluster, "mini1", mac.system),
        *NeighbourWatch(cluster, "mini1", mac.system).collect(),
        *training.sockets(cluster, "mini1", mac.system, set),
    ]
    found = {
        (s.name, *(s.labels.get(key, "") for key in ("destination", "link", "target", "state"))): (
            s.value
        )
        for family in families
        for s in family.samples
    }
    assert found["smolmon_route_present", "192.168.51.0/24", "fabric", "", ""] == 1
    assert found["smolmon_default_route_present", "", "", "", ""] == 1
    assert found["smolmon_default_route_on_segment", "", "fabric", "", ""] == 0
    assert found["smolmon_address_present", "", "fabric", "", ""] == 1
    assert found["smolmon_network_up", "", "edge50", "", ""] == 1
    assert found["smolmon_network_receive_bytes_total", "", "edge50", "", ""] == 5998695733
    assert ("smolmon_network_receive_drops_total", "", "edge50", "", "") not in found
    assert found["smolmon_network_transmit_drops_total", "", "edge50", "", ""] == 6
    assert found["smolmon_neighbor_state", "", "fabric", "mini3", "reachable"] == 1
    assert found["smolmon_neighbor_state", "", "fabric", "mini2", "none"] == 1
    assert found["smolmon_training_connections", "", "", "", ""] == 1


def test_a_return_route_that_is_gone(mac: Mac, tmp_path: Path) -> None:
    cluster = mini1(tmp_path, mac)
    rows = ANSWERS["/usr/sbin/netstat -rn -f inet"].splitlines(keepends=True)
    mac.answers["/usr/sbin/netstat -rn -f inet"] = "".join(
        row for row in rows if not row.startswith("192.168.51 ")
    )
    (present, *_) = routes.RouteWatch(cluster, "mini1", mac.system).collect()
    assert [s.value for s in present.samples if s.labels["destination"] == "192.168.51.0/24"] == [0]


@pytest.mark.skipif(not Path(process_macos.PS).exists(), reason="no ps here")
def test_ps_itself_is_asked_as_it_wants_to_be() -> None:
    # The same two options mean the same on Linux.
    memory = process_macos.figures(1.0).memory
    assert memory is not None
    assert 10e6 < memory < 10e9

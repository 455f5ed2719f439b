"""Network state on Linux, as the kernel has it, between two network namespaces."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from smolmon.cluster import load
from smolmon.exporter import netlink_linux, system_linux
from smolmon.exporter.host import this_host
from smolmon.exporter.network import Network
from smolmon.exporter.system import (
    Connection,
    Counters,
    Interface,
    Listener,
    Neighbour,
    NeighbourState,
    Topic,
    Way,
    Wifi,
)
from smolmon.exporter.system_linux import LinuxSystem, parse_wireless
from tests.exporter.netns import A, B, cable, enter, inside, ip, require_root, sh, until
from tests.exporter.test_network import series

pytestmark = pytest.mark.lab

CLUSTER = load(Path(__file__).parents[2] / "examples" / "guide.yaml")
NODE, PEER = IPv4Address("192.168.50.2"), IPv4Address("192.168.50.1")
SERVER = IPv4Address("10.10.0.1")
PORT = 65432

# The thread in A to which the system belongs.
WORKER = ThreadPoolExecutor(1, initializer=lambda: enter(A))


@pytest.fixture(scope="module")
def wire():
    require_root()
    with cable(f"{NODE}/24", f"{PEER}/24"), WORKER:
        ip(B, f"addr add {SERVER}/32 dev lo")
        yield


@pytest.fixture
def system(wire):
    linux = LinuxSystem()
    yield linux
    ask(linux.close)


def ask(question):
    return WORKER.submit(question).result(60)


def eth0(system) -> Interface:
    [found] = [i for i in ask(system.interfaces) if i.name == "eth0"]
    return found


def neighbour(system, address=PEER):
    found = [n for n in ask(system.neighbours) if n.address == address]
    return found[0] if found else None


def poke(address=PEER):
    """Make the kernel of A want to know the neighbour's hardware address."""
    with inside(A, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.sendto(b"", (str(address), 9))


COUNTERS = ("packets", "bytes", "errors", "dropped", "missed_errors")


class TestInterfaces:
    def test_what_ip_is_told_we_are_told(self, system):
        ip(A, "addr add 192.168.50.22/24 dev eth0")
        argv = ["ip", "-netns", A, "-json", "address"]
        theirs = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
        ours = {i.name: i for i in ask(system.interfaces)}
        ip(A, "addr del 192.168.50.22/24 dev eth0")
        assert {link["ifname"] for link in theirs} == ours.keys()
        for link in theirs:
            mine = ours[link["ifname"]]
            assert (mine.mac, mine.mtu) == (link["address"], link["mtu"])
            assert mine.up == ("UP" in link["flags"])
            addresses = [a["local"] for a in link["addr_info"] if a["family"] == "inet"]
            assert list(map(str, mine.addresses)) == addresses

    def test_carrier_and_switch(self, system):
        before = eth0(system)
        assert (before.up, before.carrier) == (True, True)
        ip(B, "link set en5 down")
        until(lambda: eth0(system).carrier is False)
        ip(B, "link set en5 up")
        until(lambda: eth0(system).carrier)
        assert eth0(system).carrier_changes == before.carrier_changes + 2
        ip(A, "link set eth0 down")
        down = eth0(system)
        assert (down.up, down.carrier, down.speed) == (False, None, None)
        ip(A, "link set eth0 up")
        until(lambda: eth0(system).carrier)

    def test_mtu_and_speed(self, system):
        ip(A, "link set eth0 mtu 9000")
        seen = eth0(system)
        ip(A, "link set eth0 mtu 1500")
        assert seen.mtu == 9000
        # What the driver of a virtual cable says: 10 Gbit/s.
        assert seen.speed == 10e9 / 8
        assert seen.full_duplex is True
        [lo] = [i for i in ask(system.interfaces) if i.name == "lo"]
        assert (lo.speed, lo.full_duplex) == (None, None)

    def test_counters_count_packets_and_bytes(self, system):
        before = eth0(system)
        sh(A, "ping", "-c", "5", "-i", "0.01", "-s", "1000", "-q", str(PEER))
        after = eth0(system)
        for was, now in ((before.receive, after.receive), (before.transmit, after.transmit)):
            # The kernels' own ARP and IPv6 packets may come between.
            assert 5 <= now.packets - was.packets < 25
            assert 5 * 1042 <= now.bytes - was.bytes < 5 * 1042 + 20 * 110

    def test_packets_without_room_are_drops(self):
        stats = {
            **{f"rx_{name}": n for n, name in enumerate(COUNTERS, 1)},
            **{f"tx_{name}": n for n, name in enumerate(COUNTERS, 11)},
        }
        received, sent = system_linux._received(stats), system_linux._sent(stats)
        assert received == Counters(packets=1, bytes=2, errors=3, drops=4 + 5)
        assert sent == Counters(packets=11, bytes=12, errors=13, drops=14)

    def test_an_interface_that_is_gone_is_not_listed(self, system):
        ip(A, "link add spare type veth peer name spare2")
        assert "spare" in [i.name for i in ask(system.interfaces)]
        ip(A, "link del spare")
        assert "spare" not in [i.name for i in ask(system.interfaces)]


class TestNeighbours:
    MAC = "02:00:00:00:00:51"

    def test_reachable_failed_and_unheard_of(self, system):
        sh(A, "ping", "-c", "1", "-q", str(PEER))
        seen = neighbour(system)
        assert (seen.device, seen.state) == ("eth0", NeighbourState.REACHABLE)
        [peer] = [i for i in inside(B, system_of_b) if i.name == "en5"]
        assert seen.mac == peer.mac
        nobody = IPv4Address("192.168.50.99")
        assert neighbour(system, nobody) is None
        sh(A, "sysctl", "-qw", "net.ipv4.neigh.eth0.retrans_time_ms=50")
        poke(nobody)
        seen = until(lambda: neighbour(system, nobody))
        assert seen.state in (NeighbourState.INCOMPLETE, NeighbourState.FAILED)
        until(lambda: neighbour(system, nobody).state is NeighbourState.FAILED)
        assert neighbour(system, nobody).mac == ""

    @pytest.mark.parametrize(
        ("nud", "state"),
        [
            ("stale", NeighbourState.STALE),
            ("delay", NeighbourState.STALE),
            ("reachable", NeighbourState.REACHABLE),
            ("permanent", NeighbourState.PERMANENT),
        ],
    )
    def test_states(self, system, nud, state):
        ip(A, f"neigh replace {PEER} lladdr {self.MAC} dev eth0 nud {nud}")
        try:
            assert neighbour(system) == Neighbour(PEER, "eth0", state, self.MAC)
        finally:
            ip(A, f"neigh del {PEER} dev eth0")

    def test_a_multicast_entry_is_no_neighbour(self, system):
        ip(A, f"neigh replace 224.0.0.9 lladdr {self.MAC} dev eth0 nud noarp")
        assert neighbour(system, IPv4Address("224.0.0.9")) is None


def system_of_b():
    linux = LinuxSystem()
    try:
        return linux.interfaces()
    finally:
        linux.close()


class TestWay:
    def test_the_kernels_answer_counts_every_rule(self, system):
        def way():
            return ask(lambda: system.way(SERVER))

        assert way() is None
        ip(A, f"route add 10.10.0.0/24 via {PEER}")
        try:
            assert way() == Way("eth0", PEER)
            assert ask(lambda: system.way(PEER)) == Way("eth0", None)
            ip(A, "rule add to 10.10.0.0/24 table 99")
            ip(A, "route add 10.10.0.0/24 via 192.168.50.9 table 99")
            assert way() == Way("eth0", IPv4Address("192.168.50.9"))
            for kind in ("unreachable", "blackhole", "prohibit"):
                ip(A, "route flush table 99")
                ip(A, f"route add {kind} 10.10.0.0/24 table 99")
                assert way() is None
        finally:
            ip(A, "rule del to 10.10.0.0/24 table 99")
            ip(A, "route flush table 99")
            ip(A, "route del 10.10.0.0/24")


@contextmanager
def listening(address, family=socket.AF_INET, v6only=False, device=""):
    """A socket that listens in A."""

    def make():
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.bind((address, PORT))
        sock.listen()
        return sock

    with inside(A, make) as sock:
        yield sock


class TestTcp:
    def table(self, system):
        return ask(lambda: system.tcp(PORT))

    def test_nobody_listens(self, system):
        seen = self.table(system)
        assert (list(seen.listeners), list(seen.connections)) == ([], [])

    @pytest.mark.parametrize(
        ("how", "listener"),
        [
            ({"address": str(NODE)}, Listener(NODE)),
            ({"address": ""}, Listener(IPv4Address("0.0.0.0"))),
            ({"address": "", "device": "eth0"}, Listener(IPv4Address("0.0.0.0"), "eth0")),
            ({"address": "::", "family": socket.AF_INET6}, Listener(IPv6Address("::"))),
            (
                {"address": "::", "family": socket.AF_INET6, "v6only": True},
                Listener(IPv6Address("::"), ipv4=False),
            ),
        ],
    )
    def test_the_address_that_it_is_bound_to(self, system, how, listener):
        with listening(**how):
            assert self.table(system).listeners == [listener]

    @pytest.mark.parametrize("address", ["0.0.0.0", "::"])
    def test_connections_from_both_ends(self, system, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with (
            listening(address, family) as server,
            inside(A, lambda: socket.create_connection((str(NODE), PORT))) as client,
        ):
            accepted, _ = server.accept()
            port = client.getsockname()[1]
            assert set(self.table(system).connections) == {
                Connection(NODE, port, NODE, PORT),
                Connection(NODE, PORT, NODE, port),
            }
            accepted.close()
        assert list(self.table(system).connections) == []


def test_wifi(system):
    text = """\
Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   57.  -53.  -256        0      0      0      0      3        0
 wlan1: 0000   40.  -70.  -95.        0      0      0      0      0        0
  old0: 0000   40.  200.  161.        0      0      0      0      0        0
"""
    assert parse_wireless(text) == [Wifi("wlan0", -53), Wifi("wlan1", -70, -95)]


class TestChanges:
    @pytest.fixture
    def changes(self, system):
        subscription = ask(system.changes)
        yield subscription
        subscription.close()

    @pytest.mark.parametrize(
        ("command", "undo", "topic"),
        [
            ("route add 10.9.0.0/24 via 192.168.50.1", "route del 10.9.0.0/24", Topic.ROUTES),
            (
                "addr add 192.168.50.23/24 dev eth0",
                "addr del 192.168.50.23/24 dev eth0",
                Topic.ADDRESSES,
            ),
            ("link set eth0 mtu 1400", "link set eth0 mtu 1500", Topic.INTERFACES),
            (
                "neigh replace 192.168.50.8 lladdr 02:00:00:00:00:08 dev eth0",
                "neigh del 192.168.50.8 dev eth0",
                Topic.NEIGHBOURS,
            ),
        ],
    )
    def test_a_change_is_told_at_once(self, changes, command, undo, topic):
        changes.receive()
        for order in (command, undo):
            ip(A, order)
            assert topic in changes.receive().topics
        assert not changes.receive().topics

    def test_an_overflow_is_everything_and_no_end(self, changes):
        ip(A, "link add spare type veth peer name spare2")
        ip(A, "link set spare2 up")
        ip(A, "link set spare up")
        try:
            with socket.socket(fileno=os.dup(changes.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            lines = "\n".join(f"route add 10.8.{i}.0/24 dev spare" for i in range(100))
            run = ["ip", "netns", "exec", A, "ip", "-batch", "-"]
            subprocess.run(run, input=lines, text=True, check=True)
            news = changes.receive()
            assert news.lost
            assert news.topics == set(Topic)
            ip(A, "route del 10.8.0.0/24")
            later = changes.receive()
            assert not later.lost
            assert later.topics == {Topic.ROUTES}
        finally:
            ip(A, "link del spare")


def watched(scenario):
    """What is seen after `scenario`, a coroutine function that gets the running checks of pi5 and a
    function that scrapes them."""

    async def main():
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as worker:
            host = this_host()
            network = Network(CLUSTER, "pi5", host, worker)
            tasks = [asyncio.create_task(each) for each in network.loops()]

            async def scrape():
                made = network.collectors()
                return await loop.run_in_executor(
                    worker, lambda: series(m for collect in made.values() for m in collect())
                )

            try:
                await asyncio.wait_for(scenario(network, scrape), 20)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await loop.run_in_executor(worker, host.system.close)

    inside(A, lambda: asyncio.run(main()))


async def wait_for(condition):
    while not condition():
        await asyncio.sleep(0.002)


class TestWatched:
    def test_a_route_that_is_gone_for_a_moment_is_a_fact_within_milliseconds(self, wire):
        async def scenario(network, scrape):
            watch = network._routes
            await wait_for(lambda: watch._present)
            [route] = watch._losses
            lags = []
            for count in range(1, 6):
                await asyncio.to_thread(ip, A, "route del 10.10.0.0/24")
                start = time.monotonic()
                await wait_for(lambda count=count: watch._losses[route] == count)
                lags.append(time.monotonic() - start)
                await asyncio.to_thread(ip, A, f"route add 10.10.0.0/24 via {PEER}")
                await wait_for(lambda: watch._present[route])
            assert sorted(lags)[2] < 0.1
            seen = await scrape()
            [losses] = [v for k, v in seen.items() if k[0] == "smolmon_route_losses_total"]
            [present] = [v for k, v in seen.items() if k[0] == "smolmon_route_present"]
            [at] = [v for k, v in seen.items() if k[0].startswith("smolmon_route_last_change")]
            assert (losses, present) == (5, 1)
            assert abs(at - time.time()) < 1

        ip(A, f"route add 10.10.0.0/24 via {PEER}")
        try:
            watched(scenario)
        finally:
            ip(A, "route del 10.10.0.0/24")

    def test_a_change_of_mac_between_two_scrapes_is_counted(self, wire):
        async def scenario(network, scrape):
            key = ("smolmon_neighbor_mac_changes_total", "edge50", "mini1")
            watch = network._neighbours
            for octet in (1, 2, 1):
                mac = f"02:00:00:00:00:0{octet}"
                await asyncio.to_thread(ip, A, f"neigh replace {PEER} lladdr {mac} dev eth0")
                await wait_for(lambda mac=mac: mac in watch._mac.values())
            assert (await scrape())[key] == 2

        ip(A, f"neigh replace {PEER} lladdr 02:00:00:00:00:01 dev eth0")
        try:
            watched(scenario)
        finally:
            ip(A, f"neigh del {PEER} dev eth0")

    def test_every_check_has_a_result_at_once(self, wire):
        async def scenario(network, scrape):
            await wait_for(network.is_settled)
            seen = await scrape()
            path = ("edge50", "mini1")
            assert seen[("smolmon_path_hops", *path, "server")] == 1
            assert seen[("smolmon_path_first_hop_as_declared", *path, "server")] == 1
            assert seen[("smolmon_tcp_connect_state", "65432", *path, "refused")] == 1
            assert seen[("smolmon_network_up", "edge50", "eth0")] == 1
            await asyncio.to_thread(ip, B, "link set en5 down")
            seen = await scrape()
            assert seen[("smolmon_network_up", "edge50", "eth0")] == 0
            assert seen[("smolmon_network_enabled", "edge50", "eth0")] == 1
            # Its routes learn of it within a second; nobody scrapes meanwhile.
            await wait_for(lambda: not all(network._routes._present.values()))
            assert (await scrape())[("smolmon_network_events_total", "interfaces")] >= 1

        ip(A, f"route add 10.10.0.0/24 via {PEER}")
        try:
            watched(scenario)
        finally:
            ip(B, "link set en5 up")
            ip(A, "route del 10.10.0.0/24")
            until(lambda: inside(A, carrier_of_eth0))


def carrier_of_eth0():
    linux = LinuxSystem()
    try:
        return next(i.carrier for i in linux.interfaces() if i.name == "eth0")
    finally:
        linux.close()


def test_an_unprivileged_user_sees_the_same(system):
    script = f"""
import os, sys
from ipaddress import IPv4Address
from smolmon.exporter.system_linux import LinuxSystem
from smolmon.exporter.trace_linux import LinuxTracer
def look():
    s = LinuxSystem()
    s.changes().receive()
    LinuxTracer().send("{PEER}", 1)
    yield [i.name for i in s.interfaces() if i.speed]
    yield len(s.routes()), bool(s.neighbours())
    yield s.tcp({PORT}).listeners, s.way(IPv4Address("{PEER}")), s.forwarding()
list(look())  # now everything is imported: the interpreter may be in root's own folder
if "nobody" in sys.argv:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    assert "CapEff:\t0000000000000000" in open("/proc/self/status").read()
print(*look())
"""
    with listening(str(NODE)):
        poke()
        root, nobody = (
            subprocess.run(
                ["ip", "netns", "exec", A, sys.executable, "-c", script, who],
                capture_output=True,
                text=True,
                check=True,
                cwd=Path(__file__).parents[2],
            ).stdout
            for who in ("root", "nobody")
        )
    assert nobody == root
    assert root.startswith("['eth0'] (1, True) ([Listener(address=IPv4Address('192.168.50.2')")


class TestNetlink:
    def test_a_table_larger_than_one_datagram_is_read_whole(self, system):
        ip(A, "link add spare type veth peer name spare2")
        ip(A, "link set spare2 up")
        ip(A, "link set spare up")
        lines = "\n".join(
            f"route add 10.{n}.{i}.0/24 dev spare" for n in range(30, 40) for i in range(250)
        )
        run = ["ip", "netns", "exec", A, "ip", "-batch", "-"]
        try:
            subprocess.run(run, input=lines, text=True, check=True)
            table = ask(system.routes)
        finally:
            ip(A, "link del spare")
        assert len([r for r in table if r.device == "spare"]) == 2500

    def test_a_socket_that_broke_is_opened_anew(self, system):
        assert ask(system.routes)
        # Each thread has a descriptor of its own.
        ask(lambda: os.close(system._kernel._route.fileno()))
        with pytest.raises(OSError, match="descriptor"):
            ask(system.routes)
        assert ask(system.routes)

    def test_a_kernel_that_does_not_answer_holds_nobody_up(self, system, monkeypatch):
        assert ask(system.routes)
        monkeypatch.setattr(netlink_linux, "TIMEOUT", 0.05)
        monkeypatch.setattr(system._kernel._route, "send", len)  # which sends nothing
        with pytest.raises(OSError, match="does not answer"):
            ask(system.routes)
        monkeypatch.undo()
        assert ask(system.routes)

    def test_an_error_of_sock_diag_is_no_empty_table(self, system):
        # A protocol that the kernel has no sockets of.
        with pytest.raises(netlink_linux.KernelError) as caught:
            ask(lambda: system._kernel.tcp(33, 1 << 10, PORT, 0))
        assert caught.value.errno == errno.ENOENT

    def test_a_table_that_changes_meanwhile_is_read_again(self, system, monkeypatch):
        ask(system.routes)
        original, torn = system._kernel._ask, []

        def interrupted(question):
            answers = original(question)
            if len(torn) < 2:
                torn.append(answers)
                answers[0]["header"]["flags"] |= netlink_linux.NLM_F_DUMP_INTR
            return answers

        monkeypatch.setattr(system._kernel, "_ask", interrupted)
        assert ask(system.routes)
        assert len(torn) == 2

    def test_nothing_stays_open(self, wire):
        def opened():
            return len(list(Path("/proc/self/fd").iterdir()))

        def look():
            before = opened()
            linux = LinuxSystem()
            linux.routes()
            linux.tcp(PORT)
            linux.changes().close()
            linux.close()
            return opened() - before

        threads = threading.active_count()
        assert ask(look) == 0
        assert threading.active_count() == threads

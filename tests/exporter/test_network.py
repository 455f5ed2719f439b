"""What is made of the network's state, with an operating system that says what the test wants."""

import asyncio
import errno
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from attrs import evolve

from smolmon.cluster import derive, load
from smolmon.exporter import collectors, interfaces, routes, training
from smolmon.exporter.hops import HopCheck, expected
from smolmon.exporter.host import Host
from smolmon.exporter.neighbours import NeighbourWatch, wanted
from smolmon.exporter.network import Network
from smolmon.exporter.routes import RouteWatch
from smolmon.exporter.system import (
    Connection,
    Counters,
    Firewall,
    Interface,
    KernelRoute,
    Listener,
    Neighbour,
    NeighbourState,
    News,
    NotAvailableError,
    TcpSockets,
    Topic,
    Way,
    Wifi,
)
from smolmon.exporter.tcp import FAILURES, Outcome, Tally
from smolmon.exporter.trace import Answer, trace
from smolmon.exporter.watch import Watch
from tests.exporter.fakes import FakeEcho, FakeSystem, error

CLUSTER = load(Path(__file__).parents[2] / "examples" / "guide.yaml")
SERVER = CLUSTER.server_address
ETH0 = Interface(
    "eth0",
    up=True,
    carrier=True,
    mac="d8:3a:dd:01:02:03",
    addresses=(IPv4Address("192.168.50.2"),),
    mtu=1500,
    speed=125e6,
    full_duplex=True,
    carrier_changes=1,
    receive=Counters(10, 1, 0, 0),
    transmit=Counters(20, 2, 3, 4),
)
WLAN0 = Interface("wlan0", up=True, carrier=True, mac="", addresses=(IPv4Address("192.168.1.14"),))
GATEWAY = Neighbour(
    IPv4Address("192.168.50.1"), "eth0", NeighbourState.REACHABLE, "aa:00:00:00:00:01"
)


def series(metrics):
    """Every sample of some metrics: {(name, labels): value}."""
    return {(s.name, *sorted(s.labels.values())): s.value for m in metrics for s in m.samples}


def with_members(**changes):
    """The guide's cluster, every member changed in this way."""
    segments = tuple(
        evolve(s, members=tuple(evolve(m, **changes) for m in s.members)) for s in CLUSTER.segments
    )
    return evolve(CLUSTER, segments=segments)


class TestInterfaces:
    def seen(self, *links, node="pi5", cluster=CLUSTER):
        return series(interfaces.collect(cluster, node, FakeSystem(links=list(links))))

    def test_an_interface_as_declared(self):
        seen = self.seen(ETH0, WLAN0)
        for name, value in {
            "present": 1,
            "up": 1,
            "enabled": 1,
            "full_duplex": 1,
            "mtu_bytes": 1500,
            "speed_bytes": 125e6,
            "carrier_changes_total": 1,
            "receive_bytes_total": 10,
            "transmit_errors_total": 3,
            "transmit_drops_total": 4,
        }.items():
            assert seen[f"smolmon_network_{name}", "edge50", "eth0"] == value
        assert seen["smolmon_network_up", "management", "wlan0"] == 1
        assert seen["smolmon_address_present", "192.168.50.2", "edge50", "eth0"] == 1

    def test_what_is_not_known_is_absent(self):
        names = {key[0] for key in self.seen(WLAN0) if "wlan0" in key}
        assert names == {
            *(f"smolmon_network_{n}" for n in ("present", "up", "enabled")),
        }

    @pytest.mark.parametrize(
        ("links", "present"),
        [
            ([], 0),
            ([evolve(ETH0, carrier=False)], 1),
            ([evolve(ETH0, up=False, carrier=None)], 1),
        ],
    )
    def test_a_declared_interface_is_down_also_when_it_is_gone(self, links, present):
        seen = self.seen(*links)
        assert seen["smolmon_network_up", "edge50", "eth0"] == 0
        assert seen["smolmon_network_present", "edge50", "eth0"] == present
        assert (("smolmon_network_enabled", "edge50", "eth0") in seen) == bool(present)

    def test_a_lost_address_is_told_from_a_lost_interface(self):
        seen = self.seen(evolve(ETH0, addresses=()))
        assert seen["smolmon_address_present", "192.168.50.2", "edge50", "eth0"] == 0
        assert seen["smolmon_network_up", "edge50", "eth0"] == 1

    def test_without_a_declared_name_the_address_tells_which_it_is(self):
        cluster = with_members(interface=None)
        link = evolve(ETH0, name="enx1")
        assert self.seen(link, cluster=cluster)["smolmon_network_up", "edge50", "enx1"] == 1
        # Nothing says which it is: not up, not down.
        nowhere = self.seen(evolve(link, addresses=()), cluster=cluster)
        assert not [key for key in nowhere if key[0] == "smolmon_network_up"]
        assert nowhere["smolmon_address_present", "", "192.168.50.2", "edge50"] == 0

    def test_a_hardware_address_comes_before_the_address(self):
        cluster = with_members(interface=None, mac=ETH0.mac)
        seen = self.seen(evolve(ETH0, name="enx1", addresses=()), cluster=cluster)
        assert seen["smolmon_network_up", "edge50", "enx1"] == 1

    def test_the_system_is_not_asked_for_names_that_the_file_has(self):
        silent = FakeSystem(fails_with=error(errno.ENOBUFS))
        assert interfaces.names(CLUSTER, "mini1", silent) == {"fabric": "bridge0", "edge50": "en5"}
        system = FakeSystem(links=[evolve(ETH0, name="enx1")])
        assert interfaces.names(with_members(interface=None), "pi5", system) == {"edge50": "enx1"}

    def test_wifi(self):
        system = FakeSystem(radios=[Wifi("wlan0", -60, -95), Wifi("wlan1", -70)])
        assert series(interfaces.wifi(system)) == {
            ("smolmon_wifi_signal_dbm", "wlan0"): -60,
            ("smolmon_wifi_signal_dbm", "wlan1"): -70,
            ("smolmon_wifi_noise_dbm", "wlan0"): -95,
        }


class TestRoutes:
    WANTED = derive.routes(CLUSTER, "pi5")[0]
    OURS = KernelRoute(WANTED.destination, WANTED.via, "eth0")

    def test_a_loss_between_two_scrapes_is_counted_and_dated(self):
        system, now = FakeSystem(table=[self.OURS]), [100.0]
        watch = RouteWatch(CLUSTER, "pi5", system, wall=lambda: now[0])
        names = "present", "losses_total", "last_change_timestamp_seconds"

        def seen():
            values = {key[0]: value for key, value in series(watch.collect()).items()}
            return [values.get(f"smolmon_route_{name}") for name in names]

        assert seen() == [1, 0, None]
        now[0], system.table = 101.0, []
        watch.look()
        now[0], system.table = 102.0, [self.OURS]
        assert seen() == [1, 1, 102.0]
        heir = RouteWatch(CLUSTER, "pi5", system)
        heir.take_over(watch)
        watch = heir
        assert seen() == [1, 1, 102.0]

    def test_one_that_was_never_there_was_never_lost(self):
        watch = RouteWatch(CLUSTER, "pi5", FakeSystem())
        [losses] = [v for k, v in series(watch.collect()).items() if "losses" in k[0]]
        assert losses == 0

    @pytest.mark.parametrize("device", ["wlan0", "eth0", None])
    def test_the_way_of_internet_traffic(self, device):
        way = Way(device, IPv4Address("192.168.1.1")) if device else None
        system = FakeSystem(links=[ETH0, WLAN0])
        if way and CLUSTER.internet:
            system.ways[CLUSTER.internet.address] = way
        seen = series(routes.default_route(CLUSTER, "pi5", system))
        assert seen["smolmon_default_route_present",] == bool(device)
        hijacked = seen["smolmon_default_route_on_segment", "edge50", "eth0"]
        assert hijacked == (device == "eth0")
        info = [k for k in seen if k[0] == "smolmon_default_route_info"]
        assert info == ([("smolmon_default_route_info", "192.168.1.1", device)] if device else [])

    def test_without_a_declared_internet_address_any_other_will_do(self):
        system = FakeSystem(ways={routes.ELSEWHERE: Way("wlan0", None)})
        seen = series(routes.default_route(evolve(CLUSTER, internet=None), "pi5", system))
        assert seen["smolmon_default_route_info", "", "wlan0"] == 1

    @pytest.mark.parametrize(
        ("node", "way", "declared"),
        [
            ("pi5", Way("eth0", IPv4Address("192.168.50.1")), 1),
            ("pi5", Way("tun0", IPv4Address("192.168.50.1")), 0),
            ("pi5", Way("eth0", IPv4Address("192.168.50.9")), 0),
            ("pi5", Way("wlan0", None), 0),
            ("pi5", None, 0),
            ("mini2", Way("bridge0", None), 1),
            ("mini2", Way("wlan0", IPv4Address("192.168.1.1")), 0),
        ],
    )
    def test_the_way_to_the_server(self, node, way, declared):
        system = FakeSystem(ways={SERVER: way} if way else {})
        [value] = series(routes.server_way(CLUSTER, node, system)).values()
        assert value == declared

    def test_the_length_of_the_declared_path(self):
        hops = {
            node.name: expected(probe)
            for node in CLUSTER.nodes
            for probe in derive.probes(CLUSTER, node.name)
            if probe.kind is derive.ProbeKind.SERVER
        }
        # mini1 answers pi5 for its fabric address itself, at the first hop.
        assert hops == {"mini2": 1, "mini3": 1, "pi5": 1, "pi4": 2, "jetson": 2}


class FakeTracer:
    """A path of two links, the second of which may answer nothing."""

    reached = True

    def __init__(self):
        self._echo = FakeEcho(lambda *_: [b"answer"])
        self._answers = []

    def send(self, address, ttl):
        if ttl == 1:
            self._answers.append(Answer(1, "192.168.51.2", reached=False))
        elif self.reached:
            self._answers.append(Answer(ttl, address, reached=True))
        self._echo.send("", 0, b"")

    def receive(self):
        self._echo.receive()
        found, self._answers = self._answers, []
        return found

    def fileno(self):
        return self._echo.fileno()

    def close(self):
        self._echo.close()


class TestHops:
    def test_a_path_is_known_until_the_target_falls_silent(self, monkeypatch):
        monkeypatch.setattr("smolmon.exporter.trace.ROUNDS", 1)
        monkeypatch.setattr(trace, "__defaults__", (0.05,))
        [probe] = [p for p in derive.probes(CLUSTER, "pi4") if p.kind is derive.ProbeKind.SERVER]
        check = HopCheck(probe, FakeTracer)
        path = ("edge51", "mini1", "server")

        async def main():
            assert (check.has_ended, series(check.collect())) == (False, {})
            running = asyncio.create_task(check.run(interval=60, spacing=0))
            while not check.path:
                await asyncio.sleep(0.005)
            gateway = tuple(sorted(["1", "192.168.51.2", *path]))
            assert series(check.collect()) == {
                ("smolmon_path_hops", *path): 2,
                ("smolmon_path_gateway_info", *gateway): 1,
            }
            monkeypatch.setattr(FakeTracer, "reached", False)
            check.soon()
            while check.path:
                await asyncio.sleep(0.005)
            assert series(check.collect()) == {}
            running.cancel()

        asyncio.run(asyncio.wait_for(main(), 5))

    def test_where_there_is_no_socket_the_path_is_not_known(self):
        def refuse():
            raise error(errno.EACCES)

        [probe] = [p for p in derive.probes(CLUSTER, "pi4") if p.kind is derive.ProbeKind.SERVER]
        check = HopCheck(probe, refuse)
        assert asyncio.run(check.once()) is None
        assert check.has_ended


class TestNeighbours:
    def watch(self, *arp, links=(ETH0,)):
        return NeighbourWatch(CLUSTER, "pi5", FakeSystem(arp=list(arp), links=list(links)))

    def test_the_wanted_are_those_that_are_talked_to(self):
        assert [
            {(w.link, w.member.node) for w in wanted(CLUSTER, node)}
            for node in ("pi5", "pi4", "mini1", "mini3")
        ] == [
            {("edge50", "mini1")},
            {("edge51", "mini3")},
            {("fabric", "mini2"), ("fabric", "mini3"), ("edge50", "pi5")},
            {
                *{("fabric", "mini1"), ("fabric", "mini2")},
                *{("edge51", "pi4"), ("edge51", "jetson")},
            },
        ]

    @pytest.mark.parametrize("state", NeighbourState)
    def test_a_neighbour_is_in_one_state(self, state):
        arp = [] if state is NeighbourState.NONE else [evolve(GATEWAY, state=state)]
        seen = series(self.watch(*arp).collect())
        for other in NeighbourState:
            key = ("smolmon_neighbor_state", *sorted(["edge50", "mini1", other.value]))
            assert seen[key] == (other is state)

    def test_an_entry_of_another_interface_is_not_ours(self):
        seen = series(self.watch(evolve(GATEWAY, device="wlan0")).collect())
        assert seen["smolmon_neighbor_state", "edge50", "mini1", "none"] == 1

    def test_changes_of_the_hardware_address_are_counted_across_silence(self):
        watch = self.watch(GATEWAY)
        system = watch._system
        for mac, changes in (
            (GATEWAY.mac, 0),
            ("", 0),
            (GATEWAY.mac, 0),
            ("aa:00:00:00:00:02", 1),
            ("", 1),
            (GATEWAY.mac, 2),
        ):
            system.arp = [evolve(GATEWAY, mac=mac)]
            seen = series(watch.collect())
            assert seen["smolmon_neighbor_mac_changes_total", "edge50", "mini1"] == changes
            assert len([k for k in seen if k[0] == "smolmon_neighbor_mac_info"]) == bool(mac)
        heir = self.watch(evolve(GATEWAY, mac="aa:00:00:00:00:03"))
        heir.take_over(watch)
        assert series(heir.collect())["smolmon_neighbor_mac_changes_total", "edge50", "mini1"] == 3

    def test_a_declared_hardware_address_is_compared(self):
        cluster = with_members(mac="aa:00:00:00:00:01")
        for mac, same in (("aa:00:00:00:00:01", 1), ("aa:00:00:00:00:02", 0)):
            system = FakeSystem(arp=[evolve(GATEWAY, mac=mac)], links=[ETH0])
            seen = series(NeighbourWatch(cluster, "pi5", system).collect())
            assert seen["smolmon_neighbor_mac_as_declared", "edge50", "mini1"] == same


class TestTraining:
    FABRIC = Interface("bridge0", up=True, carrier=True, mac="", addresses=(SERVER,))

    def seen(self, node, listeners=(), connections=(), ours=()):
        system = FakeSystem(
            sockets=TcpSockets(listeners, connections), links=[self.FABRIC, ETH0, WLAN0]
        )
        return series(training.sockets(CLUSTER, node, system, lambda: ours))

    @pytest.mark.parametrize(
        ("listeners", "present", "exposed"),
        [
            ([], 0, 0),
            ([Listener(SERVER)], 1, 0),
            ([Listener(IPv4Address("0.0.0.0"))], 1, 1),
            ([Listener(IPv4Address("0.0.0.0"), device="bridge0")], 1, 0),
            ([Listener(IPv6Address("::"))], 1, 1),
            ([Listener(IPv6Address("::"), ipv4=False)], 0, 1),
            ([Listener(IPv4Address("127.0.0.1"))], 0, 0),
            ([Listener(IPv6Address("::1"), ipv4=False)], 0, 0),
            ([Listener(IPv4Address("192.168.1.11"))], 0, 1),
            ([Listener(SERVER), Listener(IPv4Address("192.168.1.11"))], 1, 1),
        ],
    )
    def test_the_listener(self, listeners, present, exposed):
        seen = self.seen("mini1", listeners)
        assert seen["smolmon_listener_present", str(SERVER), "65432"] == present
        assert seen["smolmon_listener_exposed", "65432"] == exposed
        bound = {k[1:] for k in seen if k[0] == "smolmon_listener_bound_info"}
        assert bound == {tuple(sorted((str(each.address), "65432"))) for each in listeners}

    def test_only_the_server_has_a_listener(self):
        assert set(self.seen("pi5")) == {("smolmon_training_connections", "65432")}

    def test_connections(self):
        here = IPv4Address("192.168.50.2")
        key = ("smolmon_training_connections", "65432")
        coming = [Connection(SERVER, 65432, here, 1000), Connection(SERVER, 65432, SERVER, 1001)]
        # The server's own worker is seen from both ends, and counts once.
        both = [*coming, Connection(SERVER, 1001, SERVER, 65432)]
        assert self.seen("mini1", connections=both)[key] == 2
        going = [
            Connection(here, 1000, SERVER, 65432),
            Connection(here, 1001, SERVER, 65432),
            Connection(here, 1002, IPv4Address("203.0.113.1"), 65432),
        ]
        assert self.seen("pi5", connections=going)[key] == 2
        assert self.seen("pi5", connections=going, ours={1001})[key] == 1

    def test_what_came_of_connecting(self):
        failures = {**dict.fromkeys(FAILURES, 0), Outcome.REFUSED: 2}
        tally = Tally(failures, (1, *[0] * 14), 0.00005, Outcome.REFUSED)
        seen = series(training.connects("mini1", "edge50", 65432, tally))
        path = ("65432", "edge50", "mini1")

        def value(name, *last):
            return seen[(f"smolmon_tcp_connect_{name}", *path, *last)]

        assert value("attempts_total") == 3
        assert value("failures_total", "refused") == 2
        assert value("failures_total", "timeout") == 0
        assert value("state", "refused") == 1
        assert value("state", "open") == 0
        unknown = series(training.connects("mini1", "edge50", 65432, evolve(tally, state=None)))
        assert not [k for k in unknown if k[0] == "smolmon_tcp_connect_state"]


def test_the_firewall_says_what_it_says():
    seen = series(collectors.firewall(FakeSystem(wall=Firewall(enabled=True, stealth=False))))
    assert seen == {("smolmon_firewall_enabled",): 1, ("smolmon_firewall_stealth",): 0}


class FakeChanges:
    """A subscription to what the test announces."""

    def __init__(self):
        self._echo = FakeEcho(lambda *_: [b"news"])
        self.news = News(frozenset())
        self.fails_with = None
        self.closed = False

    def announce(self, news):
        self.news = news
        self._echo.send("", 0, b"")

    def receive(self):
        self._echo.receive()
        if self.fails_with:
            raise self.fails_with
        return self.news

    def fileno(self):
        return self._echo.fileno()

    def close(self):
        self.closed = True
        self._echo.close()


class TestWatch:
    def run(self, subscribe, scenario):
        """Run `scenario(watch, looks)`, where `looks` is a queue of the topics looked at."""

        async def main():
            looks = asyncio.Queue()
            watch = Watch(subscribe, looks.put)
            running = asyncio.create_task(watch.run())
            try:
                await asyncio.wait_for(scenario(watch, looks), 5)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(main())

    def test_it_looks_at_what_changed_and_at_all_when_events_were_lost(self):
        changes = FakeChanges()

        async def scenario(watch, looks):
            assert await looks.get() == set(Topic)
            changes.announce(News(frozenset({Topic.ROUTES})))
            assert await looks.get() == {Topic.ROUTES}
            changes.announce(News(frozenset(Topic), lost=True))
            assert await looks.get() == set(Topic)
            seen = series(watch.collect())
            assert seen["smolmon_network_events_total", "routes"] == 2
            assert seen["smolmon_network_events_total", "neighbours"] == 1
            assert seen["smolmon_network_event_overflows_total",] == 1

        self.run(lambda: changes, scenario)
        assert changes.closed

    def test_a_broken_subscription_is_made_anew(self):
        made = []

        def subscribe():
            made.append(FakeChanges())
            return made[-1]

        async def scenario(watch, looks):
            await looks.get()
            made[0].fails_with = error(errno.ENOTSOCK)
            made[0].announce(News(frozenset()))
            assert await looks.get() == set(Topic)
            assert watch.trouble is None
            made[1].announce(News(frozenset({Topic.ROUTES})))
            assert await looks.get() == {Topic.ROUTES}

        self.run(subscribe, scenario)
        assert [c.closed for c in made] == [True, True]

    def test_where_nothing_can_be_heard_it_looks_from_time_to_time(self, monkeypatch, caplog):
        monkeypatch.setattr("smolmon.exporter.watch.POLL", 0.01)

        def subscribe():
            raise NotAvailableError("nobody tells")

        async def scenario(watch, looks):
            assert [await looks.get() for _ in range(3)] == [set(Topic)] * 3
            assert watch.trouble == "nobody tells"

        self.run(subscribe, scenario)
        assert caplog.messages == ["changes of the network: nobody tells"]


@pytest.mark.parametrize("node", [n.name for n in CLUSTER.nodes])
def test_what_the_system_never_says_is_absent_and_no_failure(node):
    host = Host(FakeEcho, FakeSystem(links=[ETH0]), lambda _: None)
    with ThreadPoolExecutor(1) as worker:
        made = Network(CLUSTER, node, host, worker).collectors()
    names = {m.name for collect in made.values() for m in collect()}
    assert not names & {"smolmon_wifi_signal_dbm", "smolmon_firewall_enabled"}
    assert ("tcp_connect" in made) == (node != "mini1")


def test_a_failure_fails_its_collector():
    host = Host(FakeEcho, FakeSystem(fails_with=error(errno.ENOBUFS)), lambda _: None)
    with ThreadPoolExecutor(1) as worker:
        made = Network(CLUSTER, "pi5", host, worker).collectors()
    with pytest.raises(OSError, match="buffer"):
        list(made["route"]())

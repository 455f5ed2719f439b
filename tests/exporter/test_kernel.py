"""The Linux boundaries against the real kernel, between two network namespaces."""

import asyncio
import errno
import threading
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest

from smolmon.exporter import isolation
from smolmon.exporter.echo import Clock, checksum
from smolmon.exporter.echo_linux import HEADER, LinuxEcho
from smolmon.exporter.isolation import State, ask, judge
from smolmon.exporter.pinger import Pinger
from smolmon.exporter.prober import Prober
from smolmon.exporter.routes import is_present
from smolmon.exporter.system import KernelRoute
from smolmon.exporter.system_linux import LinuxSystem
from tests.exporter.netns import (
    A,
    B,
    cable,
    inside,
    ip,
    nft,
    plug,
    raw_icmp,
    require_root,
    sh,
    until,
)
from tests.exporter.test_routes import WANTED

pytestmark = pytest.mark.lab

NODE, PEER, SECOND = "192.168.50.2", "192.168.50.1", "192.168.50.7"
FORBIDDEN = "192.168.51.4"


@pytest.fixture(scope="module")
def wire():
    require_root()
    with cable(f"{NODE}/24", f"{PEER}/24"):
        ip(B, f"addr add {SECOND}/24 dev en5")
        yield


@pytest.fixture
def firewalls(wire):
    """Empty rule sets on both sides, emptied again."""
    for name in (A, B):
        nft(name, "add table ip t")
        for hook in ("input", "output"):
            nft(name, f"add chain ip t {hook} {{ type filter hook {hook} priority 0; }}")
    yield
    for name in (A, B):
        nft(name, "delete table ip t")


def drop(namespace, rule):
    sh(namespace, "nft", f"add rule ip t {rule}")


def ping(addresses, scenario, timeout=0.3):
    """Run `scenario` with a prober on A; the pinger."""

    async def main():
        prober = Prober(Pinger(addresses, timeout), LinuxEcho)
        try:
            await scenario(prober)
        finally:
            prober.close()
        return prober.pinger

    return inside(A, lambda: asyncio.run(main()))


def results(pinger, index=0):
    return {r.value: n for r, n in pinger.tallies()[index].results.items() if n}


def times(count):
    """Send so many requests to every address, one after the other, and wait for what comes."""

    async def scenario(prober):
        for _ in range(count):
            for index in range(len(prober.pinger.addresses)):
                prober.send(index)
                await settled(prober)

    return scenario


async def settled(prober, seconds=5.0):
    async def wait():
        while prober.pinger.in_flight:
            await asyncio.sleep(0.001)
            prober.settle()

    await asyncio.wait_for(wait(), seconds)


@contextmanager
def responder(answers, source=None):
    """Answers echo requests in B instead of the kernel: `answers(echo)` lists the replies, each
    as (delay in seconds, header's sequence, payload), sent from `source` if that is given."""
    sh(B, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    sock = raw_icmp()
    sock.settimeout(0.1)
    stop = threading.Event()

    out = sock
    if source is not None:
        out = raw_icmp()
        out.bind((source, 0))

    def reply(ident, sequence, payload, to):
        body = HEADER.pack(0, 0, 0, ident, sequence) + payload
        out.sendto(HEADER.pack(0, 0, checksum(body), ident, sequence) + payload, to)

    def serve():
        while not stop.is_set():
            try:
                data, asker = sock.recvfrom(2048)
            except TimeoutError:
                continue
            data = data[(data[0] & 15) * 4 :]
            kind, _, _, ident, sequence = HEADER.unpack_from(data)
            if kind != 8:
                continue
            for delay, number, payload in answers(sequence, data[HEADER.size :]):
                stop.wait(delay)
                reply(ident, number, payload, (asker[0], 0))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)
        sock.close()
        out.close()
        sh(B, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")


class TestEcho:
    def test_answers_carry_kernel_stamps(self, wire):
        pinger = ping([PEER], times(50))
        [tally] = pinger.tallies()
        assert results(pinger) == {"reply": 50}
        assert tally.stamped_by == (Clock.KERNEL, Clock.KERNEL)
        # Two stack traversals on one machine: the mean is far below what waking a process takes.
        assert 0 < tally.rtt_sum / 50 < 0.0005

    def test_several_addresses_share_one_socket(self, wire):
        pinger = ping([PEER, SECOND, NODE], times(5))
        assert [results(pinger, i) for i in range(3)] == [{"reply": 5}] * 3

    def test_loss_is_counted_exactly(self, firewalls):
        drop(B, "input icmp type echo-request numgen inc mod 4 == 0 drop")
        pinger = ping([PEER], times(8))
        assert results(pinger) == {"reply": 6, "timeout": 2}

    def test_loss_of_one_is_not_loss_of_the_other(self, firewalls):
        drop(B, f"input ip daddr {SECOND} drop")
        pinger = ping([PEER, SECOND], times(3))
        assert results(pinger, 0) == {"reply": 3}
        assert results(pinger, 1) == {"timeout": 3}
        assert [t.up for t in pinger.tallies()] == [True, False]

    def test_a_firewall_on_this_side_is_a_send_error(self, firewalls):
        drop(A, f"output ip daddr {PEER} drop")
        pinger = ping([PEER, SECOND], times(2))
        assert results(pinger, 0) == {"send_error": 2}
        assert results(pinger, 1) == {"reply": 2}

    def test_an_icmp_error_is_unreachable_and_about_one_address_only(self, firewalls):
        drop(B, f"input ip daddr {SECOND} reject with icmp host-unreachable")

        async def both_at_once(prober):
            for _ in range(5):
                for index in (1, 0, 1):
                    prober.send(index)
                await settled(prober)

        pinger = ping([PEER, SECOND], both_at_once)
        assert results(pinger, 0) == {"reply": 5}
        assert results(pinger, 1) == {"unreachable": 10}

    def test_no_route_is_unreachable(self, wire):
        assert results(ping(["203.0.113.1"], times(2))) == {"unreachable": 2}

    def test_duplicates_count_apart(self, wire):
        with responder(lambda sequence, payload: [(0, sequence, payload)] * 3):

            async def scenario(prober):
                prober.send(0)
                await heard(prober, lambda t: t.duplicates == 2)

            pinger = ping([PEER], scenario)
        assert results(pinger) == {"reply": 1}

    def test_late_replies_count_apart(self, wire):
        with responder(lambda sequence, payload: [(0.15, sequence, payload)]):

            async def scenario(prober):
                prober.send(0)
                await heard(prober, lambda t: t.late)

            pinger = ping([PEER], scenario, timeout=0.1)
        assert results(pinger) == {"timeout": 1}

    @pytest.mark.parametrize("change", ["payload", "sequence"])
    def test_forged_replies_answer_nothing(self, wire, change):
        def forge(sequence, payload):
            if change == "payload":
                return [(0, sequence, bytes(len(payload)))]
            return [(0, (sequence + 1) % 2**16, payload)]

        with responder(forge):
            pinger = ping([PEER], times(3), timeout=0.1)
        assert results(pinger) == {"timeout": 3}
        assert sum(pinger.invalid.values()) == 3

    def test_a_cable_that_comes_back_is_used_again(self, wire):
        async def scenario(prober):
            await times(1)(prober)
            ip(B, "link set en5 down")
            await times(1)(prober)
            ip(A, "link del eth0")
            await times(1)(prober)
            plug(f"{NODE}/24", f"{PEER}/24")
            ip(B, f"addr add {SECOND}/24 dev en5")
            await times(1)(prober)

        counted = results(ping([PEER], scenario))
        # Without a carrier the kernel takes packets at first, and then refuses them (ENOBUFS).
        assert counted.pop("timeout", 0) + counted.pop("send_error", 0) == 1
        assert counted == {"reply": 2, "unreachable": 1}


async def heard(prober, condition):
    async def wait():
        while not condition(prober.pinger.tallies()[0]):
            await asyncio.sleep(0.005)
            prober.settle()

    await asyncio.wait_for(wait(), 5)


class TestIsolation:
    def state(self, monkeypatch, device="eth0"):
        monkeypatch.setattr(isolation, "TIMEOUT", 0.2)
        return judge(*inside(A, lambda: asyncio.run(ask(LinuxEcho, device, [FORBIDDEN, PEER]))))

    def test_passes_while_only_the_control_answers(self, wire, monkeypatch):
        assert self.state(monkeypatch) is State.PASS

    def test_fails_when_the_forbidden_address_answers(self, wire, monkeypatch):
        ip(B, f"addr add {FORBIDDEN}/32 dev lo")
        ip(A, f"route add {FORBIDDEN}/32 via {PEER}")
        try:
            assert self.state(monkeypatch) is State.FAIL
        finally:
            ip(A, f"route del {FORBIDDEN}/32")
            ip(B, f"addr del {FORBIDDEN}/32 dev lo")

    def test_says_nothing_while_the_cable_is_out(self, wire, monkeypatch):
        ip(B, "link set en5 down")
        try:
            assert self.state(monkeypatch) is State.INCONCLUSIVE
        finally:
            ip(B, "link set en5 up")

    def test_another_interface_answers_for_nobody(self, wire, monkeypatch):
        """Bound to eth0, the socket must not reach an address by way of lo."""
        ip(A, f"addr add {FORBIDDEN}/32 dev lo")
        try:
            assert self.state(monkeypatch, device="lo") is State.FAIL
            assert self.state(monkeypatch, device="eth0") is not State.FAIL
        finally:
            ip(A, f"addr del {FORBIDDEN}/32 dev lo")

    def test_an_interface_that_is_gone_is_told_apart(self, wire, monkeypatch):
        with pytest.raises(OSError, match="device") as caught:
            self.state(monkeypatch, device="eth9")
        assert caught.value.errno == errno.ENODEV


class TestSystem:
    def system(self, question):
        def ask_it():
            system = LinuxSystem()
            try:
                return question(system)
            finally:
                system.close()

        return inside(A, ask_it)

    def table(self):
        return self.system(lambda s: list(s.routes()))

    def test_forwarding(self, wire):
        for value in (1, 0):
            sh(A, "sysctl", "-qw", f"net.ipv4.ip_forward={value}")
            assert self.system(lambda s: s.forwarding()) is bool(value)

    def test_the_routes_of_an_interface_are_seen(self, wire):
        network = IPv4Network("192.168.50.0/24")
        assert KernelRoute(network, None, "eth0") in self.table()

    def test_interface_by_hardware_address(self, wire):
        ip(A, "link set eth0 address d8:3a:dd:01:02:03")
        assert self.system(lambda s: s.interface("d8:3a:dd:01:02:03")) == "eth0"
        assert self.system(lambda s: s.interface("d8:3a:dd:01:02:04")) == ""

    def test_a_declared_route(self, wire):
        def present():
            return is_present(WANTED, "eth0", self.table())

        assert not present()
        ip(A, "route add 10.10.0.0/24 via 192.168.50.1 metric 100")
        try:
            assert present()
            [ours] = [r for r in self.table() if r.destination == WANTED.destination]
            assert ours == KernelRoute(
                WANTED.destination, IPv4Address("192.168.50.1"), "eth0", metric=100
            )
            ip(A, "route add 10.10.0.0/24 via 192.168.50.9 metric 50")
            assert not present()
            ip(A, "route del 10.10.0.0/24 metric 50")
            assert present()
            ip(A, "route add blackhole 10.10.0.0/24 metric 50")
            assert not present()
            ip(A, "route del blackhole 10.10.0.0/24 metric 50")
            assert present()
            ip(B, "link set en5 down")
            until(lambda: not present())  # the kernel notes a carrier within a second
            ip(B, "link set en5 up")
            until(present)
        finally:
            ip(A, "route flush 10.10.0.0/24")
        assert not present()

    def test_a_default_route_and_one_in_another_table(self, wire):
        ip(A, "route add default via 192.168.50.1")
        ip(A, "route add 10.10.0.0/24 via 192.168.50.1 table 99")
        try:
            default = KernelRoute(IPv4Network("0.0.0.0/0"), WANTED.via, "eth0")
            until(lambda: default in self.table())
            assert not is_present(WANTED, "eth0", self.table())
        finally:
            ip(A, "route del default")
            ip(A, "route flush table 99")

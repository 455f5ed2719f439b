"""Handshakes with a training port of the other namespace, and the path to it."""

import asyncio
import errno
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from smolmon.exporter import tcp_linux
from smolmon.exporter.tcp import EDGES, PLAIN, Outcome, TcpCheck
from smolmon.exporter.trace import Path, trace
from smolmon.exporter.trace_linux import LinuxTracer
from tests.exporter.netns import A, B, cable, inside, ip, nft, require_root, sh, until

pytestmark = pytest.mark.lab

NODE, PEER, FAR = "192.168.50.2", "192.168.50.1", "10.10.0.1"
PORT = 65432


@pytest.fixture(scope="module")
def wire():
    require_root()
    with cable(f"{NODE}/24", f"{PEER}/24"):
        yield


@contextmanager
def rule(namespace, chain, text):
    nft(namespace, "add table ip t")
    nft(namespace, f"add chain ip t {chain} {{ type filter hook {chain} priority 0; }}")
    sh(namespace, "nft", f"add rule ip t {chain} {text}")
    try:
        yield
    finally:
        nft(namespace, "delete table ip t")


@contextmanager
def server(backlog=8):
    with inside(B, lambda: socket.create_server((PEER, PORT), backlog=backlog)) as sock:
        sock.setblocking(False)
        yield sock


def connect(address=PEER, handshakes=tcp_linux.HANDSHAKES, timeout=0.3, times=1):
    check = TcpCheck(address, PORT, handshakes)

    async def main():
        for _ in range(times):
            await check.once(timeout)

    inside(A, lambda: asyncio.run(main()))
    return check


class TestHandshake:
    def test_it_is_timed_by_the_kernel_and_never_seen_by_the_server(self, wire):
        with server() as sock:
            # Far more than the queue of connections that wait for accept() could hold.
            check = connect(times=40)
            tally = check.tally()
            assert (tally.state, tally.attempts, sum(tally.counts)) == (Outcome.OPEN, 40, 40)
            assert 0 < tally.total / 40 < 0.001
            with pytest.raises(BlockingIOError):
                sock.accept()
            assert connected(B) == ""
        assert connected(A) == ""

    def test_where_the_system_has_no_such_trick_it_is_an_ordinary_connection(self, wire):
        with server() as sock:
            tally = connect(handshakes=PLAIN).tally()
            assert (tally.state, sum(tally.counts)) == (Outcome.OPEN, 1)
            accepted, _ = sock.accept()
            assert accepted.recv(1) == b""
            accepted.close()

    def test_nobody_listens(self, wire):
        tally = connect().tally()
        assert tally.state is Outcome.REFUSED
        assert {o: n for o, n in tally.failures.items() if n} == {Outcome.REFUSED: 1}
        assert (tally.attempts, sum(tally.counts), tally.total) == (1, 0, 0)

    @pytest.mark.parametrize(
        ("where", "chain", "text", "outcome"),
        [
            ("far", "input", f"tcp dport {PORT} drop", Outcome.TIMEOUT),
            ("far", "output", f"tcp sport {PORT} drop", Outcome.TIMEOUT),
            ("far", "input", "tcp dport 65432 reject with tcp reset", Outcome.REFUSED),
            ("far", "input", "reject with icmp host-unreachable", Outcome.UNREACHABLE),
            ("far", "input", "reject with icmp admin-prohibited", Outcome.UNREACHABLE),
            ("near", "output", f"tcp dport {PORT} drop", Outcome.TIMEOUT),
            ("near", "output", f"tcp dport {PORT} reject", Outcome.REFUSED),
        ],
    )
    def test_a_firewall_in_the_way(self, wire, where, chain, text, outcome):
        with server(), rule({"near": A, "far": B}[where], chain, text):
            start = time.monotonic()
            assert connect().tally().state is outcome
            assert time.monotonic() - start < 0.6

    def test_a_lost_syn_is_sent_again_and_no_failure(self, wire):
        text = f"tcp dport {PORT} tcp flags syn numgen inc mod 2 == 0 drop"
        with server(), rule(B, "input", text):
            tally = connect(timeout=3).tally()
            assert tally.state is Outcome.OPEN
            assert tally.total > 0.9

    def test_no_route(self, wire):
        assert connect("203.0.113.1").tally().state is Outcome.UNREACHABLE

    def test_nobody_is_there(self, wire):
        sh(A, "sysctl", "-qw", "net.ipv4.neigh.eth0.retrans_time_ms=50")
        assert connect("192.168.50.99", timeout=2).tally().state is Outcome.UNREACHABLE

    def test_it_may_be_forbidden(self, wire):
        def forbid(_):
            raise PermissionError(errno.EPERM, "no")

        handshakes = tcp_linux.Handshakes(forbid, tcp_linux.duration)
        assert connect(handshakes=handshakes).tally().state is Outcome.DENIED

    def test_its_own_ports_are_known_while_it_is_under_way(self, wire):
        check = TcpCheck(PEER, PORT, PLAIN)

        async def main():
            await check.once()
            assert {accepted[1][1] for accepted in iter(lambda: take(sock), None)} == set(
                check.own_ports
            )

        with server() as sock:
            inside(A, lambda: asyncio.run(main()))

    def test_what_was_counted_is_taken_over(self, wire):
        before = connect(times=3)
        after = TcpCheck(PEER, PORT)
        after.take_over(before)
        assert after.tally() == before.tally()

    def test_one_after_the_other_until_cancelled(self, wire):
        async def main():
            check = TcpCheck(PEER, PORT, tcp_linux.HANDSHAKES)
            running = asyncio.create_task(check.run(interval=0.02))
            while check.tally().attempts < 5:
                await asyncio.sleep(0.005)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        start = time.monotonic()
        inside(A, lambda: asyncio.run(main()))
        assert 0.08 <= time.monotonic() - start < 2


def test_the_edges_are_in_order():
    assert list(EDGES) == sorted(set(EDGES))


def take(sock):
    try:
        return sock.accept()
    except BlockingIOError:
        return None


def connected(namespace):
    """What ss(8) says of connections in any state."""
    run = ["ip", "netns", "exec", namespace, "ss", "-Htan", "state", "connected"]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


class TestTrace:
    """smt-a to smt-b directly, and through it to an address beyond."""

    @pytest.fixture
    def beyond(self, wire):
        """A third namespace behind B, where FAR is."""
        far = f"{B}-far"
        subprocess.run(["ip", "netns", "add", far], check=True)
        try:
            ip(B, f"link add en6 type veth peer name eth0 netns {far}")
            ip(B, "addr add 10.10.0.3/24 dev en6")
            ip(B, "link set en6 up")
            ip(far, f"addr add {FAR}/24 dev eth0")
            ip(far, "link set eth0 up")
            ip(far, "route add default via 10.10.0.3")
            sh(B, "sysctl", "-qw", "net.ipv4.ip_forward=1")
            ip(A, f"route add 10.10.0.0/24 via {PEER}")
            until(lambda: path(FAR, 2, patient=False))
            yield far
        finally:
            ip(A, "route flush 10.10.0.0/24")
            sh(B, "sysctl", "-qw", "net.ipv4.ip_forward=0")
            subprocess.run(["ip", "netns", "del", far], check=True)

    def test_a_neighbour_is_one_link_away(self, wire):
        assert path(PEER, 1) == Path(1, {})

    @pytest.mark.parametrize("expected", [1, 2, 5])
    def test_a_gateway_makes_two(self, beyond, expected):
        assert path(FAR, expected) == Path(2, {1: PEER})

    def test_a_lost_request_does_not_make_it_longer(self, beyond):
        with rule(B, "forward", "icmp type echo-request numgen inc mod 2 == 0 drop"):
            assert path(FAR, 2) == Path(2, {1: PEER})

    def test_a_gateway_that_says_nothing_still_counts(self, beyond):
        with rule(B, "output", "icmp type time-exceeded drop"):
            assert path(FAR, 2) == Path(2, {})

    def test_a_target_that_is_silent_has_no_path(self, beyond):
        with rule(B, "forward", "drop"):
            assert path(FAR, 2) is None

    def test_one_that_is_much_farther_than_declared_has_none_either(self, beyond, monkeypatch):
        monkeypatch.setattr("smolmon.exporter.trace.SPARE", 0)
        assert path(FAR, 1) is None

    def test_no_route(self, wire):
        with pytest.raises(OSError, match="unreachable"):
            path("203.0.113.1", 1)


def path(address, expected, patient=True):
    timeout = 0.15 if patient else 0.05
    return inside(A, lambda: asyncio.run(trace(LinuxTracer, address, expected, timeout)))

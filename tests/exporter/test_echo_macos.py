"""The packets of macOS, as byte sequences. Nothing here has seen a Mac."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmon.exporter import echo_macos
from smolmon.exporter.echo import PAYLOAD_BYTES, Clock, Code, Garbled, Reply, Unreachable, checksum
from smolmon.exporter.echo_macos import MacEcho, nanoseconds, parse, request, stamp

IDENT, SEQUENCE = 0x1234, 0xFFFE
PAYLOAD = bytes(range(PAYLOAD_BYTES))
PEER, ROUTER, HERE = "10.10.0.1", "192.168.50.1", "192.168.50.2"


def ip(icmp, source=PEER, destination=HERE, options=b"", protocol=1):
    """As macOS hands it over: the length is in host order, and without the header's."""
    header = struct.pack("<BBHHHBBH", 0x45 + len(options) // 4, 0, len(icmp), 7, 0, 64, protocol, 0)
    return header + socket.inet_aton(source) + socket.inet_aton(destination) + options + icmp


def icmp(kind, code=0, ident=IDENT, sequence=SEQUENCE, rest=PAYLOAD):
    return struct.pack("!BBHHH", kind, code, 0, ident, sequence) + rest


def test_a_request_has_identifier_sequence_and_a_right_checksum():
    packet = request(IDENT, SEQUENCE, PAYLOAD)
    assert packet[:2] + packet[4:] == bytes.fromhex("0800 1234 fffe") + PAYLOAD
    assert checksum(packet) == 0
    assert packet[2:4] != b"\0\0"
    # RFC 1071's own way, byte pair by byte pair.
    total = sum(int.from_bytes(packet[i : i + 2], "big") for i in range(0, len(packet), 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_a_request_of_icmpv6_leaves_the_checksum_to_the_kernel():
    assert request(1, 2, b"x", ipv6=True) == bytes.fromhex("8000 0000 0001 0002") + b"x"


@given(st.binary(max_size=200))
def test_the_checksum_is_that_of_rfc_1071(data):
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(data) == total ^ 0xFFFF


class TestReply:
    @pytest.mark.parametrize("options", [b"", b"\x01" * 4, b"\x01" * 40])
    def test_behind_an_ip_header_of_any_length(self, options):
        assert parse(ip(icmp(0), options=options), PEER, IDENT) == Reply(
            PEER, SEQUENCE, PAYLOAD, 0.0
        )

    def test_of_icmpv6_has_no_ip_header(self):
        assert parse(icmp(129), "fd00::1", IDENT, ipv6=True) == Reply(
            "fd00::1", SEQUENCE, PAYLOAD, 0.0
        )

    @pytest.mark.parametrize(
        "packet",
        [
            ip(icmp(0, ident=IDENT + 1)),  # to another program
            ip(icmp(8)),  # a request that somebody sends us
            ip(icmp(13)),
            ip(icmp(0), protocol=17),
            ip(b"\0\0\0"),
            b"\x45" * 19,
            b"\x60" + bytes(60),
            b"",
        ],
    )
    def test_to_nobody_here_is_passed_over(self, packet):
        assert parse(packet, PEER, IDENT) is None

    def test_without_a_payload_is_garbled(self):
        assert parse(ip(icmp(0, rest=b"")), PEER, IDENT) == Garbled()


class TestError:
    @pytest.mark.parametrize(
        ("kind", "code", "meaning"),
        [
            (3, 0, Code.NETWORK),
            (3, 1, Code.HOST),
            (3, 3, Code.PORT),
            (3, 13, Code.PROHIBITED),
            (3, 4, Code.OTHER),
            (11, 0, Code.TTL),
            (12, 0, Code.OTHER),
        ],
    )
    def test_names_the_request_that_it_quotes(self, kind, code, meaning):
        quote = ip(icmp(8), source=HERE, destination=PEER)
        for length in (28, len(quote)):  # a router quotes the header and 8 bytes, or all of it
            packet = ip(icmp(kind, code, 0, 0, quote[:length]), source=ROUTER)
            assert parse(packet, ROUTER, IDENT) == Unreachable(PEER, SEQUENCE, meaning)

    @pytest.mark.parametrize(
        "quote",
        [
            ip(icmp(8, ident=9), source=HERE, destination=PEER),
            ip(icmp(0), source=HERE, destination=PEER),
            ip(icmp(8), source=HERE, destination=PEER)[:27],
            ip(icmp(8), source=HERE, destination=PEER, protocol=6),
            b"",
        ],
    )
    def test_about_something_else_is_passed_over(self, quote):
        assert parse(ip(icmp(3, 1, 0, 0, quote), source=ROUTER), ROUTER, IDENT) is None

    def test_of_icmpv6(self):
        destination = socket.inet_pton(socket.AF_INET6, "fd00::9")
        quote = struct.pack("!IHBB", 6 << 28, 64, 58, 64) + bytes(16) + destination + icmp(128)
        assert parse(icmp(1, 3, 0, 0, quote), "fd00::1", IDENT, ipv6=True) == Unreachable(
            "fd00::9", SEQUENCE, Code.HOST
        )


@given(st.binary(max_size=200), st.booleans())
def test_no_packet_is_too_strange(data, ipv6):
    parse(data, PEER, IDENT, ipv6)
    parse(ip(data), PEER, IDENT)
    parse(ip(icmp(3, 1, 0, 0, data)), PEER, IDENT)


class TestStamp:
    def test_is_read_and_scaled(self):
        ancillary = [(0, 1, b"x"), (0xFFFF, 4, struct.pack("=Q", 24_000_000))]
        assert stamp(ancillary) == 24_000_000
        assert nanoseconds(24_000_000, 125, 3) == 1_000_000_000  # Apple's chips: 24 MHz
        assert nanoseconds(10**18 + 1, 1, 1) == 10**18 + 1  # Intel: exact, however long it is up

    @pytest.mark.parametrize(
        "ancillary", [[], [(0xFFFF, 2, bytes(16))], [(0xFFFF, 4, b"1234")], [(0xFFFF, 4, bytes(8))]]
    )
    def test_that_is_missing_is_none(self, ancillary):
        assert stamp(ancillary) is None


class Packets:
    """Stands in for a Mac's socket: hands out what a test puts in."""

    def __init__(self, *_):
        self.sent, self.waiting = [], []

    def sendto(self, packet, to):
        self.sent.append((packet, to))

    def recvmsg(self, *_):
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0)

    def setblocking(self, flag):
        assert flag is False

    def setsockopt(self, *option):
        assert option in ((0xFFFF, 0x0800, 1), (0xFFFF, 0x1002, echo_macos.RECEIVE_BUFFER))


def test_a_round_trip(monkeypatch):
    """From monotonic nanoseconds at sending to ticks at reception; nobody can set that clock."""
    monkeypatch.setattr(echo_macos.socket, "socket", Packets)
    monkeypatch.setattr(echo_macos, "timebase", lambda: (125, 3))
    times = iter([2_000_000_000, 2_900_000_000])
    monkeypatch.setattr(echo_macos.time, "monotonic_ns", lambda: next(times))
    echo = MacEcho()
    echo.send(PEER, SEQUENCE, PAYLOAD)
    [(packet, to)] = echo._socket.sent
    assert to == (PEER, 0)
    ident = int.from_bytes(packet[4:6], "big")
    ticks = 2_000_300_000 * 3 // 125
    ancillary = [(0xFFFF, 4, struct.pack("=Q", ticks))]
    echo._socket.waiting.append((ip(icmp(0, ident=ident)), ancillary, 0, (PEER, 0)))
    [reply] = echo.receive()
    assert reply.elapsed == pytest.approx(0.0003)
    assert (reply.source, reply.sequence, reply.payload) == (PEER, SEQUENCE, PAYLOAD)
    assert (reply.tx, reply.rx) == (Clock.USER, Clock.KERNEL)
    assert (reply.received, reply.prompt, reply.steps) == (2.9, False, False)

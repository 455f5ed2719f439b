"""Echo on macOS: a datagram ICMP socket, with the kernel's time of reception.

Such a socket needs no privilege (xnu, bsd/netinet/raw_ip.c and ip_icmp.c). Unlike on Linux, the
identifier and the checksum are left to us, the IP header comes with every packet, and every ICMP
message to this machine comes to every such socket: who is meant, we find out ourselves.

The kernel stamps what it receives with SO_TIMESTAMP_MONOTONIC, in ticks of mach_absolute_time():
the clock of time.monotonic(), which nobody can set. There are no stamps of transmission.

Built from Apple's sources and tested on byte sequences; it has not run on a Mac yet.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from smolmon.exporter.echo import (
    Clock,
    Event,
    Garbled,
    Invalid,
    Reply,
    Unreachable,
    checksum,
    code6_of,
    code_of,
)

# xnu: bsd/sys/socket.h, bsd/netinet/in.h, bsd/netinet6/in6.h. The socket module lacks them.
SOL_SOCKET = 0xFFFF
SO_RCVBUF = 0x1002
SO_TIMESTAMP_MONOTONIC = 0x0800
SCM_TIMESTAMP_MONOTONIC = 0x04
IP_BOUND_IF, IPV6_BOUND_IF = 25, 125

ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST_6, ECHO_REPLY_6 = 128, 129
ERRORS, ERRORS_6 = (3, 11, 12), (1, 2, 3, 4)  # unreachable, too big, time exceeded, ...
HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence (RFC 792, 4443)
TICKS = struct.Struct("=Q")

BATCH = 256  # packets that one call takes, so that a flood cannot hold up the rest
REMEMBERED = 4096  # requests whose time of transmission is kept
RECEIVE_BUFFER = 1 << 18  # bytes
ROOM = 512  # bytes: more than any headers and the packet that is sent


class MacEcho:
    """An :class:`~smolmon.exporter.echo.Echo`, bound to the interface `device` if one is given."""

    def __init__(self, device: str | None = None, ipv6: bool = False) -> None:
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        protocol = socket.IPPROTO_ICMPV6 if ipv6 else socket.IPPROTO_ICMP
        self._ipv6 = ipv6
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._addresses: dict[str, tuple[Any, ...]] = {}
        self._sent: dict[bytes, int] = {}  # by payload: nanoseconds of time.monotonic()
        self._numerator, self._denominator = timebase()
        self._socket = socket.socket(family, socket.SOCK_DGRAM, protocol)
        try:
            self._socket.setblocking(False)
            # Else 8192 bytes (net.inet.raw.recvspace), which the replies to others fill too.
            with suppress(OSError):
                self._socket.setsockopt(SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER)
            if device is not None:
                level, option = (
                    (socket.IPPROTO_IPV6, IPV6_BOUND_IF)
                    if ipv6
                    else (socket.IPPROTO_IP, IP_BOUND_IF)
                )
                self._socket.setsockopt(level, option, socket.if_nametoindex(device))
            self._rx = self._ask_for_stamps()
        except OSError:
            self._socket.close()
            raise

    @property
    def rx(self) -> Clock:
        """Who stamps the replies."""
        return self._rx

    def send(self, address: str, sequence: int, payload: bytes) -> None:
        """Send one request. Raises OSError."""
        to = self._addresses.get(address) or self._resolve(address)
        packet = request(self._identifier, sequence, payload, self._ipv6)
        if len(self._sent) >= REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._sent[payload] = time.monotonic_ns()
        self._socket.sendto(packet, to)

    def receive(self) -> Sequence[Event]:
        """Read the queue empty."""
        events: list[Event] = []
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = self._socket.recvmsg(ROOM, ROOM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ENOTSOCK):
                    raise
                continue
            now = time.monotonic_ns()
            event = parse(data, source[0], self._identifier, self._ipv6)
            if isinstance(event, Reply):
                event = self._stamped(event, ancillary, now)
            if event is not None:
                events.append(event)
        return events

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _stamped(self, reply: Reply, ancillary: list[tuple[int, int, bytes]], now: int) -> Reply:
        ticks = stamp(ancillary)
        sent = self._sent.pop(reply.payload, None)
        prompt = self._rx is Clock.USER
        if ticks is None:
            self._rx = Clock.USER  # from now on, replies are read as they come
            return reply._replace(received=now / 1e9, prompt=prompt)
        elapsed = None
        if sent is not None:
            elapsed = (nanoseconds(ticks, self._numerator, self._denominator) - sent) / 1e9
        return reply._replace(
            received=now / 1e9, elapsed=elapsed, rx=Clock.KERNEL, prompt=prompt, steps=False
        )

    def _ask_for_stamps(self) -> Clock:
        try:
            self._socket.setsockopt(SOL_SOCKET, SO_TIMESTAMP_MONOTONIC, 1)
        except OSError:
            return Clock.USER
        return Clock.KERNEL

    def _resolve(self, address: str) -> tuple[Any, ...]:
        """The socket address, with its interface (`fe80::1%en5`). Raises OSError."""
        family = socket.AF_INET6 if self._ipv6 else socket.AF_INET
        [(*_, to), *_] = socket.getaddrinfo(
            address, 0, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST
        )
        self._addresses[address] = to
        return to


def request(identifier: int, sequence: int, payload: bytes, ipv6: bool = False) -> bytes:
    """An echo request. The kernel fills in the checksum of ICMPv6, which covers addresses too."""
    if ipv6:
        return HEADER.pack(ECHO_REQUEST_6, 0, 0, identifier, sequence) + payload
    bare = HEADER.pack(ECHO_REQUEST, 0, 0, identifier, sequence) + payload
    return HEADER.pack(ECHO_REQUEST, 0, checksum(bare), identifier, sequence) + payload


def parse(data: bytes, source: str, identifier: int, ipv6: bool = False) -> Event | None:
    """What a packet says to the owner of `identifier`; None if it is not about its requests.

    `data` begins with the IP header (IPv4) or the ICMP header (IPv6). The kernel has checked the
    checksum.
    """
    if ipv6:
        message: bytes | None = data
    else:
        message = _body(data)
    if message is None or len(message) < HEADER.size:
        return None
    kind, code, _, ident, sequence = HEADER.unpack_from(message)
    if kind == (ECHO_REPLY_6 if ipv6 else ECHO_REPLY):
        if ident != identifier:
            return None
        payload = message[HEADER.size :]
        return Reply(source, sequence, payload, 0.0) if payload else Garbled(Invalid.MALFORMED)
    if kind not in (ERRORS_6 if ipv6 else ERRORS):
        return None
    return _quoted(message[HEADER.size :], identifier, kind, code, ipv6)


def _quoted(quote: bytes, identifier: int, kind: int, code: int, ipv6: bool) -> Event | None:
    """The error about the request that an ICMP message quotes, if it was ours."""
    if ipv6:
        inner = quote[40:] if len(quote) >= 40 and quote[6] == socket.IPPROTO_ICMPV6 else None
        to = quote[24:40]
    else:
        inner, to = _body(quote), quote[16:20]
    if inner is None or len(inner) < HEADER.size:
        return None
    asked, _, _, ident, sequence = HEADER.unpack_from(inner)
    if asked != (ECHO_REQUEST_6 if ipv6 else ECHO_REQUEST) or ident != identifier:
        return None
    address = socket.inet_ntop(socket.AF_INET6 if ipv6 else socket.AF_INET, to)
    return Unreachable(address, sequence, (code6_of if ipv6 else code_of)(kind, code))


def _body(packet: bytes) -> bytes | None:
    """The ICMP message in an IPv4 packet. Its length field is no help: the kernel changed it."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_ICMP:
        return None
    return packet[(packet[0] & 15) * 4 :]


def stamp(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """When the kernel received the packet, in ticks of mach_absolute_time()."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_SOCKET, SCM_TIMESTAMP_MONOTONIC) and len(data) >= TICKS.size:
            return int(TICKS.unpack_from(data)[0]) or None
    return None


def nanoseconds(ticks: int, numerator: int, denominator: int) -> int:
    """Ticks in nanoseconds: as they are on Intel (1/1), 125/3 of that on Apple's own chips."""
    return ticks * numerator // denominator


def timebase() -> tuple[int, int]:
    """mach_timebase_info(): a tick lasts numerator/denominator nanoseconds."""
    info = (ctypes.c_uint32 * 2)()
    ctypes.CDLL(None).mach_timebase_info(ctypes.byref(info))
    return info[0], info[1]

"""Echo on Linux: a datagram ICMP socket with the kernel's own time stamps.

Such a socket needs no privilege, only a group inside net.ipv4.ping_group_range. The kernel fills
in the identifier and the checksum, and hands over only the replies to that identifier. Where the
kernel refuses one, a raw socket does it for a process that may open one.

Stamps come from SO_TIMESTAMPING (Documentation/networking/timestamping.rst): the time of reception
with the reply, the time of transmission through the error queue, together with a copy of the
packet. The copy says which request it was. The kernel's own numbering (SOF_TIMESTAMPING_OPT_ID)
would be shorter, but whether a refused send uses up a number differs between versions.

Because the kernel keeps the times, nobody has to hurry: requests may leave in a burst, and what
came back is read when it suits.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from smolmon.exporter.echo import (
    PAYLOAD_BYTES,
    Clock,
    Event,
    Garbled,
    Reply,
    Unreachable,
    checksum,
    code6_of,
    code_of,
)

# include/uapi: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/net_tstamp.h, linux/errqueue.h,
# linux/icmp.h, linux/icmpv6.h. The socket module lacks them.
SOL_SOCKET = int(socket.SOL_SOCKET)
SO_TIMESTAMPING = 37
IP_RECVERR, IPV6_RECVERR = 11, 25
MSG_ERRQUEUE = 0x2000
TX_SOFTWARE, RX_SOFTWARE, SOFTWARE = 1 << 1, 1 << 3, 1 << 4
ORIGIN_ICMP, ORIGIN_ICMP6, ORIGIN_TIMESTAMPING = 2, 3, 4
SOL_RAW, ICMP_FILTER = 255, 1

ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST_6, ECHO_REPLY_6 = 128, 129
HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence (RFC 792, 4443)
TIMESPEC = struct.Struct("@ll")
EXTENDED_ERROR = struct.Struct("=IBBBBII")  # error, origin, type, code, padding, info, data

# What the kernel is asked for, best first: where it refuses the first, the second may do.
LADDER = (TX_SOFTWARE | RX_SOFTWARE | SOFTWARE, RX_SOFTWARE | SOFTWARE)

BATCH = 256  # packets that one call takes from a queue, so that a flood cannot hold up the rest
REMEMBERED = 4096  # requests whose time of transmission is kept
RECEIVE_BUFFER = 1 << 20  # bytes; the kernel gives what net.core.rmem_max allows
ROOM = 256  # bytes: more than any header and the packet that is sent
UNSTAMPED = 3  # so many replies without a stamp in a row, and the kernel is no longer relied on
PING_GROUP_RANGE = Path("/proc/sys/net/ipv4/ping_group_range")
REFUSED = (errno.EPERM, errno.EACCES, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)

IPPROTO_IP, IPPROTO_IPV6 = int(socket.IPPROTO_IP), int(socket.IPPROTO_IPV6)
KERNEL, USER = Clock.KERNEL, Clock.USER  # looked up for every ping

_Ancillary = list[tuple[int, int, bytes]]


class LinuxEcho:
    """An :class:`~smolmon.exporter.echo.Echo`, bound to the interface `device` if one is given.

    `ladder` are the time stamps to ask for (SOF_TIMESTAMPING_*), best first.
    """

    def __init__(
        self, device: str | None = None, ipv6: bool = False, *, ladder: Sequence[int] = LADDER
    ) -> None:
        self._socket, self.raw = _open(ipv6)
        self._ipv6 = ipv6
        # The kernel's checksum and identifier, but for raw sockets.
        self._identifier = int.from_bytes(os.urandom(2), "big") if self.raw else 0
        self._request, self._reply = (
            (ECHO_REQUEST_6, ECHO_REPLY_6) if ipv6 else (ECHO_REQUEST, ECHO_REPLY)
        )
        self._addresses: dict[str, tuple[Any, ...]] = {}
        self._sent: dict[bytes, int] = {}  # by payload: nanoseconds of CLOCK_REALTIME; the user's
        self._stamped: dict[bytes, int] = {}  # the same, the kernel's
        self._events: list[Event] = []
        self._owed = 0  # stamps of transmission that have not been read
        self._unstamped = 0
        try:
            self._prepare(device)
            self._stamps = self._choose(ladder)
        except OSError:
            self._socket.close()
            raise

    @property
    def rx(self) -> Clock:
        """Who stamps the replies."""
        kernel = self._stamps & RX_SOFTWARE and self._unstamped < UNSTAMPED
        return Clock.KERNEL if kernel else Clock.USER

    def send(self, address: str, sequence: int, payload: bytes) -> None:
        """Send one request. Raises OSError: the reason why *this* request did not leave."""
        to = self._addresses.get(address) or self._resolve(address)
        packet = HEADER.pack(self._request, 0, 0, self._identifier, sequence) + payload
        if self.raw and not self._ipv6:
            packet = packet[:2] + checksum(packet).to_bytes(2, "big") + packet[4:]
        sent = self._sent
        if len(sent) >= REMEMBERED:
            forgotten = next(iter(sent))
            del sent[forgotten]
            self._stamped.pop(forgotten, None)
        sent[payload] = time.time_ns()
        self._owed += 1
        try:
            self._socket.sendto(packet, to)
        except OSError:
            # It may be about an earlier request, to somebody else: the kernel reports a pending
            # ICMP error to whoever uses the socket next. Reading the error queue takes it away.
            known = len(self._events)
            self._read_errors()
            if len(self._events) == known:
                raise
            sent[payload] = time.time_ns()
            self._socket.sendto(packet, to)

    def receive(self) -> Sequence[Event]:
        """Read both queues: first the stamps and errors, then the replies they belong to.

        Each until it is empty or all that is owed has come; a look into an empty queue costs as
        much as a reply. What comes unasked behind that is found the next time.
        """
        self._read_errors(stamps=self._owed)
        recvmsg, sent = self._socket.recvmsg, self._sent
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = recvmsg(ROOM, ROOM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ENOTSOCK):
                    raise
                self._read_errors()  # a pending ICMP error, told once; see send()
                continue
            if self.raw:
                data = self._ours(data)
            if data:
                owed = bool(sent)
                self._events.append(self._read_reply(data, ancillary, source[0]))
                if owed and not sent:
                    break
        events, self._events = self._events, []
        return events

    def fileno(self) -> int:
        """The socket's descriptor; the error queue makes it readable too."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def _prompt(self) -> bool:
        # Until it was clear that the kernel stamps nothing, nobody hurried to read.
        return not self._stamps & RX_SOFTWARE or self._unstamped > UNSTAMPED

    def _read_reply(self, data: bytes, ancillary: _Ancillary, source: str) -> Event:
        now = time.monotonic()
        if len(data) < HEADER.size or data[0] != self._reply:
            return Garbled()
        payload = data[HEADER.size :]
        stamp = _stamp(ancillary)
        sent = self._sent.pop(payload, None)
        elapsed, tx = None, USER
        if sent is not None:
            exact = self._stamped.pop(payload, None)
            if exact is None and self._stamps & TX_SOFTWARE:
                self._read_errors(payload)  # it may have come since
                exact = self._stamped.pop(payload, None)
            if exact is not None:
                sent, tx = exact, KERNEL
            if stamp is not None:
                elapsed = (stamp - sent) / 1e9
            elif self._prompt and exact is not None:
                elapsed = (time.time_ns() - sent) / 1e9
        sequence = data[6] << 8 | data[7]
        if stamp is not None:
            self._unstamped = 0
            return Reply(source, sequence, payload, now, elapsed, tx, KERNEL, False)
        self._unstamped += 1
        return Reply(source, sequence, payload, now, elapsed, tx, USER, self._prompt)

    def _ours(self, data: bytes) -> bytes:
        """The reply to a raw socket, which hears everything; nothing for somebody else's.

        One whose checksum is wrong is reduced to a byte: it cannot be read.
        """
        whole = len(data) < ROOM
        if not self._ipv6 and data:
            data = data[(data[0] & 15) * 4 :]
        head = bytes((self._reply,)), self._identifier.to_bytes(2, "big")
        if (data[:1], data[4:6]) != head:
            return b""
        return data[:1] if whole and not self._ipv6 and checksum(data) else data

    def _prepare(self, device: str | None) -> None:
        self._socket.setblocking(False)
        if device is not None:
            # Needs no privilege since Linux 5.7, on a socket that is not bound yet.
            self._socket.setsockopt(SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if self._ipv6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            if self.raw:
                others = ~(1 << ECHO_REPLY) & 0xFFFFFFFF
                self._socket.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("@I", others))
        self._socket.setsockopt(SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if not self.raw:
            self._socket.bind(("", 0))  # gives it its identifier

    def _choose(self, ladder: Sequence[int]) -> int:
        for wanted in ladder:
            with suppress(OSError):
                self._socket.setsockopt(SOL_SOCKET, SO_TIMESTAMPING, wanted)
                return wanted
        return 0

    def _resolve(self, address: str) -> tuple[Any, ...]:
        """The socket address, with its interface (`fe80::1%eth0`). Raises OSError."""
        if not self._ipv6:
            self._addresses[address] = (address, 0)
        else:
            [(*_, to), *_] = socket.getaddrinfo(
                address, 0, socket.AF_INET6, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST
            )
            self._addresses[address] = to
        return self._addresses[address]

    def _read_errors(self, wanted: bytes | None = None, stamps: int = 0) -> None:
        """Take transmission stamps and ICMP errors from the error queue.

        `wanted` is the payload of a request whose reply is already here. It is enough to read so
        many `stamps`; 0: all there is.
        """
        recvmsg, sent, stamped = self._socket.recvmsg, self._sent, self._stamped
        for _ in range(BATCH):
            try:
                data, ancillary, _, address = recvmsg(ROOM, ROOM, MSG_ERRQUEUE)
            except OSError:
                self._owed = 0
                return  # empty; any real trouble shows in the queue of replies too
            origin, kind, code, stamp = _read(ancillary)
            if origin == ORIGIN_TIMESTAMPING:
                # The copy has whatever headers the driver had put in front by then.
                payload = data[-PAYLOAD_BYTES:]
                if stamp is not None and (payload in sent or payload == wanted):
                    stamped[payload] = stamp
                self._owed -= 1
                stamps -= 1
                if not stamps:
                    return
            elif origin in (ORIGIN_ICMP, ORIGIN_ICMP6) and len(data) >= HEADER.size:
                _, _, _, identifier, sequence = HEADER.unpack_from(data)
                if self.raw and identifier != self._identifier:
                    continue
                # The address is that of the request; routers quote at least its ICMP header.
                name = code_of if origin == ORIGIN_ICMP else code6_of
                self._events.append(Unreachable(address[0], sequence, name(kind, code)))


def _open(ipv6: bool) -> tuple[socket.socket, bool]:
    """A socket, and whether it is a raw one. Raises PermissionError with the remedy."""
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if ipv6 else socket.IPPROTO_ICMP
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol), False
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        with suppress(OSError):
            return socket.socket(family, socket.SOCK_RAW, protocol), True
        if not isinstance(error, PermissionError):
            raise
        allowed = " ".join(PING_GROUP_RANGE.read_text(encoding="ascii").split())
        raise PermissionError(
            error.errno,
            f"net.ipv4.ping_group_range is `{allowed}`; "
            "run: sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'",
        ) from error


def _stamp(ancillary: _Ancillary) -> int | None:
    """The software stamp in nanoseconds of CLOCK_REALTIME; None where the kernel made none."""
    for level, kind, data in ancillary:
        if kind == SO_TIMESTAMPING and level == SOL_SOCKET and len(data) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(data)
            return int(seconds * 1_000_000_000 + nanoseconds) or None
    return None


def _read(ancillary: _Ancillary) -> tuple[int, int, int, int | None]:
    """What an entry of the error queue is about: ee_origin, ee_type, ee_code; and its stamp."""
    for level, kind, data in ancillary:
        if (
            (level == IPPROTO_IP and kind == IP_RECVERR)
            or (level == IPPROTO_IPV6 and kind == IPV6_RECVERR)
        ) and len(data) >= EXTENDED_ERROR.size:
            return data[4], data[5], data[6], _stamp(ancillary)
    return 0, 0, 0, None

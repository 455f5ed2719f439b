"""Echo on Linux: a datagram ICMP socket with the kernel's own time stamps.

Such a socket needs no privilege, only a group inside net.ipv4.ping_group_range. The kernel fills
in the identifier and the checksum, and hands over only the replies to that identifier.

Stamps come from SO_TIMESTAMPING (Documentation/networking/timestamping.rst): the time of reception
with the reply, the time of transmission through the error queue, together with a copy of the
packet. The copy says which request it was. The kernel's own numbering (SOF_TIMESTAMPING_OPT_ID)
would be shorter, but whether a refused send uses up a number differs between versions.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from smolmon.exporter.echo import PAYLOAD_BYTES, Clock, Reply, Unreachable

# include/uapi: asm-generic/socket.h, linux/in.h, linux/net_tstamp.h, linux/errqueue.h. The socket
# module lacks them.
SO_TIMESTAMPING = 37
IP_RECVERR = 11
MSG_ERRQUEUE = 0x2000
TX_SOFTWARE, RX_SOFTWARE, SOFTWARE = 1 << 1, 1 << 3, 1 << 4
ORIGIN_ICMP, ORIGIN_TIMESTAMPING = 2, 4

ECHO_REQUEST, ECHO_REPLY = 8, 0
HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence (RFC 792)
TIMESPEC = struct.Struct("@ll")
EXTENDED_ERROR = struct.Struct("=IBBBBII")

BATCH = 256  # packets that one call takes from a queue, so that a flood cannot hold up the rest
REMEMBERED = 1024  # requests whose time of transmission is kept
PING_GROUP_RANGE = Path("/proc/sys/net/ipv4/ping_group_range")


@frozen
class _Sent:
    nanoseconds: int  # CLOCK_REALTIME, as the kernel's stamps
    clock: Clock


class LinuxEcho:
    """An :class:`~smolmon.exporter.echo.Echo`, bound to the interface `device` if one is given."""

    def __init__(self, device: str | None = None) -> None:
        self._socket = _open()
        self._sent: dict[bytes, _Sent] = {}  # by payload
        self._events: list[Reply | Unreachable] = []
        try:
            self._socket.setblocking(False)
            if device is not None:
                # Needs no privilege since Linux 5.7, on a socket that is not bound yet.
                self._socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0"
                )
            self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            self._socket.setsockopt(
                socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE | RX_SOFTWARE | SOFTWARE
            )
            self._socket.bind(("", 0))
        except OSError:
            self._socket.close()
            raise

    def send(self, address: str, sequence: int, payload: bytes) -> None:
        """Send one request. Raises OSError: the reason why *this* request did not leave."""
        packet = HEADER.pack(ECHO_REQUEST, 0, 0, 0, sequence) + payload
        if len(self._sent) >= REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._sent[payload] = _Sent(time.time_ns(), Clock.USER)
        try:
            self._socket.sendto(packet, (address, 0))
        except OSError:
            # It may be about an earlier request, to somebody else: the kernel reports a pending
            # ICMP error to whoever uses the socket next. Reading the error queue takes it away.
            known = len(self._events)
            self._read_errors()
            if len(self._events) == known:
                raise
            self._socket.sendto(packet, (address, 0))

    def receive(self) -> Sequence[Reply | Unreachable]:
        """Read both queues empty: first the stamps and errors, then the replies they belong to."""
        self._read_errors()
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = self._socket.recvmsg(2048, 512)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in (errno.EBADF, errno.ENOTSOCK):
                    raise
                self._read_errors()  # a pending ICMP error, told once; see send()
                continue
            now_real, now = time.time_ns(), time.monotonic()
            if len(data) < HEADER.size or data[0] != ECHO_REPLY:
                continue
            payload = data[HEADER.size :]
            sent = self._sent.get(payload)
            if sent is not None and sent.clock is Clock.USER:
                self._read_errors()  # its stamp may have come since
                sent = self._sent[payload]
            self._sent.pop(payload, None)
            stamp = _stamp(ancillary)
            elapsed = None
            if sent is not None and (stamp is not None or sent.clock is Clock.KERNEL):
                elapsed = ((stamp or now_real) - sent.nanoseconds) / 1e9
            self._events.append(
                Reply(
                    source=source[0],
                    sequence=HEADER.unpack_from(data)[4],
                    payload=payload,
                    received=now,
                    elapsed=elapsed,
                    tx=sent.clock if sent else Clock.USER,
                    rx=Clock.KERNEL if stamp is not None else Clock.USER,
                )
            )
        events, self._events = self._events, []
        return events

    def fileno(self) -> int:
        """The socket's descriptor; the error queue makes it readable too."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read_errors(self) -> None:
        """Take transmission stamps and ICMP errors from the error queue."""
        for _ in range(BATCH):
            try:
                data, ancillary, _, address = self._socket.recvmsg(2048, 512, MSG_ERRQUEUE)
            except OSError:
                return  # empty; any real trouble shows in the queue of replies too
            origin = _origin(ancillary)
            if origin == ORIGIN_TIMESTAMPING:
                # The copy has whatever headers the driver had put in front by then.
                payload = data[-PAYLOAD_BYTES:]
                stamp = _stamp(ancillary)
                if stamp is not None and payload in self._sent:
                    self._sent[payload] = _Sent(stamp, Clock.KERNEL)
            elif origin == ORIGIN_ICMP and len(data) >= HEADER.size:
                # The address is that of the request; routers quote at least its ICMP header.
                self._events.append(Unreachable(address[0], HEADER.unpack_from(data)[4]))


def _open() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except PermissionError as error:
        allowed = " ".join(PING_GROUP_RANGE.read_text(encoding="ascii").split())
        raise PermissionError(
            error.errno,
            f"net.ipv4.ping_group_range is `{allowed}`; "
            "run: sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'",
        ) from error


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The software stamp in nanoseconds of CLOCK_REALTIME; None where the kernel made none."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING) and len(data) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(data)
            return int(seconds * 10**9 + nanoseconds) or None
    return None


def _origin(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """What an entry of the error queue is about (struct sock_extended_err, ee_origin)."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR) and len(data) >= EXTENDED_ERROR.size:
            return int(EXTENDED_ERROR.unpack_from(data)[1])
    return None

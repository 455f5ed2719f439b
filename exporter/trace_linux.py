"""Echo requests of limited life on Linux, unprivileged: the error queue says who sent them back."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

from smolmon.exporter.trace import Answer

IP_RECVERR = 11  # include/uapi/linux/in.h
ECHO_REPLY, ECHO_REQUEST, TIME_EXCEEDED = 0, 8, 11  # RFC 792
FROM_ICMP = 2  # include/uapi/linux/errqueue.h: SO_EE_ORIGIN_ICMP
HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
# sock_extended_err: errno, origin, type, code, pad, info, data; then the sender's sockaddr_in.
EXTENDED_ERROR = struct.Struct("=IBBBxII")
SENDER = struct.Struct("=HH4s")

ATTEMPTS = 8  # at sending: each may be told of one gateway's error
MOST = 64  # messages taken at once


class LinuxTracer:
    """A :class:`~smolmon.exporter.trace.Tracer`. The time to live is the sequence number, too."""

    def __init__(self) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        except OSError:
            self._socket.close()
            raise

    def send(self, address: str, ttl: int) -> None:
        """Send one. What the kernel reports here may be what an earlier request met."""
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        request = HEADER.pack(ECHO_REQUEST, 0, 0, 0, ttl)
        for attempt in range(ATTEMPTS):
            try:
                self._socket.sendto(request, (address, 0))
            except OSError as error:
                if error.errno != errno.EHOSTUNREACH or attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def receive(self) -> Sequence[Answer]:
        """Replies, and the gateways' errors."""
        return [*self._replies(), *self._errors()]

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _replies(self) -> Sequence[Answer]:
        found: list[Answer] = []
        for _ in range(MOST):
            try:
                data, (source, _) = self._socket.recvfrom(2048)
            except BlockingIOError:
                break
            except OSError:
                continue  # the error of one request; the queue has it in full
            if len(data) >= HEADER.size and data[0] == ECHO_REPLY:
                found.append(Answer(HEADER.unpack_from(data)[4], source, reached=True))
        return found

    def _errors(self) -> Sequence[Answer]:
        found: list[Answer] = []
        for _ in range(MOST):
            try:
                data, control, _, _ = self._socket.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                break
            for level, kind, value in control:
                if (level, kind) != (socket.IPPROTO_IP, IP_RECVERR) or len(data) < HEADER.size:
                    continue
                _, origin, icmp, _, _, _ = EXTENDED_ERROR.unpack_from(value)
                if origin == FROM_ICMP and icmp == TIME_EXCEEDED:
                    _, _, sender = SENDER.unpack_from(value, EXTENDED_ERROR.size)
                    ttl = HEADER.unpack_from(data)[4]
                    found.append(Answer(ttl, socket.inet_ntoa(sender), reached=False))
        return found

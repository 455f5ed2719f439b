"""Netlink, as far as the exporter needs it: questions with one or many answers, and events.

Written out here because importing pyroute2 costs 12 MB and a third of a second, more than all the
rest of the exporter, and its general decoder ten times the processor time of these few structures;
the tests hold the two against each other. Messages: netlink(7), include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress

from attrs import frozen

ROUTE, SOCK_DIAG = 0, 4  # protocols

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ERROR = struct.Struct("=i")
_REQUEST, _DUMP = 0x1, 0x300
_DUMP_INTERRUPTED = 0x10
_TYPE_ERROR, _TYPE_DONE = 2, 3
_ATTRIBUTE_TYPE = 0x3FFF  # without the flags for nested and network-order ones
_SOL_NETLINK, _STRICT_CHECK = 270, 12

_TIMEOUT = 5.0  # seconds; the kernel answers at once
_BUFFER = 1 << 16  # bytes: no datagram of a dump is larger
_TRIES = 5  # of a dump that changes interrupt


@frozen
class Message:
    """A netlink message without its header."""

    kind: int
    body: bytes


class Netlink:
    """A socket for questions. Opened when first used, and again after trouble."""

    def __init__(self, protocol: int) -> None:
        self._protocol = protocol
        self._sequence = 0
        self._socket: socket.socket | None = None

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """All answers to a question, from one moment. Raises OSError."""
        for _ in range(_TRIES):
            answers, whole = self._ask(kind, body, _REQUEST | _DUMP)
            if whole:
                return answers
        raise OSError(errno.EAGAIN, "netlink: the table changes too fast to be read")

    def ask(self, kind: int, body: bytes) -> Message:
        """The answer to a question that has one. Raises OSError."""
        answers, _ = self._ask(kind, body, _REQUEST)
        return answers[0]

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, kind: int, body: bytes, flags: int) -> tuple[list[Message], bool]:
        self._sequence = (self._sequence + 1) % 2**32
        question = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body
        answers: list[Message] = []
        whole = True
        try:
            sock = self._open()
            sock.send(question)
            while True:
                for header, answer in _messages(sock.recv(_BUFFER)):
                    found, noted, sequence = header
                    if sequence != self._sequence:
                        continue  # the rest of an earlier question
                    if found in (_TYPE_ERROR, _TYPE_DONE):
                        number = -_ERROR.unpack_from(answer)[0] if answer else 0
                        if number:
                            raise KernelError(number, os.strerror(number))
                        return answers, whole
                    whole = whole and not noted & _DUMP_INTERRUPTED
                    answers.append(Message(found, answer))
                    if not flags & _DUMP:
                        return answers, whole
        except KernelError:
            raise
        except BaseException:
            self.close()  # the rest of the answer is still to come
            raise

    def _open(self) -> socket.socket:
        if self._socket is None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_NETLINK, kind, self._protocol)
            self._socket.settimeout(_TIMEOUT)
            with suppress(OSError):  # lets the kernel pick out one routing table; Linux 4.20
                self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        return self._socket


class KernelError(OSError):
    """The kernel's answer is an error; the socket is as good as before."""


def subscribe(groups: int) -> socket.socket:
    """A socket that hears rtnetlink events of these groups, and never blocks. Raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    sock = socket.socket(socket.AF_NETLINK, kind, ROUTE)
    try:
        sock.bind((0, groups))
    except OSError:
        sock.close()
        raise
    return sock


def events(sock: socket.socket) -> Iterator[Message | None]:
    """What has come; None where the kernel had to drop some. Raises OSError."""
    while True:
        try:
            data = sock.recv(_BUFFER)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None
            continue
        for (kind, _, _), body in _messages(data):
            yield Message(kind, body)


def attributes(body: bytes, offset: int) -> Mapping[int, bytes]:
    """The attributes that begin at `offset`, by type."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _ATTRIBUTE_TYPE] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _messages(data: bytes) -> Iterator[tuple[tuple[int, int, int], bytes]]:
    """Each message of a datagram: (type, flags, sequence), body."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield (kind, flags, sequence), data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3

"""Netlink by way of pyroute2: questions that are waited for, and events that are not.

pyroute2 works on an event loop, and keeps one for each thread that calls it. Here it gets one of
its own, that runs only while an answer is awaited; the exporter's own is never involved, and no
thread is started. Fields and attributes are called as in include/uapi/linux.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

from pyroute2 import AsyncIPRoute, IPRSocket, config
from pyroute2.netlink import (
    NETLINK_SOCK_DIAG,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    nlmsg,
)
from pyroute2.netlink.diag import SOCK_DIAG_BY_FAMILY, MarshalDiag, inet_diag_req
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

T = TypeVar("T")
Message = Any  # pyroute2's nlmsg: fields by name, attributes by get_attr(); the package is untyped

TIMEOUT = 5.0  # seconds; the kernel answers at once
TRIES = 5  # of a dump that changes interrupt
HEADER_BYTES, ERROR = 16, struct.Struct("=i")  # of the end of an answer: nlmsghdr, then an errno
STRICT_CHECK = [4, 20]  # the first Linux to know NETLINK_GET_STRICT_CHK
BATCH = 256  # datagrams of events that one call takes, so that a flood cannot hold up the rest


class KernelError(OSError):
    """The kernel's answer is an error; the socket is as good as before."""


class Questions:
    """Sockets for questions, of one thread. Opened when first used, and again after trouble."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._route: Any = None
        self._diag: Any = None

    def dump(self, what: str, **only: object) -> list[Message]:
        """All of `what` (link, addr, route, neigh), from one moment. Raises OSError.

        `only` are fields that the kernel itself is to pick by.
        """

        async def ask() -> list[Message]:
            # Without dump_filter=None the library would fetch everything, and pick afterwards.
            answers = await getattr(self._route, what)("dump", dump_filter=None, **only)
            return [message async for message in answers]

        return self._whole(ask)

    def way(self, address: str) -> Message:
        """The route to an address, as the kernel would choose it. Raises OSError."""

        async def ask() -> Message:
            answers = await self._route.route("get", dst=address)
            return answers[0]

        return self._ask(ask)

    def tcp(self, family: int, states: int, source: int, destination: int) -> list[Message]:
        """TCP sockets in some states (a set of bits), by their ports (0: any). Raises OSError."""

        async def ask() -> list[Message]:
            question = inet_diag_req()
            question["sdiag_family"] = family
            question["sdiag_protocol"] = socket.IPPROTO_TCP
            question["idiag_states"] = states
            question["idiag_sport"] = source
            question["idiag_dport"] = destination
            heard: list[Message] = []
            answers = await self._diag.nlm_request(
                question, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, callback=heard.append
            )
            found = [message async for message in answers]
            _check(heard)
            return found

        return self._whole(ask)

    def close(self) -> None:
        """Close the sockets."""
        loop, self._loop = self._loop, None
        if loop is None:
            return

        async def close() -> None:
            self._route.close()
            self._diag.close()

        try:
            loop.run_until_complete(close())
        finally:
            loop.close()

    def _whole(self, ask: Callable[[], Awaitable[list[Message]]]) -> list[Message]:
        for _ in range(TRIES):
            answers = self._ask(ask)
            if not any(m["header"]["flags"] & NLM_F_DUMP_INTR for m in answers):
                return answers
        raise OSError(errno.EAGAIN, "netlink: the table changes too fast to be read")

    def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        try:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # Lets the kernel pick out one routing table.
                self._route = AsyncIPRoute(strict_check=config.kernel >= STRICT_CHECK)
                self._diag = AsyncNetlinkSocket(NETLINK_SOCK_DIAG)
                self._diag.set_marshal(MarshalDiag())
            return self._loop.run_until_complete(asyncio.wait_for(question(), TIMEOUT))
        except NetlinkError as error:
            raise KernelError(error.code, os.strerror(error.code)) from None
        except KernelError:
            raise
        except asyncio.TimeoutError:
            self.close()
            raise OSError(errno.ETIMEDOUT, "netlink: the kernel does not answer") from None
        except BaseException:
            self.close()  # the rest of the answer is still to come
            raise


class Events:
    """A socket that hears rtnetlink events of some groups, and never blocks. Raises OSError."""

    def __init__(self, groups: int, kinds: Iterable[int]) -> None:
        self._socket = IPRSocket(groups=groups)
        try:
            self._socket.bind(groups)
            self._socket.socket.setblocking(False)
        except KeyError as error:  # what the library makes of any refusal
            self._socket.close()
            raise OSError(errno.EADDRINUSE, "netlink: no socket for events") from error
        # That something changed is enough: nothing but the header is decoded.
        self._socket.register_policy(dict.fromkeys(kinds, nlmsg))

    def receive(self) -> Iterator[int | None]:
        """The kinds of what has come; None where the kernel had to drop some. Raises OSError."""
        for _ in range(BATCH):
            try:
                messages = self._socket.get()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield None
                continue
            for message in messages:
                yield message["header"]["type"]

    def fileno(self) -> int:
        """The socket's descriptor."""
        return int(self._socket.fileno())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _check(heard: Iterable[Message]) -> None:
    """Raise what the kernel says is wrong, which pyroute2 passes over in answers of sock_diag.

    (Its type of an error is also the number of a family, by which the library chooses a decoder.)
    """
    for message in heard:
        if message["header"]["type"] in (NLMSG_ERROR, NLMSG_DONE):
            [number] = ERROR.unpack_from(message.data, message.offset + HEADER_BYTES)
            if number:
                raise KernelError(-number, os.strerror(-number))

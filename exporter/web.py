"""A small HTTP/1.1 server for a few read-only pages, with or without TLS.

It shares the event loop with the pings, so it does nothing there but copy bytes, and nobody can
make it hold much: a request must arrive in seconds and in a few kilobytes, an answer must be
taken in seconds, and where all places are taken, the client that has been silent longest goes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address

from attrs import define, field, frozen

log = logging.getLogger(__name__)

LARGEST_HEAD = 8192  # bytes of request line and headers
MOST_CLIENTS = 128
MOST_REQUESTS = 100  # answered at the same time
HEAD_TIMEOUT = 5.0  # seconds for a TLS handshake, and for a request to arrive once it has begun
IDLE_TIMEOUT = 120.0  # seconds for the next request on the same connection to begin
WRITE_TIMEOUT = 10.0  # seconds for a client to take its answer
CHUNK = 65536  # bytes of an answer that wait for a client at one time
PAUSE = 0.1  # seconds until the next attempt when the system has no descriptor left

# Paths that are answered however busy the server is (Prometheus calls them its management API).
MANAGEMENT = "/-/"

PLAIN = "text/plain; charset=utf-8"

# What accept(2) says of a connection, or of the network, that failed; and of an exhausted system.
PASSING = (errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH)
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@frozen
class Request:
    """What a client asked for; the names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    keep_alive: bool


@frozen
class Response:
    """What it gets."""

    body: bytes
    content_type: str = PLAIN
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(factory=dict)


Page = Callable[[Request], Awaitable[Response]]


@frozen
class Policy:
    """How clients are received.

    `tls` is None for plain HTTP. Where `allowed_sans` names anybody, a client that shows a
    certificate needs one of these names in it. `headers` go out with every answer.
    """

    tls: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(factory=dict)


class BadRequestError(ValueError):
    """These bytes are no HTTP/1 request."""


def listener(
    address: str, port: int, prepare: Callable[[socket.socket], None] = lambda _: None
) -> socket.socket:
    """A bound listening socket; `prepare` is called before it binds. Raises OSError."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        prepare(sock)
        sock.bind((address, port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


@define(eq=False)
class _Client:
    """A connection. `busy` while its answer is being made."""

    task: asyncio.Task[None] | None = None
    transport: asyncio.Transport | None = None
    busy: bool = False

    def end(self) -> None:
        """Cut it off. The task alone may not hear of it: see wait_for() before Python 3.12."""
        if self.task:
            self.task.cancel()
        if self.transport:
            self.transport.abort()


class Server:
    """Serves `pages`, by path, on a listening socket, as `policy` says at that moment."""

    def __init__(
        self,
        sock: socket.socket,
        pages: Mapping[str, Page],
        policy: Callable[[], Policy] = Policy,
        most_requests: int = MOST_REQUESTS,
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._pages = pages
        self._policy = policy
        self._most_requests = most_requests
        self._requests = 0  # being answered
        self._clients: dict[_Client, None] = {}  # the one that was silent longest comes first
        self._refused: set[tuple[str, str]] = set()  # what the log has

    async def run(self) -> None:
        """Receive clients until cancelled; then see them all off."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    sock, address = await loop.sock_accept(self._socket)
                except OSError as error:
                    if error.errno in EXHAUSTED:
                        self._make_room()
                        await asyncio.sleep(PAUSE)
                    elif error.errno not in PASSING:
                        raise
                    continue
                if len(self._clients) >= MOST_CLIENTS:
                    self._make_room()
                client = _Client()
                self._clients[client] = None
                client.task = loop.create_task(self._receive(client, sock, address[0]))
                # Let it begin: a task that is cancelled before would never close its socket.
                await asyncio.sleep(0)
        finally:
            self._socket.close()
            clients = list(self._clients)
            self._clients.clear()
            for client in clients:
                client.end()
            tasks = [client.task for client in clients if client.task]
            await asyncio.gather(*tasks, return_exceptions=True)

    def _make_room(self) -> None:
        """Send away the client that was silent longest."""
        for client in self._clients:
            if client.task and not client.busy:
                del self._clients[client]
                client.end()
                return

    async def _receive(self, client: _Client, sock: socket.socket, address: str) -> None:
        """From the handshake to the end of the connection."""
        loop = asyncio.get_running_loop()
        try:
            policy = self._policy()
            reader = asyncio.StreamReader(LARGEST_HEAD)
            protocol = asyncio.StreamReaderProtocol(reader)
            client.transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=policy.tls,
                ssl_handshake_timeout=HEAD_TIMEOUT if policy.tls else None,
            )
            writer = asyncio.StreamWriter(client.transport, protocol, reader, loop)
            welcome = is_welcome(writer.get_extra_info("peercert"), policy.allowed_sans)
            if not welcome:
                self._note(address, "no name in its certificate is one of client_allowed_sans")
            await self._converse(client, reader, writer, welcome)
        except ssl.SSLError as error:
            self._note(address, (error.reason or str(error)).lower().replace("_", " "))
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass  # it left, or was too slow
        except asyncio.CancelledError:
            pass  # the exporter stops, or somebody else needs the place
        finally:
            self._clients.pop(client, None)
            if client.transport is not None:
                client.transport.abort()
            else:
                sock.close()

    async def _converse(
        self,
        client: _Client,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        welcome: bool,
    ) -> None:
        """Answer requests until one side has enough."""
        patience, more = HEAD_TIMEOUT, True
        while more and client in self._clients:
            request = await _hear(reader, patience)
            if client not in self._clients:
                return
            self._clients[client] = self._clients.pop(client)
            more, head_only = False, False
            counted = False
            try:
                if isinstance(request, HTTPStatus):
                    response = _plain(request)
                elif not welcome:
                    response = _plain(HTTPStatus.FORBIDDEN)
                else:
                    more, head_only = request.keep_alive, request.method == "HEAD"
                    counted = not request.path.startswith(MANAGEMENT)
                    self._requests += counted
                    client.busy = True
                    response = await self._answer(request, counted)
                    client.busy = False
                await self._send(writer, response, more, head_only)
            finally:
                self._requests -= counted
            patience = IDLE_TIMEOUT
        await _part(reader, writer)

    async def _answer(self, request: Request, counted: bool) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
        page = self._pages.get(request.path)
        if page is None:
            return _plain(HTTPStatus.NOT_FOUND)
        if counted and self._requests > self._most_requests:
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, **{"Retry-After": "1"})
        try:
            return await page(request)
        except Exception as error:  # one page that fails must not end the connection unanswered
            log.error("%s: %r", request.path, error)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _send(
        self, writer: asyncio.StreamWriter, response: Response, more: bool, head_only: bool
    ) -> None:
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": len(response.body),
            "Connection": "keep-alive" if more else "close",
            **response.headers,
            **self._policy().headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
        # Piece by piece: what waits for a slow client is held in memory once for each of them.
        body = memoryview(b"" if head_only else response.body)
        writer.write(f"{status}{lines}\r\n".encode("latin-1"))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WRITE_TIMEOUT
        for start in range(0, len(body), CHUNK):
            writer.write(body[start : start + CHUNK])
            await asyncio.wait_for(writer.drain(), deadline - loop.time())

    def _note(self, address: str, why: str) -> None:
        """Log who was refused and why; once, for it will try again every few seconds."""
        if (address, why) not in self._refused:
            if len(self._refused) >= MOST_CLIENTS:
                self._refused.clear()
            self._refused.add((address, why))
            log.warning("refused %s: %s", address, why)


def parse(head: bytes) -> Request:
    """Read a request's first line and headers. Raises BadRequestError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError("not an HTTP/1 request")
    headers = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError("a header without a colon")
        headers[name.lower()] = value.strip()
    # None of the pages takes a body, and skipping one is not worth the code.
    body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    connection = headers.get("connection", "").lower()
    keep = connection != "close" and (words[2] != "HTTP/1.0" or connection == "keep-alive")
    return Request(words[0], words[1].partition("?")[0], headers, keep and not body)


def is_welcome(
    certificate: Mapping[str, Iterable[tuple[str, str]]] | None, allowed: frozenset[str]
) -> bool:
    """Whether one of the names in a certificate (ssl.SSLSocket.getpeercert()) is allowed.

    Everybody is where `allowed` is empty. Where no certificate was asked for, there is none.
    """
    if not allowed or not certificate:
        return True
    names = certificate.get("subjectAltName", ())
    return any(
        (str(ip_address(value.strip())) if kind == "IP Address" else value) in allowed
        for kind, value in names
    )


async def _hear(reader: asyncio.StreamReader, patience: float) -> Request | HTTPStatus:
    """The next request, or what is wrong with it. Raises TimeoutError and IncompleteReadError."""
    try:
        first = await asyncio.wait_for(reader.readexactly(1), patience)
        rest = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_TIMEOUT)
        return parse(first + rest)
    except asyncio.LimitOverrunError:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    except BadRequestError:
        return HTTPStatus.BAD_REQUEST


async def _part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End a connection so that the last answer arrives."""
    if not writer.can_write_eof():  # TLS has no half of a close
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), HEAD_TIMEOUT)
        return
    # Half a close first: a reset would overtake the answer if the client is still sending.
    writer.write_eof()
    for _ in range(16):
        if not await asyncio.wait_for(reader.read(LARGEST_HEAD), HEAD_TIMEOUT):
            return


def _plain(status: HTTPStatus, **headers: str) -> Response:
    text = f"{status.value} {status.phrase}\n"
    return Response(text.encode(), status=status, headers=headers)

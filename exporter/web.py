"""A small HTTP/1.1 server for a few read-only pages.

It shares the event loop with the pings, so it does nothing there but copy bytes; it holds neither
a slow client nor a large request for long.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from ipaddress import ip_address

from attrs import frozen

log = logging.getLogger(__name__)

LARGEST_HEAD = 8192  # bytes of request line and headers
MOST_CLIENTS = 32
HEAD_TIMEOUT = 5.0  # seconds for the first request to arrive
IDLE_TIMEOUT = 60.0  # seconds for the next one on the same connection
WRITE_TIMEOUT = 10.0  # seconds for a client to take its answer

PLAIN = "text/plain; charset=utf-8"


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


Page = Callable[[Request], Awaitable[Response]]


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


async def serve(sock: socket.socket, pages: Mapping[str, Page]) -> asyncio.Server:
    """Serve `pages`, by path, on a listening socket."""
    clients = 0

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal clients
        clients += 1
        try:
            if clients <= MOST_CLIENTS:
                await _converse(reader, writer, pages)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass  # it left, or was too slow
        except asyncio.CancelledError:
            pass  # the exporter stops; Python before 3.12 would log it as an error
        finally:
            clients -= 1
            writer.transport.abort()

    return await asyncio.start_server(client, sock=sock, limit=LARGEST_HEAD)


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


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pages: Mapping[str, Page]
) -> None:
    """Answer requests until one side has enough."""
    patience, more = HEAD_TIMEOUT, True
    while more:
        head_only = more = False
        try:
            request = parse(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patience))
        except asyncio.LimitOverrunError:
            response = _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except BadRequestError:
            response = _plain(HTTPStatus.BAD_REQUEST)
        else:
            response = await _answer(request, pages)
            head_only, more = request.method == "HEAD", request.keep_alive
        writer.write(_bytes(response, more, head_only))
        await asyncio.wait_for(writer.drain(), WRITE_TIMEOUT)
        patience = IDLE_TIMEOUT
    # Half a close first: a reset would overtake the answer if the client is still sending.
    writer.write_eof()
    await asyncio.wait_for(_discard(reader), HEAD_TIMEOUT)


async def _discard(reader: asyncio.StreamReader) -> None:
    for _ in range(16):
        if not await reader.read(LARGEST_HEAD):
            return


async def _answer(request: Request, pages: Mapping[str, Page]) -> Response:
    if request.method not in ("GET", "HEAD"):
        return _plain(HTTPStatus.METHOD_NOT_ALLOWED)
    page = pages.get(request.path)
    if page is None:
        return _plain(HTTPStatus.NOT_FOUND)
    try:
        return await page(request)
    except Exception as error:  # one page that fails must not end the connection unanswered
        log.error("%s: %r", request.path, error)
        return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)


def _plain(status: HTTPStatus) -> Response:
    return Response(f"{status.value} {status.phrase}\n".encode(), status=status)


def _bytes(response: Response, keep_alive: bool, head_only: bool) -> bytes:
    head = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
    )
    if response.status is HTTPStatus.METHOD_NOT_ALLOWED:
        head += "Allow: GET, HEAD\r\n"
    return head.encode("latin-1") + b"\r\n" + (b"" if head_only else response.body)

"""The HTTP server answers what it serves, and bears with bad clients."""

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from smolmon.exporter import web
from smolmon.exporter.system_linux import free_bind
from tests.exporter.serving import serving


async def page(request):
    return web.Response(request.headers.get("accept", "-").encode())


async def failing(request):
    raise RuntimeError("no")


@pytest.fixture
def port():
    """A server on a loop of its own; the port it listens on."""
    with serving({"/page": page, "/failing": failing}) as port:
        yield port


def ask(port, method, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def raw(port, data):
    """Everything that comes back until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(data)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_pages(port):
    assert ask(port, "GET", "/page", accept="text/plain") == (200, b"text/plain")
    assert ask(port, "GET", "/page?query") == (200, b"-")
    assert ask(port, "HEAD", "/page") == (200, b"")
    assert ask(port, "GET", "/")[0] == 404
    assert ask(port, "GET", "/pages")[0] == 404
    assert ask(port, "POST", "/page")[0] == 405


def test_a_page_that_fails_is_an_answer_too(port, caplog):
    assert ask(port, "GET", "/failing")[0] == 500
    assert caplog.messages == ["/failing: RuntimeError('no')"]


def test_one_connection_serves_many_requests(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.connect()
    sock = connection.sock
    for _ in range(3):
        connection.request("GET", "/page")
        assert connection.getresponse().read() == b"-"
    assert connection.sock is sock
    connection.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\nnonsense\r\n\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_bad_requests_end_the_connection(port, data, status):
    assert raw(port, data).startswith(b"HTTP/1.1 " + status)


def test_a_flood_is_cut_off(port):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as sock,
        pytest.raises((BrokenPipeError, ConnectionResetError)),
    ):
        sock.sendall(b"y" * 100_000_000)
    assert ask(port, "GET", "/page")[0] == 200


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /page HTTP/1.0\r\n\r\n",
        b"GET /page HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /page HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_the_connection_ends_when_it_must(port, request_text):
    assert raw(port, request_text).startswith(b"HTTP/1.1 200")


def test_a_slow_client_is_shown_the_door(port, monkeypatch):
    monkeypatch.setattr(web, "HEAD_TIMEOUT", 0.1)
    assert raw(port, b"GET /page HT") == b""
    assert ask(port, "GET", "/page")[0] == 200


def test_slow_loris(port, monkeypatch):
    """Clients that dribble their headers take all places; a scrape is answered all the same."""
    monkeypatch.setattr(web, "MOST_CLIENTS", 20)
    slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(60)]
    for byte in b"GET /page HT":
        for sock in slow:
            with contextlib.suppress(OSError):  # most have been shown the door
                sock.send(bytes([byte]))
        assert ask(port, "GET", "/page")[0] == 200
    assert sum(is_open(sock) for sock in slow) <= 20
    for sock in slow:
        sock.close()


def is_open(sock):
    sock.setblocking(False)
    try:
        return bool(sock.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_client_that_takes_no_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(web, "WRITE_TIMEOUT", 0.2)
    large = b"x" * 20_000_000

    async def page(request):
        return web.Response(large)

    with serving({"/page": page}) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"GET /page HTTP/1.1\r\n\r\n")
            time.sleep(0.5)  # what it does not do here, it does not do
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while part := sock.recv(1 << 20):
                    received += len(part)
            assert received < len(large)
        assert ask(port, "GET", "/page") == (200, large)


class Gate:
    """A page that is answered once it is opened."""

    def __init__(self):
        self.opened = threading.Event()
        self.inside = threading.Semaphore(0)

    async def page(self, request):
        self.inside.release()
        await asyncio.get_running_loop().run_in_executor(None, self.opened.wait, 5)
        return web.Response(b"through")


def test_too_many_requests_at_once_are_told_to_come_again():
    gate = Gate()
    pages = {"/gate": gate.page, "/page": page, "/-/healthy": page}
    with serving(pages, most_requests=2) as port, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, port, "GET", "/gate") for _ in range(2)]
        for _ in waiting:
            assert gate.inside.acquire(timeout=5)
        assert ask(port, "GET", "/page") == (503, b"503 Service Unavailable\n")
        assert ask(port, "GET", "/-/healthy")[0] == 200
        gate.opened.set()
        assert [w.result(5) for w in waiting] == [(200, b"through")] * 2
        assert ask(port, "GET", "/page")[0] == 200


def test_it_stops_at_once_with_all_kinds_of_clients_connected():
    gate = Gate()
    with contextlib.ExitStack() as stack:
        with serving({"/gate": gate.page, "/page": page}) as port:
            for data in (b"", b"GET /pa", b"GET /page HTTP/1.1\r\n\r\n"):
                sock = socket.create_connection(("127.0.0.1", port), timeout=5)
                stack.enter_context(sock)
                sock.sendall(data)
            start = time.monotonic()
        assert time.monotonic() - start < 0.5


def test_policy_headers_go_out_with_every_answer():
    headers = {"X-Frame-Options": "deny"}
    with serving({"/page": page}, lambda: web.Policy(headers=headers)) as port:
        for path in ("/page", "/nothing"):
            assert b"\r\nX-Frame-Options: deny\r\n" in raw(
                port, f"GET {path} HTTP/1.0\r\n\r\n".encode()
            )


def test_an_address_that_comes_up_later_can_be_bound():
    with pytest.raises(OSError, match="assign"):
        web.listener("192.0.2.77", 0)
    web.listener("192.0.2.77", 0, free_bind).close()


def test_ipv6():
    sock = web.listener("::1", 0)
    assert sock.getsockname()[0] == "::1"
    sock.close()

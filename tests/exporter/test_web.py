"""The HTTP server answers what it serves, and bears with bad clients."""

import asyncio
import http.client
import socket
import threading

import pytest

from smolmon.exporter import web
from smolmon.exporter.system_linux import free_bind


async def page(request):
    return web.Response(request.headers.get("accept", "-").encode())


async def failing(request):
    raise RuntimeError("no")


@pytest.fixture
def port():
    """A server on a loop of its own; the port it listens on."""
    sock = web.listener("127.0.0.1", 0)
    loop = asyncio.new_event_loop()
    pages = {"/page": page, "/failing": failing}
    server = loop.run_until_complete(web.serve(sock, pages))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield sock.getsockname()[1]
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.run_until_complete(end_clients())
    loop.close()


async def end_clients():
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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


def test_too_many_clients_are_turned_away_and_then_let_in_again(port, monkeypatch):
    monkeypatch.setattr(web, "MOST_CLIENTS", 2)
    idle = [http.client.HTTPConnection("127.0.0.1", port, timeout=5) for _ in range(2)]
    for connection in idle:
        connection.request("GET", "/page")
        connection.getresponse().read()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(port, "GET", "/page")
    for connection in idle:
        connection.close()
    deadline = threading.Event()
    for _ in range(100):
        try:
            assert ask(port, "GET", "/page")[0] == 200
            break
        except (http.client.RemoteDisconnected, ConnectionResetError):
            deadline.wait(0.02)
    else:
        pytest.fail("still turned away")


def test_an_address_that_comes_up_later_can_be_bound():
    with pytest.raises(OSError, match="assign"):
        web.listener("192.0.2.77", 0)
    web.listener("192.0.2.77", 0, free_bind).close()


def test_ipv6():
    sock = web.listener("::1", 0)
    assert sock.getsockname()[0] == "::1"
    sock.close()

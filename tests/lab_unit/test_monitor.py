"""The parts around the monitor that need no machine: the sink and the relay of ports."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

from smolmon.lab import forward, sink

ALERT = {
    "status": "firing",
    "labels": {"alertname": "SmolmonForwardingDisabled", "node": "mini3"},
    "annotations": {"summary": "mini3 does not forward", "fix": "ssh mini3 ..."},
}


def test_each_alert_of_a_post_is_a_notification() -> None:
    other = {"status": "resolved", "labels": {"alertname": "Watchdog"}}
    assert sink.notifications({"alerts": [ALERT, other]}, "T") == [
        {
            "time": "T",
            "status": "firing",
            "alert": "SmolmonForwardingDisabled",
            "node": "mini3",
            "summary": "mini3 does not forward",
            "fix": "ssh mini3 ...",
        },
        {
            "time": "T",
            "status": "resolved",
            "alert": "Watchdog",
            "node": "",
            "summary": "",
            "fix": "",
        },
    ]


@pytest.fixture(name="port")
def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_the_sink_keeps_what_is_posted_and_refuses_the_rest(tmp_path: Path, port: int) -> None:
    file = tmp_path / "deep/notifications.jsonl"
    server = sink.server(port, file)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answers = []
        for body in (json.dumps({"alerts": [ALERT]}), "no json", "[1]", '{"alerts": [2]}'):
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("POST", "/", body)
            answers.append(connection.getresponse().status)
            connection.close()
    finally:
        server.shutdown()
        server.server_close()
    assert answers == [200, 400, 400, 400]
    assert [one["alert"] for one in sink.read(file)] == ["SmolmonForwardingDisabled"]


def test_what_cannot_be_kept_is_to_be_sent_again(
    tmp_path: Path, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notifications.jsonl"
    file.symlink_to("/dev/full")
    server = sink.server(port, file)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/", json.dumps({"alerts": [ALERT]}))
        assert connection.getresponse().status == 503
        connection.close()
    finally:
        server.shutdown()
        server.server_close()
    said = f"{file}: No space left on device; Alertmanager will send it again\n"
    assert capfd.readouterr().err == said


def test_a_disk_that_is_full_in_the_middle_of_a_line_has_none_of_it(tmp_path: Path) -> None:
    file = tmp_path / "notifications.jsonl"
    code = """if True:
        import pathlib, resource, sys
        from smolmon.lab import sink
        file = pathlib.Path(sys.argv[1])
        sink.append(file, '"first"\\n')
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
        try:
            sink.append(file, '"too long for it"\\n')
        except OSError as error:
            print(error.strerror)
        sink.append(file, '"again"\\n')
    """
    done = subprocess.run(
        [sys.executable, "-c", code, file], capture_output=True, text=True, check=True
    )
    assert done.stdout == "File too large\n"
    assert sink.read(file) == ["first", "again"]


def test_nothing_was_sent_where_there_is_no_file(tmp_path: Path) -> None:
    assert sink.read(tmp_path / "none") == []


def test_a_taken_port_gives_way_to_a_free_one(port: int) -> None:
    with forward.listen(port) as first, forward.listen(port) as second:
        assert forward.url(first) == f"http://127.0.0.1:{port}"
        assert forward.url(second) != forward.url(first)


def test_the_relay_passes_bytes_both_ways_and_closes(port: int) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    async def scenario() -> tuple[bytes, bytes]:
        listener = forward.listen(0)
        serving = asyncio.create_task(forward.relay([(listener, port)]))
        try:
            refused = await talk(listener.getsockname()[1])
            async with await asyncio.start_server(shout, "127.0.0.1", port):
                return refused, await talk(listener.getsockname()[1])
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    async def talk(to: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", to)
        writer.write(b"hello" * 50_000)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    assert asyncio.run(scenario()) == (b"", b"HELLO" * 50_000)

"""A webhook receiver: keeps every alert that Alertmanager sends, one JSON object a line."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

MOST = 4 << 20  # bytes of one POST


def notifications(payload: dict[str, Any], time: str) -> list[dict[str, str]]:
    """What one POST of Alertmanager's webhook (version 4) says, alert by alert.

    `status` is `firing` or `resolved`; a label or annotation that is absent is an empty text.
    """
    return [
        {
            "time": time,
            "status": str(alert.get("status", "")),
            "alert": str(alert.get("labels", {}).get("alertname", "")),
            "node": str(alert.get("labels", {}).get("node", "")),
            "summary": str(alert.get("annotations", {}).get("summary", "")),
            "fix": str(alert.get("annotations", {}).get("fix", "")),
        }
        for alert in payload.get("alerts", [])
    ]


def server(
    port: int, file: Path, tell: Callable[[dict[str, str]], None] | None = None
) -> HTTPServer:
    """A server on the loopback address that appends what it is sent to `file`, and says it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                size = int(self.headers.get("Content-Length", ""))
                if not 0 < size <= MOST:
                    raise ValueError
                received = notifications(json.loads(self.rfile.read(size)), now())
            except (ValueError, AttributeError, TypeError):
                self.send_error(400, "not a notification of Alertmanager")
                return
            try:
                append(file, "".join(json.dumps(one) + "\n" for one in received))
            except OSError as error:  # a full disk: Alertmanager tries again
                sys.stderr.write(f"{file}: {error.strerror}; Alertmanager will send it again\n")
                self.send_error(503, "cannot be kept")
                return
            if tell:
                for one in received:
                    tell(one)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """The file says it all."""

    file.parent.mkdir(parents=True, exist_ok=True)
    return HTTPServer(("127.0.0.1", port), Handler)


def append(file: Path, text: str) -> None:
    """All of `text`, or nothing: a full disk takes a part, and the next line would go on from it.

    Raises OSError.
    """
    with file.open("ab", buffering=0) as stream:
        before = os.fstat(stream.fileno()).st_size
        left = memoryview(text.encode())
        try:
            while left:
                left = left[stream.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                stream.truncate(before)
            raise


def now() -> str:
    """This moment, in UTC, to the millisecond (RFC 3339)."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(file: Path) -> list[dict[str, str]]:
    """Every notification in `file`, the oldest first."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    arguments = parser.parse_args()
    server(arguments.port, arguments.file).serve_forever()

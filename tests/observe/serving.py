"""A small HTTP server on loopback that gives the answers that were recorded."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"

# Of the lab's Prometheus and Alertmanager, on the guide's cluster at speed 20: healthy, and with
# forwarding off on mini3.
PATHS = {
    "/api/v1/alerts": "alerts.json",
    "/api/v1/targets": "targets.json",
    "/api/v1/query": "explained.json",
    "/api/v2/alerts": "alertmanager.json",
}


@contextmanager
def answering(answer):
    """A server whose `answer(path)` gives status, content type and body; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, kind, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def recorded(scene, alertmanager=True):
    """Prometheus and Alertmanager of one recorded moment, at one URL."""

    def answer(path):
        path = path.partition("?")[0]
        if path == "/api/v1/alertmanagers":
            there = f"{own if alertmanager else 'http://127.0.0.1:1'}/api/v2/alerts"
            text = '{"status":"success","data":{"activeAlertmanagers":[{"url":"' + there + '"}]}}'
            return 200, "application/json", text.encode()
        if path == "/api/v1/rules":
            return 200, "application/json", (RECORDED / "rules.json").read_bytes()
        if path in PATHS:
            return 200, "application/json", (RECORDED / scene / PATHS[path]).read_bytes()
        return 404, "text/plain", b"404 page not found"

    with answering(answer) as own:
        yield own

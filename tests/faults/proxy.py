"""A network between labelloop and Label Studio that can be bad: a real proxy on a real socket."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

HOP = {"connection", "content-length", "transfer-encoding", "content-encoding", "host"}


class Proxy:
    """Passes requests on, unless told otherwise.

    Attributes:
        url: where it listens.
        status: what the next `times` requests are answered with instead.
        loses_reply: requests reach the server, and their replies get lost.
        delay_seconds: how long every reply takes.
    """

    def __init__(self, target: str) -> None:
        self.url = ""
        self.target = target
        self.status = 503
        self.times = 0
        self.loses_reply = False
        self.delay_seconds = 0.0
        self._lock = threading.Lock()

    def be_well(self) -> None:
        """Passes everything on."""
        self.times, self.loses_reply, self.delay_seconds = 0, False, 0.0

    def fails_now(self) -> bool:
        """Whether this request is answered with `status`."""
        with self._lock:
            self.times -= 1
            return self.times >= 0


@contextmanager
def between(target: str) -> Iterator[Proxy]:
    """A proxy in front of a server for the time of a block."""
    proxy = Proxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if proxy.fails_now():
                self._answer(proxy.status, b"<html>Bad Gateway</html>", {})
                return
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in HOP
            }
            with httpx.Client(trust_env=False, timeout=60) as http:
                said = http.request(
                    self.command, proxy.target + self.path, headers=headers, content=body
                )
            time.sleep(proxy.delay_seconds)
            if proxy.loses_reply:
                self.close_connection = True
                self.connection.close()
                return
            self._answer(said.status_code, said.content, dict(said.headers))

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            try:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in HOP | {"date", "server"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # who asked is gone
                self.close_connection = True

    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

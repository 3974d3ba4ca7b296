"""A small server in the place of a hub's proxy: says what it was asked, takes uploads, and echoes over a socket."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

#: Protocol of the echo connection, in the place of a web socket's.
ECHO = "echo"
#: Path of a download, and its size: more than all buffers on the way.
LARGE, LARGE_BYTES = "/user/alice/large", 64 << 20


class OriginServer:
    """Runs on a port of 127.0.0.1 until :meth:`stop`."""

    def __init__(self, port: int, name: str) -> None:
        #: The paths of uploads that have begun.
        self.posted: list[str] = []
        handler = type("Handler", (_Handler,), {"name": name, "posted": self.posted})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""
    posted: ClassVar[list[str]]

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == ECHO:
            self._echo()
        elif self.path == LARGE:
            self._answer({"padding": "x" * LARGE_BYTES})
        else:
            self._answer({})

    def do_POST(self) -> None:
        self.posted.append(self.path)
        length, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        left = length
        while left:
            block = self.rfile.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
        self._answer({"bytes": length, "sha256": digest.hexdigest()})

    def _echo(self) -> None:
        """Send back each line, until the client closes the connection."""
        self.send_response(101)
        self.send_header("Upgrade", ECHO)
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        for line in self.rfile:
            self.wfile.write(line)
        self.close_connection = True

    def _answer(self, found: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"name": self.name, "path": self.path, "headers": headers, **found}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output short."""

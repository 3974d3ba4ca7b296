"""An HTTP server that answers all requests that have reached it before it ends.

Tornado's own server resets the connections that wait in its port's queue when it stops, and does not know which
requests are open. Here a request is open from its header until the connection reads the next request or closes, so
that a client that went away in the middle of a request does not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import socket
import struct
import time
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import HTTPError, OutputTransform, stream_request_body

#: Seconds for connections whose handshake is going on when the server ends. The kernels do it, in microseconds.
HANDSHAKE_SECONDS = 0.05
#: Seconds for a later request on a connection that was kept. Hub clients keep none; others repeat such a request.
KEPT_CONNECTIONS_SECONDS = 0.2
#: Seconds from a new connection to its first request. A client on an overloaded machine may need that long.
FIRST_REQUEST_SECONDS = 2.0
#: Maximum number of seconds for open requests when the server ends. An answer takes milliseconds, or seconds on an
#: overloaded machine; a start with a disk limit takes up to 7 seconds (``WAIT_SECONDS`` in disk_limit.py and one).
OPEN_REQUESTS_SECONDS = 9.0

#: Bytes of the longest request. Forms and lists of the API have a few kB; the hub would stand still to read more.
MAX_BODY_BYTES = 2 << 20
#: Seconds in which a body has to arrive. The front sends complete ones; the hub keeps it in memory until then.
BODY_SECONDS = 20

# A program for the kernel's packet filter, as (code, true, false, operand): drop a segment with SYN and without ACK.
_DROP_SYN = [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
_SO_ATTACH_FILTER = 26  # of Linux; Python has no name for it


def refuse_bodies(handler: Any) -> None:
    """Let a class of handlers, which only redirects, answer a request with a body before the body arrives.

    The front holds no body of a request to a user's server. Without such a server, the hub gets the request, and would
    keep up to `MAX_BODY_BYTES` of it in memory.
    """
    prepare = handler.prepare

    async def prepare_without_body(self: Any) -> None:
        if self.request.method not in ("GET", "HEAD"):
            raise HTTPError(405)
        done = prepare(self)
        if done is not None:
            await done

    handler.prepare = prepare_without_body
    handler.data_received = lambda self, chunk: None
    stream_request_body(handler)


class FinishingServer(HTTPServer):
    """A server that :meth:`finish` ends without losing a request."""

    def initialize(self, application: Any, **options: Any) -> None:
        """Follow the requests of a Tornado application."""
        super().initialize(application, **{"max_body_size": MAX_BODY_BYTES, "body_timeout": BODY_SECONDS, **options})
        #: The connections with an open request that is not a stream of events.
        self.busy: set[object] = set()
        # When each connection began that has not sent its first request, else 0.
        self._began: dict[object, float] = {}
        find_handler = application.find_handler

        def begin(request: HTTPServerRequest, **arguments: Any) -> Any:
            self.busy.add(request.server_connection)
            self._began[request.server_connection] = 0
            return find_handler(request, **arguments)

        application.find_handler = begin
        application.add_transform(functools.partial(_EventStream, self.busy))

    def start_request(self, server_conn: object, request_conn: Any) -> Any:
        """Read the next request of a connection: the one before it has been answered."""
        self.busy.discard(server_conn)
        self._began.setdefault(server_conn, time.monotonic())
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        self.busy.discard(server_conn)
        self._began.pop(server_conn, None)
        super().on_close(server_conn)

    async def finish(self) -> None:
        """Accept no more connections, and answer the open requests.

        A stream of events, such as the progress of a start, has no end to wait for; its client connects again.
        """
        # Clients keep connections for later requests, which must go to another server.
        self.conn_params.no_keep_alive = True
        # Tornado has no public name for them.
        ports = list(self._sockets.values())
        for listening in ports:
            _refuse_new(listening)
        await asyncio.sleep(HANDSHAKE_SECONDS)
        self._accept_waiting(ports)
        self.stop()
        await asyncio.sleep(KEPT_CONNECTIONS_SECONDS)
        deadline = time.monotonic() + OPEN_REQUESTS_SECONDS
        while (self.busy or self._expects_requests()) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _expects_requests(self) -> bool:
        """Return whether a connection is so new that its first request may still be on the way."""
        return max(self._began.values(), default=0) > time.monotonic() - FIRST_REQUEST_SECONDS

    def _accept_waiting(self, ports: list[socket.socket]) -> None:
        """Accept the connections that wait in a port's queue: closing the port resets them."""
        for listening in ports:
            with contextlib.suppress(OSError):  # the queue is empty
                while True:
                    self._handle_connection(*listening.accept())


def _refuse_new(listening: socket.socket) -> None:
    """Drop new connections before they are in the queue of a port.

    Otherwise one that arrives between the last :meth:`accept` and the end of the port would be reset, after its client
    has sent a request. This way the proxy gets no answer, and tries the new hub.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    with contextlib.suppress(OSError):  # without the filter, that moment is a few microseconds
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), ctypes.addressof(program))
        )


class _EventStream(OutputTransform):
    """Changes nothing in an answer, and takes a stream of events out of the busy connections."""

    def __init__(self, busy: set[object], request: HTTPServerRequest) -> None:
        self.busy, self.request = busy, request

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        if headers.get("Content-Type", "").startswith("text/event-stream"):
            self.busy.discard(self.request.server_connection)
        return status_code, headers, chunk

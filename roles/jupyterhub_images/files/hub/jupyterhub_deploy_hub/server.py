"""An HTTP server that answers all requests that have reached it before it ends.

Tornado's own server resets the connections that wait in its port's queue when it stops, and does not know which
requests are open. Here a request is open from its header until the connection reads the next request or closes, so
that a client that went away in the middle of a request does not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

#: Seconds for requests whose first bytes have not been read yet when the server ends.
UNREAD_REQUESTS_SECONDS = 0.2
#: Maximum number of seconds for open requests when the server ends. An answer takes milliseconds, or seconds on an
#: overloaded machine.
OPEN_REQUESTS_SECONDS = 5.0


class FinishingServer(HTTPServer):
    """A server that :meth:`finish` ends without losing a request."""

    def initialize(self, application: Any, **options: Any) -> None:
        """Follow the requests of a Tornado application."""
        super().initialize(application, **options)
        #: The connections with an open request that is not a stream of events.
        self.busy: set[object] = set()
        find_handler = application.find_handler

        def begin(request: HTTPServerRequest, **arguments: Any) -> Any:
            self.busy.add(request.server_connection)
            return find_handler(request, **arguments)

        application.find_handler = begin
        application.add_transform(functools.partial(_EventStream, self.busy))

    def start_request(self, server_conn: object, request_conn: Any) -> Any:
        """Read the next request of a connection: the one before it has been answered."""
        self.busy.discard(server_conn)
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        self.busy.discard(server_conn)
        super().on_close(server_conn)

    async def finish(self) -> None:
        """Accept no more connections, and answer the open requests.

        A stream of events, such as the progress of a start, has no end to wait for; its client connects again.
        """
        # Clients keep connections for later requests, which must go to another server.
        self.conn_params.no_keep_alive = True
        self._accept_waiting()
        self.stop()
        await asyncio.sleep(UNREAD_REQUESTS_SECONDS)
        deadline = time.monotonic() + OPEN_REQUESTS_SECONDS
        while self.busy and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _accept_waiting(self) -> None:
        """Accept the connections that wait in the port's queue: closing the port resets them."""
        # Tornado has no public names for them.
        for listening in list(self._sockets.values()):
            with contextlib.suppress(OSError):  # the queue is empty
                while True:
                    self._handle_connection(*listening.accept())


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

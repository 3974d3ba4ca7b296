"""The hub's API port while a new hub takes over from the old one.

Every few minutes, notebook servers ask the hub about a cookie, by a name that both hubs have in their networks. The new
hub's port is closed while it is on standby, so a client that tries it first connects to the old hub: Tornado and Node
try the next address of a name when one refuses. When the host sends ``OPEN_SIGNAL``, the port opens, and requests
wait in it until the hub serves. Then the host stops the old hub, which closes its port and answers open requests.
So a request waits during the change of hubs, and is not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from typing import Any

import tornado.tcpserver
from jupyterhub.app import JupyterHub
from tornado.netutil import bind_sockets

PORT = 8081  # JupyterHub's own default for the hub's API; the host looks for it there
#: The signal of the host to a hub on standby. JupyterHub itself uses SIGUSR1.
OPEN_SIGNAL = signal.SIGUSR2
#: Seconds for requests whose first bytes have not been read yet when the hub stops.
UNREAD_REQUESTS_SECONDS = 0.2
#: Maximum number of seconds for open requests when the hub stops. An answer takes milliseconds, or seconds on an
#: overloaded machine; the progress of a start is a request of a minute or more.
OPEN_REQUESTS_SECONDS = 5.0

#: Seconds after which the port closes again when the old hub has not ended, because the run was killed before it
#: stopped that hub. It has 20 seconds to end (``STOP_TIMEOUT`` of the module jupyterhub_hub).
CLOSE_AFTER = 25

_opened: list[socket.socket] = []


def open_on_signal() -> None:
    """Open the hub's port when the host sends the signal; until then it stays closed."""

    def open_port(*_: object) -> None:
        if not _opened:
            _opened.extend(bind_sockets(PORT, address="0.0.0.0"))  # noqa: S104 - in the container, as hub_ip says
            signal.alarm(CLOSE_AFTER)

    def close_port(*_: object) -> None:
        while _opened:
            _opened.pop().close()

    signal.signal(signal.SIGALRM, close_port)
    signal.signal(OPEN_SIGNAL, open_port)


def keep_port() -> None:
    """Keep the port as it is from now on: the old hub has ended."""
    signal.alarm(0)
    signal.signal(OPEN_SIGNAL, lambda *_: None)  # not SIG_IGN, which services would inherit


def _opened_or_new(port: int, **options: Any) -> list[socket.socket]:
    """Return the sockets that are open already, or open new ones as Tornado does."""
    return _opened if _opened and port == PORT else bind_sockets(port, **options)


class Hub(JupyterHub):
    """JupyterHub that starts on an open port, and answers open requests when it stops."""

    open_requests = 0

    def init_tornado_application(self) -> None:
        """Count open requests: Tornado finds a handler for each at its beginning, and logs each at its end."""
        super().init_tornado_application()
        application = self.tornado_application
        find_handler, log_request = application.find_handler, application.log_request

        def begin(*arguments: Any, **options: Any) -> Any:
            self.open_requests += 1
            return find_handler(*arguments, **options)

        def end(handler: Any) -> None:
            self.open_requests -= 1
            log_request(handler)

        application.find_handler, application.log_request = begin, end

    async def start(self) -> None:
        """Start on the port that was opened during standby."""
        # JupyterHub creates its server itself and has no setting for an existing socket.
        tornado.tcpserver.bind_sockets = _opened_or_new
        await super().start()

    def _accept_waiting(self) -> None:
        """Accept the connections that wait in the port's queue: closing the port resets them."""
        # Tornado has no public names for them.
        for listening in list(self.http_server._sockets.values()):
            with contextlib.suppress(OSError):  # the queue is empty
                while True:
                    self.http_server._handle_connection(*listening.accept())

    async def shutdown_cancel_tasks(self, sig: signal.Signals | None = None) -> None:
        """Accept no more requests, answer the open ones, then shut down; upstream drops them."""
        if self.http_server:
            # The proxy keeps connections for later requests, which must go to the new hub.
            self.http_server.conn_params.no_keep_alive = True
            self._accept_waiting()
            self.http_server.stop()
            await asyncio.sleep(UNREAD_REQUESTS_SECONDS)
            deadline = time.monotonic() + OPEN_REQUESTS_SECONDS
            while self.open_requests > 0 and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
        await super().shutdown_cancel_tasks(sig)

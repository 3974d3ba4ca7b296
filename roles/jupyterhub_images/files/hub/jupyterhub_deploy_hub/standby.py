"""The hub's API port while a new hub takes over from the old one.

The proxy connects to the hub by a name that both hubs have in their networks, for users and for their servers. The new
hub's port is closed while it is on standby, so a request that tries it first reaches the old hub: Node tries the next
address of a name when one refuses, or does not answer in two seconds. When the host sends ``OPEN_SIGNAL``, the port
opens, and requests wait in it until the hub serves. Then the host stops the old hub, which closes its port and answers
open requests. Docker's DNS may return the old address for some 100 ms after the old hub has gone. So a request waits
during the change of hubs, and is not lost.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

from jupyterhub.apihandlers.users import UserAPIHandler
from jupyterhub.app import JupyterHub
from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.base import PrefixRedirectHandler
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from . import disk_handlers, disk_limit, origins, server_limit, user_deletion
from .disk_measurement import Measurement
from .server import FinishingServer, refuse_bodies

PORT = 8081  # JupyterHub's own default for the hub's API; the host looks for it there
#: The signal of the host to a hub on standby. JupyterHub itself uses SIGUSR1.
OPEN_SIGNAL = signal.SIGUSR2
#: Number of requests that can wait: Linux's own limit (net.core.somaxconn). The proxy would take a full port for a hub
#: that is gone, try the other one, and answer 503.
WAITING = 4096
#: Seconds after which the port closes again when the old hub has not ended, because the run was killed before it
#: stopped that hub. It has 20 seconds to end (``STOP_TIMEOUT`` of the module jupyterhub_hub).
CLOSE_AFTER = 25

_opened: list[socket.socket] = []


def open_on_signal() -> None:
    """Open the hub's port when the host sends the signal; until then it stays closed."""

    def open_port(*_: object) -> None:
        if not _opened:
            _opened.extend(bind_sockets(PORT, address="0.0.0.0", backlog=WAITING))  # noqa: S104
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


class Server(FinishingServer):
    """The hub's HTTP server, which serves at the port that was opened during standby."""

    def listen(self, port: int, *arguments: Any, **options: Any) -> None:
        """Serve at the open port if there is one; otherwise open `port`."""
        if _opened and port == PORT:
            self.add_sockets(_opened)
        else:
            super().listen(port, *arguments, **options)


#: Connections at once to users' servers, the proxy and providers. Tornado's ten would be for all of them: servers that
#: accept requests and do not answer would keep others from starting.
CLIENT_CONNECTIONS = 1000


class Hub(JupyterHub):
    """JupyterHub that starts on an open port, and answers open requests when it stops."""

    def init_pycurl(self) -> None:
        """Choose the HTTP client, as upstream, and its limits."""
        super().init_pycurl()
        AsyncHTTPClient.configure(AsyncHTTPClient.configured_class(), max_clients=CLIENT_CONNECTIONS)

    def init_handlers(self) -> None:
        """Add our own handlers."""
        self.extra_handlers = [*self.extra_handlers, *disk_handlers.HANDLERS]  # type: ignore[has-type]
        super().init_handlers()

    async def start(self) -> None:
        """Start with our server, and only on the hub's own origin."""
        server_limit.explain(BaseHandler)
        user_deletion.protect(UserAPIHandler)
        refuse_bodies(PrefixRedirectHandler)
        disk = disk_limit.DiskUse(Measurement(self.config.HubSpawner.hub_name), self.log)
        self.tornado_application.settings["disk_use"] = disk
        disk_handlers.limit_starts()
        origins.close_others(self.tornado_application, self.subdomain_host)
        HTTPServer.configure(Server)  # JupyterHub creates its server itself and has no setting for its class
        await super().start()
        self._measuring = asyncio.create_task(disk.measure_every(disk_limit.EVERY_SECONDS, self._with_disk_limit))

    def _with_disk_limit(self) -> list[str]:
        """Return the users with a running server and a limit of the disk."""
        running = [user for user in list(self.users.values()) if user.active]
        return [user.name for user in running if disk_handlers.limit_of(user.spawner)]

    async def shutdown_cancel_tasks(self, sig: signal.Signals | None = None) -> None:
        """Accept no more requests, answer the open ones, then shut down; upstream drops them."""
        if self.http_server:
            await self.http_server.finish()
        await super().shutdown_cancel_tasks(sig)

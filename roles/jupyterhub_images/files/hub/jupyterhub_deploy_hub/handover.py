"""The port on which the hub is asked, kept open while one hub follows another.

Notebook servers ask the hub whose a cookie is, every few minutes, by a name that both hubs have in their networks. The
successor's port is closed while it stands by, so that whoever tries it first goes on to the hub that runs: what is
refused by one address of a name, Tornado and Node try at the next. When the host sends ``OPEN``, the port opens, and
what comes waits in it until the hub serves. The hub that runs is then told to end: it closes its port at once, and
answers what it has been asked. So a request waits for the time that a change of hubs takes, and is not lost.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import tornado.tcpserver
from jupyterhub.app import JupyterHub
from tornado.netutil import bind_sockets

PORT = 8081  # JupyterHub's own default for the hub's API; the host looks for it there
#: What the host sends to a hub that stands by. JupyterHub itself uses SIGUSR1.
OPEN = signal.SIGUSR2
#: Seconds for requests that were being answered when the hub was told to end; an answer takes milliseconds.
LAST_ANSWERS = 0.2

#: Seconds after which the port closes again when the other hub has not ended: then whoever opened it was killed before
#: that one was told to. It gets 20 seconds to end (``STOP_TIMEOUT`` of the module jupyterhub_hub).
GIVE_UP = 25

_opened: list[socket.socket] = []


def open_when_told() -> None:
    """Open the hub's port when the host sends the signal; until then, and if it never comes, it stays closed."""

    def open_port(*_: object) -> None:
        if not _opened:
            _opened.extend(bind_sockets(PORT, address="0.0.0.0"))  # noqa: S104 - in the container, as hub_ip says
            signal.alarm(GIVE_UP)

    def close_port(*_: object) -> None:
        while _opened:
            _opened.pop().close()

    signal.signal(signal.SIGALRM, close_port)
    signal.signal(OPEN, open_port)


def take_over() -> None:
    """Keep the port as it is from now on: the other hub has ended."""
    signal.alarm(0)
    signal.signal(OPEN, lambda *_: None)  # not SIG_IGN, which services would inherit


def _opened_or_new(port: int, **options: Any) -> list[socket.socket]:
    """Do what Tornado's ``bind_sockets`` does, but for a port that is open already."""
    return _opened if _opened and port == PORT else bind_sockets(port, **options)


class Hub(JupyterHub):
    """JupyterHub that takes over an open port, and leaves its own in good order."""

    async def start(self) -> None:
        """Start, on the port that was opened while this hub stood by."""
        # JupyterHub makes its server itself and has no setting for a socket that exists.
        tornado.tcpserver.bind_sockets = _opened_or_new
        await super().start()

    async def shutdown_cancel_tasks(self, sig: signal.Signals | None = None) -> None:
        """Take no more requests, answer the last ones, then shut down; upstream cuts them off."""
        if self.http_server:
            self.http_server.stop()
            # The proxy keeps connections for its next requests; those have to find the successor.
            self.http_server.conn_params.no_keep_alive = True
            await asyncio.sleep(LAST_ANSWERS)
        await super().shutdown_cancel_tasks(sig)

"""How long the hub's health check takes while one address floods it, through the front with HTTPS.

    python -m bench.floods

The floods come from this machine, which is also the server: they take its processor time, too.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from bench.common import table
from hosts.run import name as run_name
from support.https_site import DOMAIN, HttpsSite
from support.hub_http import HubSession
from support.names import resolve

SECONDS = 15.0  # of each measurement
RATE = 10  # health checks a second
CONNECTIONS = 4
SLOW_CONNECTIONS = 400
BODY = 90 << 20  # bytes


class Flood:
    """Calls an action without a pause, over several connections, while the ``with`` block runs."""

    def __init__(self, action: Callable[[HubSession], object], site: HttpsSite) -> None:
        self._action, self._site = action, site
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CONNECTIONS)]
        self.requests = 0

    def __enter__(self) -> Flood:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(requests.RequestException):
                self._action(self._site.session())
            self.requests += 1


class SlowBodies:
    """Holds requests open whose bodies do not arrive, while the ``with`` block runs."""

    def __init__(self, site: HttpsSite) -> None:
        self._site = site
        self._open: list[socket.socket] = []
        self.requests = SLOW_CONNECTIONS

    def __enter__(self) -> SlowBodies:
        context = ssl.create_default_context(cafile=str(self._site.bundle))
        head = f"POST /hub/login HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: 100000\r\n\r\nx".encode()
        for _ in range(SLOW_CONNECTIONS):
            plain = socket.create_connection(("127.0.0.1", self._site.https_port), 30)
            self._open.append(context.wrap_socket(plain, server_hostname=DOMAIN))
            self._open[-1].sendall(head)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open:
            connection.close()


def sign_up(session: HubSession) -> None:
    session.sign_up(f"u{secrets.token_hex(6)}", "seven-green-bottles-on-a-wall")


def guess(session: HubSession) -> None:
    session.sign_in(f"u{secrets.token_hex(6)}", "a-wrong-password-on-purpose")


def large_body(session: HubSession) -> None:
    session.post(f"{session.url}/hub/login", data=(b"x" * (1 << 20) for _ in range(BODY >> 20)), timeout=60)


def measure(site: HttpsSite) -> list[float]:
    """Return the milliseconds of health checks on a fixed schedule."""
    session, found = site.session(), []
    began = time.monotonic()
    for number in range(int(SECONDS * RATE)):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        start = time.monotonic()
        session.get(f"{session.url}/hub/health", timeout=60).raise_for_status()
        found.append((time.monotonic() - start) * 1000)
    return found


def row(what: str, sent: int, milliseconds: list[float], idle: float) -> list[object]:
    """Return a row of the table: median, 95th percentile, maximum, and the 95th percentile against the idle one."""
    p95 = statistics.quantiles(milliseconds, n=20)[-1]
    return [what, sent, statistics.median(milliseconds), p95, max(milliseconds), p95 / (idle or p95)]


def main() -> None:
    """Provision a hub with HTTPS in this machine's Docker, and measure."""
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory() as folder:
        site = HttpsSite(run_name("floods"), Path(folder))
        site.destroy()
        try:
            site.settings.update(site.secure())
            site.run()
            resolve(patch, DOMAIN, "127.0.0.1", site.bundle)
            rows = [row("idle", 0, measure(site), 0.0)]
            idle = float(str(rows[0][3]))
            for what, flood in (
                ("sign-ups", Flood(sign_up, site)),
                ("wrong passwords for many names", Flood(guess, site)),
                (f"bodies of {BODY >> 20} MiB", Flood(large_body, site)),
                (f"{SLOW_CONNECTIONS} bodies that do not arrive", SlowBodies(site)),
            ):
                with flood:
                    milliseconds = measure(site)
                rows.append(row(what, flood.requests, milliseconds, idle))
        finally:
            patch.undo()
            site.destroy()
    print(table(["flood", "requests", "median (ms)", "p95 (ms)", "most (ms)", "p95 / idle"], rows))


if __name__ == "__main__":
    main()

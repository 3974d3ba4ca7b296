"""How long the hub's health check takes while one address floods it, through the front with HTTPS.

    python -m bench.floods

The floods come from this machine, which is also the server: they take its processor time, too.
"""

from __future__ import annotations

import multiprocessing
import secrets
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
REFUSED = (413, 429)

# In a process of its own, a flood does not delay the measurement by Python's lock.
_PROCESSES = multiprocessing.get_context("fork")


class Flood:
    """Calls an action without a pause, over several connections, while the ``with`` block runs."""

    def __init__(self, action: Callable[[HubSession], object], site: HttpsSite) -> None:
        self._action, self._site = action, site
        self._stop = _PROCESSES.Event()
        self._results, results = _PROCESSES.Pipe(duplex=False)
        self._process = _PROCESSES.Process(target=self._run, args=(results,), daemon=True)
        self.statuses = Counter[int]()

    def __enter__(self) -> Flood:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.statuses = self._results.recv()
        self._process.join()

    def _run(self, results: Any) -> None:
        threads = [threading.Thread(target=self._repeat) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results.send(self.statuses)

    def _repeat(self) -> None:
        while not self._stop.is_set():
            session = self._site.session()
            session.hooks["response"].append(lambda answer, **_: self.statuses.update([answer.status_code]))
            try:
                self._action(session)
            except requests.RequestException:
                self.statuses[0] += 1


class SlowClients:
    """Holds connections open on which a request does not go on, while the ``with`` block runs.

    Args:
        begin: what is sent of each request.
    """

    def __init__(self, begin: str, site: HttpsSite) -> None:
        self._begin, self._site = begin, site
        self._open: list[socket.socket] = []
        self.statuses = Counter[int]()

    def __enter__(self) -> SlowClients:
        context = ssl.create_default_context(cafile=str(self._site.bundle))
        for _ in range(SLOW_CONNECTIONS):
            plain = socket.create_connection(("127.0.0.1", self._site.https_port), 30)
            self._open.append(context.wrap_socket(plain, server_hostname=DOMAIN))
            self._open[-1].sendall(self._begin.encode())
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


def row(what: str, flood: Flood | SlowClients, idle: list[float], flooded: list[float]) -> list[object]:
    """Return a row of the table: what the flood got, and how long health checks took before it and meanwhile."""
    before, meanwhile = (statistics.quantiles(one, n=20)[-1] for one in (idle, flooded))
    refused = sum(flood.statuses[status] for status in REFUSED)
    return [
        what, flood.statuses.total(), refused, statistics.median(idle), before, statistics.median(flooded), meanwhile,
        max(flooded), meanwhile / before,
    ]  # fmt: skip


HEADER = [
    "flood", "requests", "refused", "idle: median (ms)", "p95", "flooded: median (ms)", "p95", "most", "p95 / p95",
]  # fmt: skip


def main() -> None:
    """Provision a hub with HTTPS in this machine's Docker, and measure."""
    patch = pytest.MonkeyPatch()
    head = f"POST /hub/login HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: 100000\r\n"
    with tempfile.TemporaryDirectory() as folder:
        site = HttpsSite(run_name("floods"), Path(folder))
        site.destroy()
        try:
            site.settings.update(site.secure())
            site.run()
            resolve(patch, DOMAIN, "127.0.0.1", site.bundle)
            rows = []
            for what, flood in (
                ("sign-ups", Flood(sign_up, site)),
                ("wrong passwords for many names", Flood(guess, site)),
                (f"bodies of {BODY >> 20} MiB", Flood(large_body, site)),
                (f"{SLOW_CONNECTIONS} bodies that do not arrive", SlowClients(f"{head}\r\nx", site)),
                (f"{SLOW_CONNECTIONS} headers that do not arrive", SlowClients(head, site)),
            ):
                idle = measure(site)
                with flood:
                    flooded = measure(site)
                rows.append(row(what, flood, idle, flooded))
        finally:
            patch.undo()
            site.destroy()
    print(table(HEADER, rows))


if __name__ == "__main__":
    main()

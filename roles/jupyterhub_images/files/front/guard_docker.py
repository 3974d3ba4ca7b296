"""Docker's answers for the guard, over its socket: the front's image has no client of Docker."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

SOCKET = "/run/docker.sock"


class DockerError(Exception):
    """Docker gave no usable answer."""


class _Connection(http.client.HTTPConnection):
    """HTTP over Docker's socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


@contextlib.contextmanager
def answer(path: str, timeout: float | None) -> Iterator[http.client.HTTPResponse]:
    """Ask Docker for a path.

    Raises:
        DockerError: it does not answer, or not with success.
    """
    connection = _Connection("localhost", timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise DockerError(f"Docker answers {response.status} to {path}")
        yield response
    except (OSError, http.client.HTTPException) as error:
        raise DockerError(f"Docker does not answer {path}: {error!r}") from error
    finally:
        connection.close()


def get(path: str, **filters: list[str]) -> Any:
    """Return Docker's parsed answer to a path."""
    query = f"{'&' if '?' in path else '?'}filters={quote(json.dumps(filters))}" if filters else ""
    with answer(path + query, timeout=10) as response:
        return json.load(response)


def watch(changed: threading.Event) -> None:
    """Set the event at each change of Docker's networks, for ever."""
    while True:
        path = f"/events?filters={quote(json.dumps({'type': ['network']}))}"
        with contextlib.suppress(DockerError), answer(path, timeout=None) as events:
            while events.readline():
                changed.set()
        time.sleep(1)

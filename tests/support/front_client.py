"""A client of the front: fresh TLS connections to 127.0.0.1 that trust one authority and ignore no error."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from support.origin_server import ECHO

#: Seconds after which a request counts as lost: far above what one takes on a busy machine.
PATIENCE = 60.0


class Response(NamedTuple):
    """Status, headers (by their names in lower case) and body of a response."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> dict[str, Any]:
        """The body of a response of the origin server."""
        return dict(json.loads(self.body))


class FrontClient:
    """Asks one front.

    Args:
        http_port, https_port: its ports.
        authority: PEM of the authority that it trusts.
    """

    def __init__(self, http_port: int, https_port: int, authority: str) -> None:
        self.http_port, self.https_port = http_port, https_port
        self.context = ssl.create_default_context(cadata=authority)

    def https(self, domain: str, path: str = "/", **options: Any) -> Response:
        """Send a request over a connection of its own; options are those of ``http.client``'s ``request``."""
        with self.connect(domain) as connection:
            return _ask(_OverSocket(connection), domain, path, options)

    def http(self, domain: str, path: str = "/", address: str = "127.0.0.1", **options: Any) -> Response:
        """Send a request over plain HTTP."""
        with socket.create_connection((address, self.http_port), PATIENCE) as connection:
            return _ask(_OverSocket(connection), domain, path, options)

    def connect(self, domain: str, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """Return a connection from an address of this machine, whose certificate was verified."""
        plain = socket.create_connection(("127.0.0.1", self.https_port), PATIENCE, (source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return self.context.wrap_socket(plain, server_hostname=domain)
        except BaseException:
            plain.close()
            raise

    def served(self, domain: str) -> bytes | None:
        """Return the certificate that is served, as DER."""
        with self.connect(domain) as connection:
            return connection.getpeercert(binary_form=True)


class Echo:
    """An open connection that the server echoes, as a kernel's web socket is one."""

    def __init__(self, client: FrontClient, domain: str) -> None:
        self._socket = client.connect(domain)
        request = f"GET /echo HTTP/1.1\r\nHost: {domain}\r\nConnection: Upgrade\r\nUpgrade: {ECHO}\r\n\r\n"
        self._socket.sendall(request.encode())
        self._file = self._socket.makefile("rwb")
        assert self._file.readline().startswith(b"HTTP/1.1 101"), "the connection was not upgraded"
        while self._file.readline().strip():
            pass

    def is_open(self) -> bool:
        """Return whether a line comes back."""
        line = f"{time.monotonic()}\n".encode()
        try:
            self._file.write(line)
            self._file.flush()
            return self._file.readline() == line
        except OSError:
            return False

    def close(self) -> None:
        """End the connection."""
        self._file.close()  # otherwise it keeps the socket open
        self._socket.close()


class Poll:
    """Sends requests over fresh connections, as many a second as given, while something happens."""

    def __init__(self, client: FrontClient, domain: str, rate: int) -> None:
        self._client, self._domain, self._rate = client, domain, rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(8)]
        self.sent, self.lost = 0, list[str]()

    def __enter__(self) -> Poll:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(len(self._threads) / self._rate):
            problem = ""
            try:
                response = self._client.https(self._domain)
                problem = "" if response.status == 200 else f"status {response.status}"
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
            with self._lock:
                self.sent += 1
                self.lost += [problem] if problem else []


class Upload:
    """Sends a large body to a user's server; its last block only when the ``with`` block ends.

    Args:
        megabytes: its size.
    """

    def __init__(self, client: FrontClient, domain: str, megabytes: int) -> None:
        self._client, self._domain, self._megabytes = client, domain, megabytes
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._digest = hashlib.sha256()
        self.arrived, self.problem = False, ""

    def __enter__(self) -> Upload:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        headers = {"Content-Length": str(self._megabytes << 20)}
        try:
            response = self._client.https(self._domain, "/user/x", method="POST", body=self._blocks(), headers=headers)
            self.arrived = response.json["sha256"] == self._digest.hexdigest()
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            self.problem = f"{type(error).__name__}: {error}"

    def _blocks(self) -> Iterator[bytes]:
        for number in range(self._megabytes):
            if number == self._megabytes - 1:
                self._end.wait()
            else:
                self._end.wait(0.05)
            block = secrets.token_bytes(1 << 20)
            self._digest.update(block)
            yield block


class _OverSocket(http.client.HTTPConnection):
    """An HTTP connection over a socket that is open already."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("unused")
        self.sock = connection


def _ask(connection: http.client.HTTPConnection, domain: str, path: str, options: dict[str, Any]) -> Response:
    method = options.pop("method", "GET")
    headers = {"Host": domain, **options.pop("headers", {})}
    connection.request(method, path, headers=headers, **options)
    with contextlib.closing(connection.getresponse()) as response:
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, headers, response.read().decode())


@contextlib.contextmanager
def echo(client: FrontClient, domain: str) -> Iterator[Echo]:
    """Keep an echo connection open meanwhile."""
    opened = Echo(client, domain)
    try:
        yield opened
    finally:
        opened.close()

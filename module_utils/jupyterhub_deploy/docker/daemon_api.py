"""Docker's API with only the standard library, for modules that run before the SDK is installed."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

SOCKET = "/var/run/docker.sock"

# Seconds. While Docker loads hundreds of containers at its start, it accepts connections but does not answer yet.
ANSWER_TIMEOUT = 60


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(
    path: str, socket_path: str = SOCKET, timeout: float = ANSWER_TIMEOUT, parse: Callable[[bytes], Any] = json.loads
) -> Any:
    """Return Docker's parsed answer to ``GET path``, ``None`` when no process listens on the socket.

    :raises DeployError: there is no valid answer within ``timeout`` seconds, or this user may not connect.
    """
    connection = _UnixConnection(socket_path, timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except PermissionError as error:
        raise DeployError(f"{socket_path} may not be opened by this user; run the play with become: true") from error
    except socket.timeout as error:
        raise DeployError(
            f"Docker accepts connections on {socket_path} but does not answer within {timeout:.0f} s; "
            "read its log (journalctl -u docker, or /var/log/dockerd.log) and restart it"
        ) from error
    except (OSError, http.client.HTTPException):
        # No socket, no process that listens on it, or Docker is just stopping.
        return None
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise DeployError(f"Docker answers {response.status} to {path}: {body.decode(errors='replace').strip()}")
    return parse(body)

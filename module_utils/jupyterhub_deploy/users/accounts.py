"""Requests about the accounts that people sign in with, which only the hub's container can answer.

They are a table of NativeAuthenticator in the hub's database; the REST API does not show it. The program that answers
is ``jupyterhub_deploy_hub.accounts`` in the hub image.
"""

from __future__ import annotations

import json
import re
import socket as sockets
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError

try:
    from docker.utils import socket as docker_socket
except Exception:  # a bare host in check mode, or a broken SDK, which docker.client reports
    docker_socket = None  # type: ignore[assignment]

PROGRAM = "jupyterhub_deploy_hub.accounts"
TIMEOUT = 120.0  # seconds without an answer; 200 new passwords take about a minute


class Accounts:
    """The accounts of one hub.

    :param client: a low-level Docker client.
    :param hub: name of the hub's container.
    """

    def __init__(self, client: Any, hub: str) -> None:
        self.client = client
        self.hub = hub

    def request(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Run one action of the program and return its answer.

        :raises DeployError: the container cannot run the program, or the program refuses.
        """
        line = json.dumps({"action": action, **arguments}).encode() + b"\n"
        try:
            command = ["python3", "-m", PROGRAM]
            run = self.client.exec_create(self.hub, command, stdin=True, stdout=True, stderr=True)["Id"]
            out, err = _exchange(self.client.exec_start(run, socket=True), line)
        except DOCKER_ERRORS as error:
            raise DeployError(
                f"the accounts of hub {self.hub} cannot be reached: running a program in its container failed "
                f"({type(error).__name__}); check `docker logs {self.hub}`, then run the same again"
            ) from error
        return self._answer(action, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def _answer(self, action: str, out: str, err: str) -> dict[str, Any]:
        try:
            # The operator's own configuration is executed and may print, so only the last line is the answer.
            answer: dict[str, Any] = json.loads(out.strip().rpartition("\n")[2])
        except ValueError:
            last = err.strip().rpartition("\n")[2]
            missing = PROGRAM if re.search(r"No module named '?jupyterhub_deploy_hub(\.accounts)?'?$", last) else ""
            if last == f"KeyError: '{action}'":
                missing = f"action {action} of {PROGRAM}"
            if missing:
                raise DeployError(
                    f"the image of hub {self.hub} has no {missing}: an earlier version of this deployment made it. Run "
                    "make site, which replaces the hub, then run the same again; if jupyterhub_hub_image is set, "
                    "build that image with this version first"
                ) from None
            raise DeployError(
                f"the program {PROGRAM} in hub {self.hub} failed ({last or 'it printed nothing'}); please report this "
                "with the traceback",
                {"exception": err},
            ) from None
        if "error" in answer:
            raise DeployError(f"the accounts of hub {self.hub}: {answer['error']}")
        return answer


def _exchange(connection: Any, line: bytes) -> tuple[bytes, bytes]:
    """Send one line to a program; return what it prints to its output and to its errors."""
    raw: sockets.socket = getattr(connection, "_sock", connection)
    try:
        raw.settimeout(TIMEOUT)
        raw.sendall(line)
        frames = docker_socket.frames_iter(connection, tty=False)  # type: ignore[no-untyped-call]
        demuxed = (docker_socket.demux_adaptor(*frame) for frame in frames)
        out, err = docker_socket.consume_socket_output(demuxed, demux=True)
    finally:
        connection.close()
    return out or b"", err or b""

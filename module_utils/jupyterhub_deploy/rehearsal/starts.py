"""The start of a temporary user's server, as a browser does it: request it, then follow its progress."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple
from urllib.parse import urlsplit

from ansible.module_utils.jupyterhub_deploy.containers.container import address_of
from ansible.module_utils.jupyterhub_deploy.docker.client import environment_of, inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.volumes import docker_name
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi, direct_opener, server_path

# Seconds that the hub's answer to a request may take while all start.
TIMEOUT = 120.0
# In the environment of a server: where it listens, and its token.
SERVICE_URL, API_TOKEN = "JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_API_TOKEN"


class Start(NamedTuple):
    """The result of a start.

    :ivar seconds: from the request until the server was ready, ``None`` if it never was.
    :ivar failure: why not; empty also if the rehearsal was stopped before.
    :ivar place: the highest position in the queue that the user saw, 0 for none.
    :ivar queued: seconds from the request until the last position.
    :ivar kernel: why there was no kernel; empty if it started or was not wanted.
    """

    seconds: float | None = None
    failure: str = ""
    place: int = 0
    queued: float = 0.0
    kernel: str = ""


def follow(events: Iterable[dict[str, Any]], elapsed: Callable[[], float], stopped: Callable[[], bool]) -> Start:
    """Return what the progress of a start shows in the end. Pure but for the arguments.

    :param events: of the hub's progress; empty ones from time to time.
    :param elapsed: returns the seconds since the request.
    :param stopped: returns whether the result does not matter any more.
    """
    place, queued = 0, 0.0
    for event in events:
        if "position" in event:  # in the queue (jupyterhub_deploy_hub.queued_spawner)
            place, queued = max(place, int(event["position"])), elapsed()
        if event.get("ready"):
            return Start(elapsed(), "", place, queued)
        if stopped():
            break
        if event.get("failed"):
            return Start(None, str(event.get("message", "it failed without a reason")), place, queued)
    return Start(None, "" if stopped() else "the hub ended the progress without a result", place, queued)


def without_name(text: str, name: str) -> str:
    """Return a message without the name of the user in it, so that the same reason is the same text. Pure."""
    return text.replace(docker_name(name), "NAME").replace(name, "NAME")


class Starter:
    """Starts the servers of temporary users.

    :param api_url: of the hub.
    :param token: may start servers, and use them if there are kernels.
    :param container_of: returns the id of a user's running container, ``None`` without one.
    :param kernels: whether to start a kernel in each server, too.
    """

    def __init__(
        self, client: Any, api_url: str, token: str, container_of: Callable[[str], str | None], kernels: bool
    ) -> None:
        self.client, self.api, self.container_of, self.kernels = (
            client,
            HubApi(api_url, token, TIMEOUT),
            container_of,
            kernels,
        )
        self.stop = threading.Event()

    def start(self, name: str) -> Start:
        """Start a server, unless the rehearsal has been stopped; return the result."""
        if self.stop.is_set():
            return Start()
        began = time.monotonic()

        def elapsed() -> float:
            return time.monotonic() - began

        path = server_path(name, "")
        try:
            status, _ = self.api.request("POST", path, {}, expected=(201, 202))
            if status == 201:
                found = Start(elapsed())
            else:
                found = follow(self.api.events(f"{path}/progress"), elapsed, self.stop.is_set)
        except DeployError as error:
            found = Start(None, "" if self.stop.is_set() else str(error))
        if found.seconds is not None and self.kernels and not self.stop.is_set():
            found = found._replace(kernel=self._start_kernel(name))
        return found._replace(failure=without_name(found.failure, name), kernel=without_name(found.kernel, name))

    def _start_kernel(self, name: str) -> str:
        """Start a kernel in the server of a user; return the error, empty if the kernel started."""
        found = self.container_of(name)
        container = inspect_container(self.client, found) if found else None
        address = address_of(container)
        if not container or not address:
            return "the server has ended"
        environment = environment_of(container)
        url = urlsplit(environment[SERVICE_URL])
        request = urllib.request.Request(
            f"http://{address}:{url.port}{url.path.rstrip('/')}/api/kernels",
            data=b"{}",
            # The server's own token: whatever answers there must not get one that can do more.
            headers={"Authorization": f"token {environment[API_TOKEN]}", "Content-Type": "application/json"},
        )
        try:
            with direct_opener().open(request, timeout=TIMEOUT) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return f"the server answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            return f"the server does not answer ({getattr(error, 'reason', None) or error})"
        return ""

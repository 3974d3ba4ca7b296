"""The service that stops idle servers: jupyterhub-idle-culler, which asks each server itself whether it is used.

What the hub knows of the use of a server is not enough. The proxy counts each byte of an open tab as use, a server
reports only every 300 seconds, and the hub misses what happens while it is down. So the server is asked, with its own
token: the server belongs to its user, who could read any other one that it receives.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import docker
from tornado.httpclient import HTTPClientError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from .culling import Limits, limits_of
from .volumes import HUB_LABEL, USER_LABEL

#: The hub of this container; by its name, it may be the next one.
API_URL = "http://127.0.0.1:8081/hub/api"
_TIMEOUT = 3  # seconds for an answer of a server: the others wait for it
_LARGEST_ANSWER = 1 << 20  # bytes
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


class Server(NamedTuple):
    """The container of a server.

    Attributes:
        url: of the server in the network of the hub.
        token: the server's own.
        started: when its container was started, which may be after its turn in the queue.
        limits: None for a server that was started before there were any.
    """

    url: str
    token: str
    started: datetime
    limits: Limits | None


def read_server(container: dict[str, Any], network: str) -> Server | None:
    """Return the server of a container as Docker describes it, None without an address in the network."""
    variables = dict(entry.partition("=")[::2] for entry in container["Config"]["Env"])
    address = container["NetworkSettings"]["Networks"].get(network, {}).get("IPAddress")
    own = urlsplit(variables.get("JUPYTERHUB_SERVICE_URL", ""))
    if not address or not own.port:
        return None
    url = f"http://{address}:{own.port}{own.path}"
    started = parse_time(container["State"]["StartedAt"][:19])
    return Server(url, variables.get("JUPYTERHUB_API_TOKEN", ""), started, limits_of(variables))


def last_use(status: Any, kernels: Any, now: datetime) -> datetime | None:
    """Return the last use by the answers of Jupyter Server; None if they are not from one."""
    try:
        if any(kernel["execution_state"] == "busy" for kernel in kernels):
            return now
        return min(parse_time(status["last_activity"]), now)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def parse_time(text: str) -> datetime:
    """Return a time as the hub and Jupyter Server write it."""
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


class Arbiter:
    """Decides whether a server is stopped.

    Args:
        hub, network: names of the hub and of its servers' network.
        grace: seconds without a stop from now on.
        log: receives the reasons.
    """

    def __init__(self, hub: str, network: str, grace: int, log: logging.Logger) -> None:
        self.hub, self.network, self.log = hub, network, log
        self._begin = time.monotonic() + grace
        #: The time before which a server cannot be idle for long enough, by its URL and its start.
        self._not_before: dict[tuple[str, str], datetime] = {}
        self._docker = docker.APIClient()
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_LARGEST_ANSWER)

    async def __call__(self, *, inactive: timedelta | None, server: dict[str, Any], **_: Any) -> bool:
        """Return whether the server is stopped. `inactive` is the time without use as the hub knows it."""
        now, path = datetime.now(timezone.utc), urlsplit(server["url"]).path
        key = (path, server["started"])
        if time.monotonic() < self._begin or now < self._not_before.get(key, _EPOCH):
            return False
        found = self._server(path)
        if found is None or found.limits is None:
            return False
        age = now - found.started
        if found.limits.max_age and age.total_seconds() >= found.limits.max_age:
            self.log.info(
                "%s is stopped: it has run for %d s (max_age %d)", path, age.total_seconds(), found.limits.max_age
            )
            return True
        idle = found.limits.idle
        if not idle or age.total_seconds() < idle:
            return False
        try:
            used = await self._last_use(found, now)
        except (OSError, HTTPClientError) as error:
            self.log.warning("%s is not stopped, because it does not say whether it is used: %s", path, error)
            return False
        unused = inactive if used is None else now - used
        if unused is None or unused.total_seconds() < idle:
            self._forget(now)
            if not found.limits.max_age:
                self._not_before[key] = now + timedelta(seconds=idle) - (unused or timedelta())
            return False
        self.log.info("%s is stopped: it has not been used for %d s (idle %d)", path, unused.total_seconds(), idle)
        return True

    def _forget(self, now: datetime) -> None:
        self._not_before = {key: time for key, time in self._not_before.items() if time > now}

    def _server(self, path: str) -> Server | None:
        """Return the server with a path such as ``/user/alice/``."""
        labels = [f"{HUB_LABEL}={self.hub}", f"{USER_LABEL}={unquote(path.split('/')[2])}"]
        for container in self._docker.containers(filters={"label": labels}):
            try:
                found = read_server(self._docker.inspect_container(container["Id"]), self.network)
            except docker.errors.NotFound:  # it has just ended
                continue
            if found and urlsplit(found.url).path == path:
                return found
        return None

    async def _last_use(self, server: Server, now: datetime) -> datetime | None:
        """Return the last use of a server, None if it has no Jupyter Server.

        Raises OSError or HTTPClientError if it does not answer.
        """
        status, kernels = [
            await self._ask(f"{server.url}{part}", server.token) for part in ("api/status", "api/kernels")
        ]
        return last_use(status, kernels, now)

    async def _ask(self, url: str, token: str) -> Any:
        """Return the JSON of an answer, None for one that Jupyter Server does not give."""
        answer = await self._client.fetch(
            f"{url}?no_track_activity=1",
            headers={"Authorization": f"token {token}"},
            follow_redirects=False,
            request_timeout=_TIMEOUT,
            raise_error=False,
        )
        if answer.error and (answer.code >= 500):  # also 599: no answer
            raise answer.error
        try:
            return json.loads(answer.body) if answer.code == 200 else None
        except (ValueError, RecursionError):
            return None


def main() -> None:
    """Run the culler with the options that ``culling.configure`` has written."""
    from jupyterhub_idle_culler import IdleCuller

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once: the next hub waits for the end of this one
    options = json.loads(sys.argv[1])
    app = IdleCuller(url=API_URL, config_file="", cull_every=options["every"], cull_users=False)
    app.initialize([])
    app.cull_arbiter_hook = Arbiter(options["hub"], options["network"], options["grace"], app.log)
    app.start()


if __name__ == "__main__":
    main()

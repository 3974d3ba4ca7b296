"""DockerSpawner that watches a server while it starts, and reports why one did not."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker.errors
from dockerspawner import DockerSpawner
from jupyterhub.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from . import exits

#: Seconds between two checks whether a server that starts answers: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 0.5
#: Seconds between two checks whether its container has ended, which ask Docker.
INSPECT_EVERY = 2.0
#: Seconds before each attempt to read the log of a server that ended.
LOG_PAUSES = (0.2, 0.5, 1.0, 2.0)
#: Seconds before the end of `start_timeout`, at which JupyterHub gives up without a reason: enough to read the log and
#: to stop a container, for which Docker waits 10 seconds.
BEFORE_START_TIMEOUT = 20
#: Calls of Docker that take as long as a user's container wants (a stop 10 s, if its processes do not end), or a
#: registry. They have threads of their own, because the library makes all calls in one.
SLOW_CALLS = frozenset({"stop", "remove_container", "exec_start", "pull"})
#: With the library's thread, they use fewer connections than the 10 that its client keeps.
_slow_threads = ThreadPoolExecutor(8, "slow-calls")


class SpawnRefusedError(web.HTTPError):
    """An error for the user on the spawn page, and for the administrator in the hub's log.

    An HTTPError, because JupyterHub replaces the message of any other error that is raised within a second.
    """

    def __init__(self, message: str, log: list[str] | None = None) -> None:
        super().__init__(500, "%s", message if log is None else exits.with_log(message, log))
        self.jupyterhub_message = message
        if log is not None:
            self.jupyterhub_html_message = exits.as_html(message, log)


class WatchedSpawner(DockerSpawner):
    """Fails at once when a server ends while it starts, with the reason for the user and for the log."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notices: list[str] = []

    def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call Docker so that a slow call delays no other user's server."""
        if method in SLOW_CALLS:
            return asyncio.wrap_future(_slow_threads.submit(self._docker, method, *args, **kwargs))
        return super().docker(method, *args, **kwargs)

    async def start(self) -> Any:
        """Start the server and wait until it answers, so that the end of its container is noticed at once.

        JupyterHub itself would wait for `http_timeout`, and then hide the reason: when the server ends while a request
        waits for it, `spawn_single_user` asks an unfinished future for its exception (InvalidStateError).
        """
        self.notices.clear()
        began = time.monotonic()
        try:
            address = await super().start()
            if isinstance(address, tuple) and not self.internal_ssl:
                ip, port = address
                self._save_address(ip, port)
                rest = self.start_timeout - BEFORE_START_TIMEOUT - int(time.monotonic() - began)
                await self._wait_until_it_answers(ip, port, min(self.http_timeout, max(rest, 1)))
        except docker.errors.APIError as error:
            if self.object_id and self.remove:
                await self.remove_object()
            raise SpawnRefusedError(f"Docker could not start the server: {error.explanation or error}") from error
        except web.HTTPError:
            raise
        except Exception:  # a server that has ended has no address, which the library reports in several ways
            await self._refuse_if_it_ended()
            raise
        return address

    def _save_address(self, ip: str, port: int) -> None:
        """Save what JupyterHub saves after `start`, so that a hub that takes over meanwhile finds the server."""
        self.server.ip, self.server.port = ip, port
        self.orm_spawner.state = self.get_state()
        self.db.commit()

    async def _wait_until_it_answers(self, ip: str, port: int, timeout: int) -> None:
        """Raise SpawnRefusedError when the server ends, or does not answer within so many seconds."""
        host = f"[{ip}]" if ":" in ip else ip
        url = url_path_join(f"http://{host}:{port}", self.server.base_url, "api")
        deadline = time.monotonic() + timeout
        inspect_at, pause = 0.0, FIRST_PAUSE
        while not await _answers(url, min(20, max(deadline - time.monotonic(), 1))):
            if time.monotonic() > inspect_at:
                await self._refuse_if_it_ended()
                inspect_at = time.monotonic() + INSPECT_EVERY
            if time.monotonic() > deadline:
                await self._refuse(f"The server did not answer within {timeout} seconds.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _refuse_if_it_ended(self) -> None:
        container = await self.get_object()
        if container is None:
            raise SpawnRefusedError("The server's container was removed while the server started.")
        if not container["State"]["Running"]:
            config = container["Config"]
            command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
            await self._refuse(exits.exit_text(container["State"], command, container["HostConfig"]["Memory"]))

    async def _refuse(self, text: str) -> None:
        """Raise an error with the last lines of the server's log, and remove its container."""
        lines: list[str] = []
        for pause in LOG_PAUSES:  # Docker writes the log a moment after the end
            await asyncio.sleep(pause)
            try:
                output = await self.docker("logs", self.container_id, tail=exits.LAST_LINES)
            except docker.errors.APIError as error:  # Docker's logging driver keeps none, for example
                output = str(error.explanation or error).encode()
            lines = exits.last_lines(output, [self.api_token])
            if lines:
                break
        if self.remove:  # JupyterHub does not stop a server that has ended
            await self.stop_object()
            await self.remove_object()
        raise SpawnRefusedError(text, lines)

    async def progress(self) -> Any:
        """Show what the user has to know about the server, while it starts."""
        yield {"progress": 50, "message": "Starting the server"}
        shown = 0
        while True:
            for notice in self.notices[shown:]:
                yield {"message": notice}
            shown = len(self.notices)
            await asyncio.sleep(0.5)


async def _answers(url: str, timeout: float) -> bool:
    """Return whether a server answers at `url` within so many seconds, with any status that JupyterHub accepts."""
    try:
        await AsyncHTTPClient().fetch(url, follow_redirects=False, request_timeout=timeout)
    except HTTPClientError as error:
        return bool(error.code < 500)
    except OSError:
        return False
    return True

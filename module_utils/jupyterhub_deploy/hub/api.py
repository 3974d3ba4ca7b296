"""JupyterHub's REST API, used from the hub's own host by the deployment.

The hub has a service ``deploy`` for that (see ``jupyterhub_config.py.j2``); its token is a secret of the host. It goes
only into the header of a request: no error, no result and no command line contains it.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.containers.container import address_of
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host, secrets

SERVICE = "deploy"
TIMEOUT = 30.0  # seconds; the hub answers a request to stop a server after 10 at the latest
PAGE = 100  # users for one request; the hub returns 200 at most by default
LONGEST_MESSAGE = 300  # characters of an error message of the hub
EXPECTED = (200, 201, 202, 204)


class HubApi:
    """The API of one hub.

    :param url: of the API, such as ``http://172.18.0.2:8081/hub/api``.
    :param token: of the hub's service ``deploy``.
    :param timeout: seconds that one answer may take.
    """

    def __init__(self, url: str, token: str, timeout: float = TIMEOUT) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token
        self._opener = direct_opener()

    def request(
        self, method: str, path: str, body: Any = None, expected: tuple[int, ...] = EXPECTED
    ) -> tuple[int, Any]:
        """Make one request; return the status and the answer's JSON, ``None`` when it has none.

        :param path: below the API's URL, begins with a slash; names in it are quoted (see :func:`server_path`).
        :param expected: statuses that are not an error.
        :raises DeployError: the hub does not answer, refuses the token, or answers with another status.
        """
        try:
            with self._opener.open(self._request(method, path, body), timeout=self.timeout) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from error
        if status in expected:
            return status, self._json(text, method, path)
        raise self._refused(status, text, method, path)

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the events of a stream, such as the progress of a start, and an empty one at each sign of life.

        :raises DeployError: as :meth:`request`, also when the stream breaks off.
        """
        try:
            with self._opener.open(self._request("GET", path, None), timeout=self.timeout) as response:
                for line in response:
                    data = line.removeprefix(b"data: ")
                    yield self._json(data, "GET", path) or {}
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, error.read(), "GET", path) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from error

    def _request(self, method: str, path: str, body: Any) -> urllib.request.Request:
        return urllib.request.Request(  # noqa: S310  (the scheme is always http)
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"token {self._token}",
                "Accept": "application/jupyterhub-pagination+json",
                "Content-Type": "application/json",
            },
            method=method,
        )

    def _silent(self, error: Exception) -> DeployError:
        reason = getattr(error, "reason", None) or error
        return DeployError(
            f"the hub at {self.url} does not answer ({reason}); read its log with `docker logs`, or run make site"
        )

    def _refused(self, status: int, text: bytes, method: str, path: str) -> DeployError:
        if status in (401, 403):
            return DeployError(
                f"the hub at {self.url} refuses the token of its service `{SERVICE}` ({status} for {method} {path}); "
                "run make site, and if that does not help restart the hub's container, which reads the token when it "
                "starts"
            )
        return DeployError(f"the hub at {self.url} answers {method} {path} with {status}{self._message(text)}")

    def users(self, state: str = "active") -> Iterator[dict[str, Any]]:
        """Yield the hub's description of each user, in the order of their accounts, a page at a time.

        :param state: ``active``: users with a server, also one that is just starting or stopping; empty: all users.
        """
        for page in self._pages("/users", {"state": state} if state else {}):
            # The page Admin of earlier versions could remove the name of a user. No request leads to such a user.
            yield from (user for user in page if user["name"])

    def last_seen(self, user: str, server: str) -> str | None:
        """Return when the proxy last saw traffic to a server, as it writes times; ``None`` when it does not know.

        The hub itself copies this from the proxy only every so often.
        """
        for page in self._pages("/proxy", {}):
            for route in page.values():
                data = route.get("data", {})
                if (data.get("user"), data.get("server_name")) == (user, server):
                    seen: str | None = data.get("last_activity")
                    return seen
        return None

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[Any]:
        offset = 0
        while True:
            _, answer = self.request("GET", f"{path}?{urlencode({**query, 'offset': offset, 'limit': PAGE})}")
            if not isinstance(answer, dict):
                raise DeployError(
                    f"the hub at {self.url} does not answer GET {path} in pages, as JupyterHub 2 and newer do"
                )
            yield answer["items"]
            # Where the next page begins, or nothing after the last one.
            following = answer["_pagination"].get("next")
            if not following or following["offset"] <= offset:
                return
            offset = following["offset"]

    def user(self, name: str) -> dict[str, Any] | None:
        """Return the hub's description of a user with their active servers, ``None`` when there is no such user."""
        status, answer = self.request("GET", f"/users/{quote(name, safe='')}", expected=(200, 404))
        return answer if status == 200 else None

    def disk_use(self) -> dict[str, dict[str, int]]:
        """Return ``used`` and ``limit`` of the disk, in bytes, of users near the limit.

        A hub of an earlier version knows none.
        """
        status, answer = self.request("GET", "/deploy/disk", expected=(200, 404))
        return dict(answer) if status == 200 else {}

    def _json(self, text: bytes, method: str, path: str) -> Any:
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise DeployError(f"the hub at {self.url} answers {method} {path} with something else than JSON") from error

    def _message(self, text: bytes) -> str:
        """Return the hub's own message for an error, as the end of a sentence."""
        try:
            message = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            return ""
        message = " ".join(message.replace(self._token, "…").split())[:LONGEST_MESSAGE]
        return f": {message}" if message else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def direct_opener() -> urllib.request.OpenerDirector:
    """Return what opens URLs of containers on this host.

    The operator's proxy settings are for the internet. A redirect would take a token along to wherever it leads; it is
    an error here, as the API has none.
    """
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def connect(client: Any, hub_name: str, token_file: str, timeout: float = TIMEOUT) -> HubApi:
    """Return the API of a hub on this host.

    :param client: a low-level Docker client.
    :param token_file: path of the secret ``api_token``.
    :raises DeployError: the hub does not exist, is another's, does not run, or cannot write its database; or its token
        is not on the host.
    """
    container = inspect_container(client, hub_name)
    if container is None:
        raise DeployError(f"there is no hub container {hub_name} on this host; run make site")
    # The token is for this hub only.
    foreign = ownership.problem(ownership.CONTAINER, hub_name, container["Config"].get("Labels"), hub_name)
    if foreign:
        raise DeployError(foreign)
    address = address_of(container)
    if not address:
        raise DeployError(
            f"the hub container {hub_name} is not running; `docker logs {hub_name}` says why, or run make site"
        )
    data = (mount["Source"] for mount in container.get("Mounts", []) if mount["Destination"] == hub_spec.DATA_TARGET)
    unwritable = next(filter(None, (host.data_problem(hub_name, path) for path in data)), None)
    if unwritable:  # such a hub answers 403, as if the token were wrong
        raise DeployError(unwritable)
    return HubApi(f"http://{address}:{hub_spec.HUB_PORT}/hub/api", read_token(token_file), timeout)


def read_token(path: str) -> str:
    """Return the token in a file.

    :raises DeployError: the file does not exist, cannot be read, or does not contain a token.
    """
    directory, _, name = path.rpartition("/")
    try:
        token = secrets.read(directory or "/", name)
    except (OSError, ValueError) as error:
        raise DeployError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}") from error
    if token is None:
        raise DeployError(
            f"{path}, the token of the hub's service `{SERVICE}`, does not exist; run make site, which creates it, "
            "then restart the hub's container, which reads it when it starts"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", token):  # otherwise the header is refused, with the token in the error
        raise DeployError(
            f"{path} does not contain a token; remove the file, run make site, and restart the hub's container"
        )
    return token


def server_path(user: str, server: str) -> str:
    """Return the path of a user's server in the API; the default server's name is empty."""
    path = f"/users/{quote(user, safe='')}/server"
    return f"{path}s/{quote(server, safe='')}" if server else path

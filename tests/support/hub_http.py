"""A person's way through the hub's pages without a browser: forms with their ``_xsrf``, cookies, the hub's API."""

from __future__ import annotations

import os
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter


class HubSession(requests.Session):
    """One person's session with one hub.

    Args:
        url: the hub's public address, with or without a trailing slash.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url.rstrip("/")
        # Test hubs live on this machine; a proxy from the environment is for elsewhere.
        self.trust_env = False
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE", True)  # see support.names

    def _xsrf(self, page: str) -> str:
        answer = self.get(f"{self.url}{page}", timeout=30)
        answer.raise_for_status()
        return self.cookies.get("_xsrf", path="/hub/") or self.cookies["_xsrf"]

    def _post(self, page: str, **fields: str) -> requests.Response:
        token = self._xsrf(page)
        return self.post(f"{self.url}{page}", data={"_xsrf": token, **fields}, timeout=60)

    def sign_up(self, name: str, password: str) -> requests.Response:
        """Send the sign-up form; the answer's page shows the result."""
        return self._post("/hub/signup", username=name, signup_password=password,
                          signup_password_confirmation=password)  # fmt: skip

    def sign_in(self, name: str, password: str) -> bool:
        """Send the login form, which does not start a server; return whether the user is signed in."""
        answer = self._post("/hub/login?next=%2Fhub%2Fhome", username=name, password=password)
        return answer.ok and not answer.url.split("?")[0].endswith("/hub/login") and self.me() is not None

    def me(self) -> dict[str, Any] | None:
        """Return what the hub's API says of the person who is signed in, or None."""
        answer = self.api("GET", "/user")
        return dict(answer.json()) if answer.ok else None

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the hub's API as the person who is signed in."""
        token = self.cookies.get("_xsrf", path="/hub/") or ""
        headers = {"X-XSRFToken": token, "Referer": f"{self.url}/hub/home"}
        return self.request(method, f"{self.url}/hub/api{path}", headers=headers, timeout=60, **options)

    def spawn(self, name: str, timeout: float = 240) -> None:
        """Start the person's server and wait until it is ready.

        Raises:
            AssertionError: the hub refused, or the server was not ready after ``timeout`` seconds.
        """
        answer = self.api("POST", f"/users/{name}/server")
        # A page of the server that was visited before may have started it already.
        running = answer.status_code == 400 and "already running" in answer.text
        assert running or answer.status_code in (201, 202), f"spawning for {name}: {answer.status_code} {answer.text}"
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            user = self.api("GET", f"/users/{name}").json()
            if user["servers"].get("", {}).get("ready"):
                return
            assert user.get("pending") or user["servers"], f"the server of {name} failed to start: {user}"
            time.sleep(1)
        raise AssertionError(f"the server of {name} was not ready after {timeout} s")

    def contents(self, method: str, name: str, path: str, **options: Any) -> dict[str, Any]:
        """Read or write a file of the person's running server, by a token of the person's own.

        Raises:
            requests.HTTPError: the server refused.
        """
        token = self.api("POST", f"/users/{name}/tokens", json={"expires_in": 600}).json()["token"]
        answer = requests.request(
            method, f"{self.url}/user/{name}/api/contents/{path}",
            headers={"Authorization": f"token {token}"}, timeout=60, **options,
        )  # fmt: skip
        answer.raise_for_status()
        return dict(answer.json())

    def stop(self, name: str, timeout: float = 60) -> None:
        """Stop the person's server and wait until it is gone."""
        self.api("DELETE", f"/users/{name}/server")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.api("GET", f"/users/{name}").json()["servers"]:
                return
            time.sleep(0.5)
        raise AssertionError(f"the server of {name} was still there after {timeout} s")


class SourceAddress(HTTPAdapter):
    """Connects from an address of this machine."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Create the pool of connections."""
        super().init_poolmanager(*arguments, source_address=(self.address, 0), **options)

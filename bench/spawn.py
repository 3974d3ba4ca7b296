"""Time from the request for a server until it is ready: one user, then ten at once.

    python -m bench.spawn

It uses the REST API, as the admin page does. One failure ends the measurement with an error.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from bench.common import deployed, summary, table

ROUNDS = 5
CROWD = 10
#: Seconds; the hub itself stops waiting after start_timeout + http_timeout.
SPAWN_TIMEOUT = 300


class Hub:
    """The hub's API with an admin's token, made by signing in as a browser would."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self.headers: dict[str, str] = {}
        with requests.Session() as browser:
            page = browser.get(f"{url}/hub/login", timeout=30).text
            xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page)
            assert xsrf, "the login page has no _xsrf field"
            form = {"username": "admin", "password": password, "_xsrf": xsrf[1]}
            browser.post(f"{url}/hub/login?next=%2Fhub%2Fhome", data=form, timeout=30).raise_for_status()
            cookies = [cookie for cookie in browser.cookies if cookie.name == "_xsrf" and cookie.path == "/hub/"]
            answer = browser.post(
                f"{url}/hub/api/users/admin/tokens",
                json={"note": "bench", "expires_in": 3600},
                headers={"X-XSRFToken": str(cookies[0].value)},
                timeout=30,
            )
            answer.raise_for_status()
        self.headers["Authorization"] = f"token {answer.json()['token']}"

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Call the API and return its answer; an error ends the measurement."""
        url = f"{self.url}/hub/api/{path}"
        answer = requests.request(method, url, headers=self.headers, timeout=60, **arguments)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def server(self, name: str) -> dict[str, Any]:
        """Return what the hub says of a user's server, an empty mapping when there is none."""
        return dict(self.call("GET", f"users/{name}").get("servers", {}).get("", {}))


def spawn_one(hub: Hub, name: str, start: float) -> float:
    """Ask for one server and return the seconds from ``start`` until it was ready.

    Raises:
        SystemExit: the server failed or took too long.
    """
    hub.call("POST", f"users/{name}/server")  # the hub answers when the server is ready, or after 10 s at the latest
    while True:
        server = hub.server(name)
        waited = time.monotonic() - start
        if server.get("ready"):
            return waited
        if not server.get("pending") or waited > SPAWN_TIMEOUT:
            raise SystemExit(f"the server of {name} failed after {waited:.0f} s: {server}")
        time.sleep(0.25)


def spawn(hub: Hub, names: list[str]) -> list[float]:
    """Start all servers at once; return the seconds until each was ready."""
    start = time.monotonic()
    with ThreadPoolExecutor(len(names)) as crowd:
        return list(crowd.map(lambda name: spawn_one(hub, name, start), names))


def stop(hub: Hub, names: list[str]) -> None:
    """Stop all servers and wait until they are gone."""
    for name in names:
        hub.call("DELETE", f"users/{name}/server")
    while any(hub.server(name) for name in names):
        time.sleep(0.2)


def main() -> None:
    """Measure and print the table."""
    names = [f"bench-{number}" for number in range(CROWD)]
    with deployed() as site:
        hub = Hub(site.url, site.password)
        hub.call("POST", "users", json={"usernames": names})
        try:
            first = spawn(hub, names[:1])
            stop(hub, names[:1])
            single = []
            for _ in range(ROUNDS):
                single += spawn(hub, names[:1])
                stop(hub, names[:1])
            crowd = sorted(spawn(hub, names))
            stop(hub, names)
        finally:
            for name in names:
                hub.call("DELETE", f"users/{name}")
    rows = [
        ["one user, first start ever", *summary(first)],
        [f"one user, {ROUNDS} times", *summary(single)],
        [f"{CROWD} users at once", *summary(crowd)],
    ]
    print(table(["seconds to ready", "minimum", "median", "maximum"], rows))
    print(f"\nFailures: 0 of {len(first) + len(single) + len(crowd)}.")


if __name__ == "__main__":
    main()

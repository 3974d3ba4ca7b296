"""Servers that wait for their start, and those that a full hub refuses, on real Docker.

Each test changes the servers of the one before it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.run import name as run_name
from support.hub_http import HubSession
from support.module_site import ModuleSite
from support.site_fixtures import StartSite

NAME = run_name("queue")
#: Seconds. Enough for a start on a busy machine, and less than the others wait.
START_TIMEOUT = 60
#: The turn of alice ends when the test says so.
EXTRA = f"""
import asyncio
from jupyterhub_deploy_hub import queued_spawner, watched_spawner

queued_spawner.LONGEST_TURN = 600
watched_spawner.BEFORE_START_TIMEOUT = 0
c.Spawner.start_timeout = {START_TIMEOUT}
c.JupyterHub.tornado_settings["slow_spawn_timeout"] = 0


async def hold(spawner):
    while spawner.user.name == "alice" and not Path("/data/go").exists():
        await asyncio.sleep(0.1)


c.Spawner.pre_spawn_hook = hold
"""


class Hub:
    """The hub's API as the admin uses it."""

    def __init__(self, site: ModuleSite) -> None:
        self.site = site
        self.session = HubSession(site.url)
        assert self.session.sign_in("admin", site.admin_password())

    def add(self, *names: str) -> None:
        assert self.session.api("POST", "/users", json={"usernames": names}).ok

    def start(self, name: str) -> Progress:
        answer = self.session.api("POST", f"/users/{name}/server")
        assert answer.status_code == 202, answer.text
        return Progress(self.session, name)

    def containers(self) -> list[str]:
        """Return the users with a server, in the order in which their containers were created."""
        found = self.site.client.api.containers(all=True)
        names = {one["Names"][0].removeprefix(f"/{NAME}-jupyter-"): one["Created"] for one in found}
        return sorted((name for name in names if not name.startswith("/")), key=lambda name: float(names[name]))


class Progress:
    """What a user sees while the server starts; a thread reads it.

    Attributes:
        messages: all of them.
        ready, ended: whether the server is ready, and whether the progress has ended, also because of a failure.
    """

    def __init__(self, session: HubSession, name: str) -> None:
        self.messages: list[str] = []
        self.ready = self.ended = False
        self._answer = session.api("GET", f"/users/{name}/server/progress", stream=True)
        threading.Thread(target=self._read, daemon=True).start()

    def shows(self, message: str) -> bool:
        """Wait until it shows a message; return whether it does."""
        return bool(wait_until(lambda: any(message in one for one in self.messages), 60))

    def is_ready(self) -> bool:
        """Wait until the progress has ended; return whether the server is ready."""
        wait_until(lambda: self.ended, 2 * START_TIMEOUT)
        return self.ready

    def _read(self) -> None:
        with contextlib.suppress(requests.exceptions.ChunkedEncodingError):  # the hub was removed
            for line in self._answer.iter_lines():
                event: dict[str, Any] = json.loads(line.removeprefix(b"data: ") or "{}")
                if "message" in event:
                    self.messages.append(event["message"])
                self.ready = self.ready or bool(event.get("ready"))
        self.ended = True


@pytest.fixture(scope="module")
def hub(start_site: StartSite) -> Hub:
    return Hub(start_site(NAME, {"concurrent_starts": 1}, EXTRA))


def position(number: int, of: int) -> str:
    return f"You are number {number} of {of} in the queue."


def test_starts_wait_in_order_and_each_user_sees_the_position(hub: Hub) -> None:
    hub.add("alice", "bob", "carol", "dora")
    alice = hub.start("alice")
    assert alice.shows("Starting the server")
    requested = time.monotonic()
    bob, carol, dora = hub.start("bob"), hub.start("carol"), hub.start("dora")
    assert bob.shows(position(1, 3))
    assert carol.shows(position(2, 3))
    assert dora.shows(position(3, 3))
    page = hub.session.get(f"{hub.site.url}/hub/spawn-pending/bob", timeout=60)
    assert "Your server is starting up" in page.text

    # A start that is cancelled leaves the queue.
    assert hub.session.api("DELETE", "/users/carol/server").ok
    assert wait_until(lambda: carol.ended, 60)
    assert (carol.ready, carol.messages[-1]) == (False, "Spawn cancelled")
    assert dora.shows(position(2, 2))
    # So does that of a user who is deleted.
    assert hub.start("carol").shows(position(3, 3))
    assert hub.session.api("DELETE", "/users/carol").status_code == 204
    assert hub.session.api("GET", "/users/carol").status_code == 404
    assert wait_until(lambda: position(2, 2) in dora.messages[-1], 60)

    time.sleep(max(0.0, requested + START_TIMEOUT + 1 - time.monotonic()))
    assert "Starting the server" not in bob.messages + dora.messages
    hub.site.client.containers.get(NAME).exec_run(["touch", "/data/go"])
    assert alice.is_ready(), alice.messages
    assert bob.is_ready(), bob.messages
    assert dora.is_ready(), dora.messages
    assert dora.messages[-2:-1] == ["Starting the server"]
    assert position(1, 1) in dora.messages[-3]  # while bob's server started
    assert hub.containers() == ["alice", "bob", "dora"]


def test_a_full_hub_says_how_many_servers_run(hub: Hub) -> None:
    hub.site.settings["server_limit"] = 2
    hub.site.run_hub()
    assert wait_until(lambda: hub.session.get(f"{hub.site.url}/hub/home", timeout=30).ok, 60)
    assert hub.containers() == ["alice", "bob", "dora"]  # none is stopped
    hub.session.stop("dora")
    page = hub.session.get(f"{hub.site.url}/hub/spawn/dora", timeout=30)
    assert page.status_code == 429
    assert "The hub is full" in page.text
    assert "2 of 2 servers are running. Try again when somebody has stopped theirs" in page.text
    answer = hub.session.api("POST", "/users/dora/server")
    assert answer.status_code == 429
    assert answer.json()["message"].startswith("2 of 2 servers are running.")
    hub.session.stop("bob")
    assert hub.start("dora").is_ready()

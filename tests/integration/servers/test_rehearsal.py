"""Rehearsals beside a real user's server, on real Docker: the report, and that nothing is left.

Each test leaves the hub as it was.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

import jupyterhub_rehearsal
from hosts.run import name as run_name
from support.hub_http import HubSession
from support.local_site import LocalSite
from support.module_site import ROOT, ModuleSite, killed_run
from support.modules import ModuleError, run
from support.site_fixtures import StartSite

NAME = run_name("rehearsal")
#: The server of the third user does not start while the file exists.
EXTRA = """
import asyncio

c.JupyterHub.tornado_settings["slow_spawn_timeout"] = 0


async def hold(spawner):
    while spawner.user.name == "rehearsal-3" and Path("/data/hold").exists():
        await asyncio.sleep(0.1)


c.Spawner.pre_spawn_hook = hold
"""


class Hub:
    """A hub, a real user with a server, and what it has beside them."""

    def __init__(self, site: ModuleSite) -> None:
        self.site = site
        self.alice = site.notebook("alice")
        self.admin = HubSession(site.url)
        assert self.admin.sign_in("admin", site.admin_password())
        self.before = self.state()

    def arguments(self, **options: Any) -> dict[str, Any]:
        """Return what the role passes to the module."""
        return {"name": NAME, "token_file": f"{self.site.config_dir}/secrets/api_token", **options}

    def rehearse(self, users: int, **options: Any) -> dict[str, Any]:
        """Run the module; return its result."""
        return run(jupyterhub_rehearsal, **self.arguments(users=users, **options))

    def users(self) -> list[str]:
        return sorted(user["name"] for user in self.admin.api("GET", "/users").json())

    def ready(self) -> list[str]:
        """Return the users whose servers are ready."""
        return sorted(user["name"] for user in self.admin.api("GET", "/users?state=ready").json())

    def tokens(self) -> list[str]:
        """Return the ids of the tokens of rehearsals; the running hub does not list what other processes have added."""
        data = self.site.client.volumes.get(f"{NAME}-data").attrs["Mountpoint"]
        with closing(sqlite3.connect(f"file:{data}/jupyterhub.sqlite?mode=ro", uri=True)) as database:
            return [
                f"a{row[0]}" for row in database.execute("SELECT id FROM api_tokens WHERE note LIKE 'rehearse.yml%'")
            ]

    def state(self) -> tuple[list[str], ...]:
        """Return the names of users, containers and volumes, and the ids of tokens."""
        volumes = sorted(one.name for one in self.site.client.volumes.list() if one.name.startswith(NAME))
        return self.users(), self.site.containers(), volumes, self.tokens()

    def execute(self, *command: str) -> None:
        self.site.client.containers.get(NAME).exec_run([*command])


@pytest.fixture(scope="module")
def hub(start_site: StartSite) -> Hub:
    return Hub(start_site(NAME, {"concurrent_starts": 1}, EXTRA))


@pytest.fixture(autouse=True)
def unchanged(hub: Hub) -> Any:
    """Check after each test that nothing is left, and that the real user's kernel answers over the same socket."""
    yield
    assert hub.state() == hub.before
    assert hub.alice.socket.execute("6 * 7") == "42"


def test_three_users_beside_a_real_one(hub: Hub) -> None:
    planned = run(jupyterhub_rehearsal, check=True, **hub.arguments(users=3))
    assert planned["messages"] == [
        "servers would be started for rehearsal-1 to rehearsal-3, all at once, and removed again"
    ]
    assert hub.state() == hub.before

    result = hub.rehearse(3, kernels=True)
    lines = result["messages"]
    assert lines[:2] == [
        "temporary users: rehearsal-1 to rehearsal-3, all at once, each with a kernel",
        "started: 3 of 3",
    ]
    assert "kernels: 3 of 3 started" in lines
    assert "2 users waited in it, the last as number 2" in lines[3]
    assert lines[-1].startswith("3 of 3 servers started; the slowest user waited ")
    assert f"about {result['servers_left']} more servers of this size" in lines[-1]
    assert (result["changed"], result["ready_servers"], result["failed_starts"]) == (False, 3, 0)
    assert not any("no answer" in line or "request" in line for line in lines)
    together = float(next(line for line in lines if line.startswith("memory of their")).split()[4])
    assert together > 3 * 60  # MB: one server with a kernel needs more


def test_the_playbook_shows_progress_and_the_report(hub: Hub) -> None:
    site = LocalSite(NAME)
    played = site.run("-e", "users=1", playbook="playbooks/rehearse.yml", jupyterhub_config_dir=hub.site.config_dir)
    assert "    removing 1 temporary user" in played.output
    assert "1 of 1 server started; the slowest user waited " in played.output


def test_what_a_killed_run_has_left_is_removed_by_the_next(hub: Hub, tmp_path: Path) -> None:
    assert killed_run("jupyterhub_rehearsal", "remove_container:1", hub.arguments(users=2), tmp_path)
    assert hub.users() == ["admin", "alice", "rehearsal-1", "rehearsal-2"]
    assert {f"{NAME}-user-rehearsal-2d1", f"{NAME}-user-rehearsal-2d2"} <= {*hub.state()[2]}
    planned = run(jupyterhub_rehearsal, check=True, **hub.arguments(users=0))
    assert planned["messages"] == ["would be removed: 2 temporary users of an earlier rehearsal"]

    assert hub.rehearse(0)["removed"] == ["rehearsal-1", "rehearsal-2"]
    # The kill left the token, which ends by itself.
    (token,) = hub.tokens()
    assert hub.admin.api("DELETE", f"/users/admin/tokens/{token}").ok
    assert hub.rehearse(0)["changed"] is False


def test_a_name_that_a_user_has_is_refused(hub: Hub) -> None:
    assert hub.admin.api("POST", "/users/rehearsal-2").ok
    before = hub.state()
    with pytest.raises(ModuleError, match=rf"^hub {NAME} already has user rehearsal-2, and no .*; nothing was changed"):
        hub.rehearse(3)
    assert hub.state() == before
    assert hub.admin.api("DELETE", "/users/rehearsal-2").ok
    page = HubSession(hub.site.url).sign_up("rehearsal-1", "seven green bottles")
    assert "rehearsal-1 is taken or reserved" in page.text


def test_a_rehearsal_that_is_ended_removes_its_users(hub: Hub, tmp_path: Path) -> None:
    hub.execute("touch", "/data/hold")
    file = tmp_path / "arguments.json"
    file.write_text(json.dumps(hub.arguments(users=3, at_once=1)))
    # The number of changes to Docker after which it is killed is never reached.
    command = [sys.executable, str(ROOT / "tests/support/killed_run.py"), "jupyterhub_rehearsal", "999", str(file)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: hub.ready() == ["alice", "rehearsal-1", "rehearsal-2"], 180, 0.5)
        running.send_signal(signal.SIGTERM)
        result = json.loads(running.communicate(timeout=120)[0])
    finally:
        running.kill()
        hub.execute("rm", "/data/hold")
    assert result["failed"], result
    assert "stopped early: somebody ended it with users=0 or SIGTERM; its temporary users are removed" in result["msg"]
    assert "not ready when the rehearsal was stopped: 1" in "\n".join(result["messages"])

"""A user whose files reach the disk limit, on real Docker. Each test continues with the files of the one before it."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.run import name as run_name
from support.hub_http import HubSession
from support.module_site import ModuleSite
from support.site_fixtures import StartSite

NAME = run_name("disk")
MIB = 2**20
LIMIT = 100 * MIB
#: All running servers are measured every second, and each start measures, however busy the machine is.
EXTRA = """
from jupyterhub_deploy_hub import disk_limit

disk_limit.EVERY_SECONDS = 1
disk_limit.FRESH_SECONDS = disk_limit.FRESH_ABOVE_SECONDS = disk_limit.FRESH_TIMES = 0
disk_limit.START_SECONDS, disk_limit.WAIT_SECONDS = (60, 60), 60
"""
PASSWORD = secrets.token_hex(8)


class Alice:
    """Alice, with her files as the host sees them."""

    def __init__(self, site: ModuleSite) -> None:
        self.site = site
        self.session = HubSession(site.url)
        self.session.sign_up("alice", PASSWORD)
        assert self.session.sign_in("alice", PASSWORD)

    def use(self, size: int) -> None:
        """Make her files use so many bytes, apart from a few of the server's own."""
        volume = self.site.client.api.inspect_volume(f"{NAME}-user-alice")
        (Path(volume["Mountpoint"]) / "big").write_bytes(bytes(size))

    def known(self) -> dict[str, Any]:
        """Return what the hub tells her server."""
        return dict(self.session.api("GET", "/deploy/disk").json())

    def is_running(self) -> bool:
        return bool(self.session.api("GET", "/users/alice").json()["servers"].get("", {}).get("ready"))


@pytest.fixture(scope="module")
def site(start_site: StartSite) -> ModuleSite:
    limits = {"memory": "auto", "cpu": 0, "pids": 4096, "shm_size": "1G", "tmp_size": 0, "disk": LIMIT}
    return start_site(NAME, {"limits": limits}, EXTRA)


@pytest.fixture(scope="module")
def alice(site: ModuleSite) -> Iterator[Alice]:
    """Alice, who has many more files at another hub."""
    other = site.client.volumes.create(
        f"{NAME}-other", labels={"org.jupyterhub.deploy.hub": f"{NAME}-other", "org.jupyterhub.deploy.user": "alice"}
    )
    (Path(other.attrs["Mountpoint"]) / "big").write_bytes(bytes(2 * LIMIT))
    yield Alice(site)
    other.remove()


def measuring() -> list[str]:
    """Return the containers that measure for the hub."""
    label = {"label": f"org.jupyterhub.deploy.measures={NAME}"}
    return [one["Id"] for one in docker.APIClient().containers(all=True, filters=label)]


def test_below_the_limit_nothing_happens(alice: Alice) -> None:
    alice.session.spawn("alice")
    assert alice.known()["limit"] == LIMIT
    assert alice.known()["used"] < LIMIT / 2
    assert alice.known()["warning"] == ""


def test_the_page_of_the_server_warns_from_80_percent(alice: Alice) -> None:
    alice.use(LIMIT * 85 // 100)
    assert wait_until(lambda: alice.known()["warning"], 60)
    token = alice.session.api("POST", "/users/alice/tokens", json={"expires_in": 600}).json()["token"]
    answer = requests.get(
        f"{alice.site.url}/user/alice/jupyterhub-deploy/idle", headers={"Authorization": f"token {token}"}, timeout=30
    )
    assert answer.json()["disk"]["used"] >= LIMIT * 85 // 100
    assert re.match(r"The files on this server use \d+ MiB of 100 MiB. Above the", answer.json()["disk"]["warning"])


def test_the_deployment_sees_who_is_warned(alice: Alice) -> None:
    hub = alice.site.client.api.inspect_container(NAME)
    address = hub["NetworkSettings"]["Networks"][f"{NAME}-control"]["IPAddress"]
    token = Path(alice.site.config_dir, "secrets", "api_token").read_text().strip()
    found = HubApi(f"http://{address}:8081/hub/api", token).disk_use()
    assert {user: use["limit"] for user, use in found.items()} == {"alice": LIMIT}
    assert requests.get(f"{alice.site.url}/hub/api/deploy/disk", timeout=30).status_code == 403


def test_beyond_the_limit_the_server_starts_only_to_clean_up(alice: Alice) -> None:
    alice.use(LIMIT * 110 // 100)
    assert wait_until(lambda: alice.known()["used"] > LIMIT, 60)
    assert alice.is_running()
    alice.session.stop("alice")

    answer = alice.session.api("POST", "/users/alice/server")
    assert answer.status_code == 409
    assert re.fullmatch(
        r"The files of alice use \d+ MiB of 100 MiB, so the server does not start\. To start it nevertheless, to "
        r"delete files, add \?clean_up=true to this request\.",
        answer.json()["message"],
    )
    page = alice.session.get(f"{alice.site.url}/hub/spawn", timeout=30)
    assert page.status_code == 409
    assert "<h1>The disk limit is reached</h1>" in page.text
    assert re.search(r"The files of alice use \d+ MiB of 100 MiB", page.text)
    assert not alice.is_running()

    form = re.search(r'<form action="([^"]+)" method="post">\s*<input[^>]* value="([^"]+)"', page.text)
    assert form, page.text
    action, token = map(html.unescape, form.groups())
    started = alice.session.post(f"{alice.site.url}{action}", data={"_xsrf": token}, timeout=60)
    assert started.ok, started.text
    assert wait_until(alice.is_running, 60)
    alice.session.stop("alice")
    assert alice.session.get(f"{alice.site.url}/hub/spawn", timeout=30).status_code == 409, "the next one is refused"
    assert alice.session.api("POST", "/users/alice/server?clean_up=true").ok
    assert wait_until(alice.is_running, 60)


def test_after_files_were_deleted_the_server_starts(alice: Alice) -> None:
    alice.session.stop("alice")
    alice.use(0)
    alice.session.spawn("alice")


def test_no_container_that_measures_remains_of_a_killed_hub(alice: Alice) -> None:
    alice.site.client.containers.get(NAME).kill()
    assert wait_until(lambda: not measuring(), 60)
    log = alice.site.client.containers.get(NAME).logs().decode()
    assert "were not measured" not in log
    assert "was not measured" not in log

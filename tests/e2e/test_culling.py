"""Servers that nobody uses, in a real browser: they are stopped, and an open page warns before, and of files."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import NamedTuple

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.processes import wait_until
from playwright.sync_api import Browser, Locator, Page, Route, expect

from hosts.run import name as run_name
from support.hub_http import HubSession
from support.hub_pages import HubPages
from support.long_runs import VERSIONS
from support.module_site import ModuleSite
from support.site_fixtures import StartSite

#: Of alice, carol and dora.
PASSWORD = secrets.token_hex(8)
#: Seconds. The page warns in the last fifth.
IDLE = 25
MAX_AGE = 45
#: Bytes.
DISK = 100 << 20
#: How late the hub may notice it on a busy machine, in seconds.
LATE = 30
#: Computes without an output for longer than all tests.
COMPUTE = "import time\nprint('begun', flush=True)\ntime.sleep(900)"
#: Dora's server has other limits.
EXTRA_CONFIG = f"""
def limit(spawner):
    if spawner.user.name == "dora":
        spawner.cull_idle_seconds, spawner.cull_max_age_seconds = 0, {MAX_AGE}
c.Spawner.pre_spawn_hook = limit
"""


class Servers(NamedTuple):
    """The servers of the users of a hub. Bob's kernel computes all the time."""

    site: ModuleSite

    def is_running(self, name: str) -> bool:
        """Return whether the server of a user runs."""
        return f"{self.site.name}-jupyter-{name}" in self.site.containers()

    def has_ended(self, name: str, seconds: float) -> bool:
        """Wait for the end of a user's server; return whether it has ended in time."""
        return wait_until(lambda: not self.is_running(name), seconds)


@pytest.fixture(scope="module", params=VERSIONS)
def servers(start_site: StartSite, request: pytest.FixtureRequest) -> Servers:
    limits = {"memory": "auto", "cpu": 0, "pids": 4096, "shm_size": "1G", "tmp_size": 0, "disk": DISK}
    settings = {"culling": {"idle": IDLE, "max_age": 0, "kernels": 3600}, "limits": limits}
    site = start_site(run_name("culling"), settings, EXTRA_CONFIG, request.param)
    bob = site.notebook("bob")
    bob.socket.output(COMPUTE, "begun")
    session_of(site, "dora").spawn("dora")
    return Servers(site)


def session_of(site: ModuleSite, name: str) -> HubSession:
    """Return the session of a user, who is signed up if necessary."""
    session = HubSession(site.url)
    session.sign_up(name, PASSWORD)
    assert session.sign_in(name, PASSWORD)
    return session


def open_lab(chromium: Browser, servers: Servers, name: str) -> Page:
    """Sign a user up and open their server in a window, which then stays open."""
    session_of(servers.site, name)
    page = chromium.new_context().new_page()
    pages = HubPages(page, servers.site.url)
    pages.sign_in(name, PASSWORD)
    pages.start_server()
    return page


def warning(page: Page) -> Locator:
    """Return the warning on a page, as a screen reader finds it."""
    return page.get_by_role("alert").filter(has_text="This server")


def test_a_page_warns_before_an_unused_server_stops_and_one_click_keeps_it(servers: Servers, chromium: Browser) -> None:
    page = open_lab(chromium, servers, "carol")

    expect(warning(page)).to_contain_text("because nobody uses it. Your files are kept", timeout=1000 * (IDLE + LATE))
    clicked = time.monotonic()
    warning(page).get_by_role("button", name="Keep it running").click()
    expect(warning(page)).to_be_hidden(timeout=1000 * LATE)

    assert servers.has_ended("carol", IDLE + LATE)
    assert time.monotonic() - clicked > IDLE - 1
    expect(warning(page)).to_contain_text("This server has stopped. Your files are kept.", timeout=1000 * LATE)
    page.context.close()


def test_a_page_says_that_kernels_have_ended(servers: Servers, chromium: Browser) -> None:
    page, ended = open_lab(chromium, servers, "carol"), [2]

    def answer(route: Route) -> None:
        if route.request.method == "DELETE":
            ended[0] = 0
        route.fulfill(json={**route.fetch().json(), "ended_kernels": ended[0]})

    page.route("**/jupyterhub-deploy/idle", answer)
    notice = page.get_by_role("alert").filter(has_text="2 unused kernels have ended. Variables are lost")
    expect(notice).to_be_visible(timeout=1000 * LATE)
    page.keyboard.press("Shift")
    expect(notice).to_be_visible()
    notice.get_by_role("button", name="OK").click()
    expect(notice).to_be_hidden()
    page.wait_for_timeout(3000)
    expect(notice).to_be_hidden()
    # A request that is answered here after the test would fail another one.
    page.unroute_all(behavior="wait")
    page.context.close()


def test_a_page_warns_of_the_disk_limit_until_the_user_closes_it(servers: Servers, chromium: Browser) -> None:
    hub = servers.site.name
    labels = {"org.jupyterhub.deploy.hub": hub, "org.jupyterhub.deploy.user": "alice"}
    volume = servers.site.client.volumes.create(f"{hub}-user-alice", labels=labels)
    (Path(volume.attrs["Mountpoint"]) / "big").write_bytes(bytes(DISK * 9 // 10))
    page = open_lab(chromium, servers, "alice")

    alert = page.get_by_role("alert").filter(has_text=re.compile(r"The files on this server use 9\d MiB of 100 MiB\."))
    expect(alert).to_be_visible(timeout=1000 * LATE)
    alert.get_by_role("button", name="Close").click()
    expect(alert).to_be_hidden()
    page.context.close()


def test_a_server_without_a_limit_for_unused_ones_ends_at_its_maximum_age(servers: Servers) -> None:
    assert servers.has_ended("dora", MAX_AGE + LATE)


def test_a_server_that_computes_is_not_stopped(servers: Servers) -> None:
    assert not servers.has_ended("bob", IDLE + LATE / 2)
    log = docker.from_env().containers.get(f"{servers.site.name}-jupyter-bob").logs().decode()
    assert "Culling kernels with idle durations > 3600 seconds" in log


def test_a_hub_that_was_down_stops_no_server_at_once(servers: Servers) -> None:
    session = session_of(servers.site, "alice")
    session.spawn("alice")
    hub = servers.site.client.containers.get(servers.site.name)
    hub.stop()
    time.sleep(IDLE + 2)
    hub.start()
    assert wait_until(lambda: session.get(f"{session.url}/hub/health", timeout=60).ok, 60)
    time.sleep(5)  # the culler looks at once, and then every two seconds
    assert servers.is_running("alice")

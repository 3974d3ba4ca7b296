"""Tests of a site whose Docker or whole host restarts; a test class inherits them.

The class provides a fixture ``site``, and sets ``power_cut`` when its host goes down without a shutdown.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support.hub_http import HubSession
from support.mixins.site import PASSWORD, Site, inspect
from support.poller import Notebook, Poll, get

#: Seconds from the end of the boot until the site responds; a busy machine needs a minute.
BOOT_SECONDS = 180
NOTE = {"type": "file", "format": "text", "content": "42"}


class Working(NamedTuple):
    """A user with a running notebook."""

    site: Site
    name: str
    notebook: Notebook


def started(site: Site, *containers: str) -> list[tuple[str, str]]:
    """Return identity and start time of containers."""
    found = [inspect(site.host, container) for container in containers]
    return [(container["Id"], container["State"]["StartedAt"]) for container in found]


def new_user(site: Site) -> tuple[str, HubSession]:
    """Sign up a new user and sign in."""
    name, session = f"user{secrets.token_hex(3)}", HubSession(site.url)
    session.sign_up(name, PASSWORD)
    assert session.sign_in(name, PASSWORD)
    return name, session


class HostTests:
    """A restart of Docker, and one of the host."""

    power_cut = False

    @pytest.fixture
    def working(self, site: Site) -> Iterator[Working]:
        # A reboot may have given the host another address.
        site = site._replace(url=f"http://{site.host.address}:8000")
        name, session = new_user(site)
        working = Working(site, name, Notebook(session, name))
        yield working
        working.notebook.session.stop(name)

    def test_a_restart_of_docker_interrupts_nobody(self, working: Working) -> None:
        site, notebook = working.site, working.notebook
        containers = (
            "jupyterhub",
            "jupyterhub-proxy",
            "jupyterhub-front",
            "jupyterhub-guard",
            f"jupyter-{working.name}",
        )
        before = started(site, *containers)
        name, session = new_user(site)
        session.spawn(name)
        session.stop(name)
        with Poll(notebook) as poll:
            site.host.run("systemctl restart docker")
        print(poll.report)
        assert started(site, *containers) == before
        assert poll.report.uninterrupted, poll.report
        session.spawn(name)  # with a volume that nobody has inspected since Docker's restart
        session.stop(name)

    def test_a_host_starts_its_site_after_a_reboot(self, working: Working) -> None:
        host = working.site.host
        working.notebook.session.contents("PUT", working.name, "answer.txt", json=NOTE)
        host.reboot(power_cut=self.power_cut)
        origin, deadline = f"http://{host.address}:8000", time.monotonic() + BOOT_SECONDS
        while problem := get(origin, "/hub/health"):
            assert time.monotonic() < deadline, f"{problem}\n{host.run('docker ps --all').stdout}"
            time.sleep(0.5)
        session = HubSession(origin)
        assert session.sign_in(working.name, PASSWORD)
        working.notebook.session.url = session.url
        assert working.notebook.problem_with_cookie() == "", "the login cookie of before is not accepted"
        working.notebook.session = session  # its cookies are for the new address
        session.spawn(working.name)
        assert session.contents("GET", working.name, "answer.txt")["content"] == NOTE["content"]

"""Fixtures of the tests that need machines. tests/conftest.py offers them to all tests; nothing is made until asked."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from . import registry as registries
from .hosts import ROOT, Host, remove_stale

#: Set to keep hosts when the tests end, to look at them; `make clean` removes them.
KEEP = "JHD_TEST_KEEP"

MakeHost = Callable[[str], Host]


@pytest.fixture(scope="session")
def engine() -> None:
    """Let there be a Docker engine on this machine, by the project's own role, and nothing left of killed runs."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        subprocess.run(["ansible-playbook", "tests/engine.yml"], cwd=ROOT, check=True)
    remove_stale()


@pytest.fixture(scope="session")
def make_host(engine: None) -> Iterator[MakeHost]:
    """Return a function that makes a fresh host of a kind (a key of ``hosts.images.KINDS``) for this test run."""
    made: list[Host] = []

    def make(kind: str) -> Host:
        # A host without an owner is removed by `make clean` alone.
        host = Host.create(kind, owner=None if os.environ.get(KEEP) else os.getpid())
        made.append(host)
        return host

    yield make
    if not os.environ.get(KEEP):
        for host in made:
            host.destroy()


@pytest.fixture(scope="session")
def registry(make_host: MakeHost) -> registries.Registry:
    """Return a private registry with TLS and one account, empty at first."""
    return registries.start(make_host("registry"))


class BareSite(NamedTuple):
    """The hub that ``make site`` made on a bare machine.

    Attributes:
        host: the machine; the project lies in ``project`` there.
        project: directory of the clone on the host.
        url: the hub's public address as this machine reaches it, without a trailing slash.
        admin: name of the admin account.
        password: the generated password, as root reads it from its file.
        output: everything that ``make site`` printed.
        seconds: how long it took.
    """

    host: Host
    project: str
    url: str
    admin: str
    password: str
    output: str
    seconds: float


def wants_bare_site(session: pytest.Session) -> bool:
    """Tell whether a test of this run uses the site on a bare machine."""
    return any("bare_site" in getattr(item, "fixturenames", ()) for item in session.items)


@pytest.fixture(scope="session")
def bare_site_ahead(
    make_host: MakeHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[concurrent.futures.Future[BareSite]]:
    """Type ``make site`` in a clone on a bare machine, as a newcomer would, and return what will come of it."""
    host = make_host("bare")
    project = host.copy_project()
    log = Path(tmp_path_factory.mktemp("bare"), "make-site.log")

    def make() -> BareSite:
        start = time.monotonic()
        output = host.run_logged(f"cd {project} && make site", log)
        return BareSite(
            host=host,
            project=project,
            url=f"http://{host.address}:8000",
            admin="admin",
            password=host.read("/etc/jupyterhub/secrets/admin_password").strip(),
            output=output,
            seconds=time.monotonic() - start,
        )

    pool = concurrent.futures.ThreadPoolExecutor(1)
    yield pool.submit(make)
    pool.shutdown(wait=False)  # a run that was stopped early does not wait: its host goes, and `make site` with it


@pytest.fixture(scope="session", autouse=True)
def _early_start(request: pytest.FixtureRequest) -> None:
    """Begin with the bare machine at once when a test will want it: it takes minutes that others can use."""
    if wants_bare_site(request.session):
        request.getfixturevalue("bare_site_ahead")


@pytest.fixture(scope="session")
def bare_site(bare_site_ahead: concurrent.futures.Future[BareSite]) -> BareSite:
    """Return what ``make site`` made on a bare machine, once it has."""
    return bare_site_ahead.result()

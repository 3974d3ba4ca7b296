"""Fixtures of the tests that need machines. tests/conftest.py offers them to all tests; nothing is made until asked."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from . import registry as registries
from .hosts import ROOT, Host, remove_stale
from .run import KEEP


class MakeHost(Protocol):
    """Makes a fresh host of a kind (a key of ``hosts.images.KINDS``) for this test run."""

    def __call__(self, kind: str, name: str | None = None) -> Host:
        """Make it, under a name of its own unless one is given."""


@pytest.fixture(scope="session")
def local_docker() -> None:
    """Install Docker by the project's own role if it is missing, and remove what killed runs have left."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        subprocess.run(["ansible-playbook", "tests/prepare.yml"], cwd=ROOT, check=True)
    remove_stale()


@pytest.fixture(scope="session")
def make_host(local_docker: None) -> Iterator[MakeHost]:
    """Return a function that makes hosts, which are removed at the end."""
    made: list[Host] = []

    def make(kind: str, name: str | None = None) -> Host:
        host = Host.create(kind, name)
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
        host: the machine; the project is in ``project`` there.
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


#: Where a bare machine says that `make site` has ended there, and with which exit code.
MADE = "/root/site-made"
#: Name of the one bare machine of a test run.
BARE_SITE = "bare-site"


@pytest.fixture(scope="session")
def bare_site(make_host: MakeHost, tmp_path_factory: pytest.TempPathFactory) -> BareSite:
    """Type ``make site`` in a clone on a bare machine, as a newcomer would, and return the result."""
    host = make_host("bare", BARE_SITE)
    project = host.copy_project()
    log = Path(tmp_path_factory.mktemp("bare"), "make-site.log")
    start = time.monotonic()
    output = host.run_logged(f"cd {project} && make site; code=$?; echo $code > {MADE}; exit $code", log)
    return BareSite(
        host=host,
        project=project,
        url=f"http://{host.address}:8000",
        admin="admin",
        password=host.read("/etc/jupyterhub/secrets/admin_password").strip(),
        output=output,
        seconds=time.monotonic() - start,
    )

"""Fixtures with the names of the project's own images on this machine's Docker, built once and then kept."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .fixtures import BARE_SITE, MADE
from .hosts import ROOT, Host
from .images import DockerError, docker

#: Repository of the images that tests use, so that a hub on this machine keeps its own. Two checkouts with different
#: images need one each while they are tested at the same time.
REPOSITORY = os.environ.get("JHD_TEST_IMAGES", "jupyterhub-deploy-test")

NameOf = Callable[[str], str]


def copy_images(host: Host) -> None:
    """Copy the project's own images from a test host's Docker to this machine's, into the tests' repository."""
    built = host.run("docker images --format '{{.Repository}}:{{.Tag}}' 'jupyterhub-deploy/*'").stdout.split()
    names = [f"{REPOSITORY}/{name.partition('/')[2]}" for name in built]
    for name, copy in zip(built, names):
        host.run(["docker", "tag", name, copy])
    with subprocess.Popen(["docker", "exec", host.container, "docker", "save", *names], stdout=subprocess.PIPE) as save:
        subprocess.run(["docker", "load", "--quiet"], stdin=save.stdout, check=True)


def bare_host_when_made() -> Host | None:
    """Wait until `make site` has ended on this run's bare machine; ``None`` when there is none, or it failed."""
    while True:
        try:
            host = Host.find(BARE_SITE)
        except DockerError:
            return None
        done = host.run(["cat", MADE], check=False)
        if not done.returncode:
            return host if done.stdout == "0\n" else None
        time.sleep(2)


@pytest.fixture(scope="session")
def built_images(local_docker: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return a function from a version of JupyterHub to what role ``jupyterhub_images`` made for it."""
    directory: Path = tmp_path_factory.mktemp("images")
    # On a fresh machine another process of this run may have the bare one build the same images at this moment: take
    # them from there, in a tenth of the time. The role then decides whether they are what it would build.
    if not docker("images", "--quiet", f"{REPOSITORY}/*") and (host := bare_host_when_made()):
        copy_images(host)

    @functools.cache
    def build(version: str) -> dict[str, Any]:
        result = directory / f"{version}.json"
        command = [
            "ansible-playbook",
            "-i",
            "localhost,",
            "tests/images.yml",
            "-e",
            f"version={version} result={result} repository={REPOSITORY}",
        ]
        subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
        images: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return images

    return build


@pytest.fixture(scope="session")
def hub_image(built_images: Callable[[str], dict[str, Any]]) -> NameOf:
    """Return a function from a version of JupyterHub to the name of its hub image."""
    return lambda version: str(built_images(version)["hub"])


@pytest.fixture(scope="session")
def notebook_image(built_images: Callable[[str], dict[str, Any]]) -> NameOf:
    """Return a function from a version of JupyterHub to the name of the notebook image that goes with it."""
    return lambda version: str(built_images(version)["notebook"])


@pytest.fixture(scope="session")
def front_image(built_images: Callable[[str], dict[str, Any]]) -> str:
    """Return the name of the front's image; there is one for all versions of JupyterHub."""
    return str(built_images("5.5.4")["front"])


@pytest.fixture(scope="session")
def proxy_image(built_images: Callable[[str], dict[str, Any]]) -> str:
    """Return the name of the proxy image; there is one for all versions of JupyterHub."""
    return str(built_images("5.5.4")["proxy"])

"""Fixtures with the names of the project's own images on this machine's engine, built once and then kept."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .fixtures import wants_bare_site
from .hosts import ROOT, Host
from .images import docker

#: Names of the project's own images, as a pattern for Docker.
OURS = "jupyterhub-deploy/*"

NameOf = Callable[[str], str]


def copy_images(host: Host) -> None:
    """Copy the project's own images from a test host's engine to this machine's."""
    names = host.run(f"docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' '{OURS}'").stdout.split()
    with subprocess.Popen(["docker", "exec", host.container, "docker", "save", *names], stdout=subprocess.PIPE) as save:
        subprocess.run(["docker", "load", "--quiet"], stdin=save.stdout, check=True)


@pytest.fixture(scope="session")
def built_images(
    request: pytest.FixtureRequest, engine: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """Return a function from a version of JupyterHub to what role ``jupyterhub_images`` made for it."""
    directory: Path = tmp_path_factory.mktemp("images")
    # On a fresh machine the bare one builds the same images at this moment: take them from there, in a tenth of the
    # time. The role then decides whether they are what it would build.
    if wants_bare_site(request.session) and not docker("images", "--quiet", OURS):
        copy_images(request.getfixturevalue("bare_site").host)

    @functools.cache
    def build(version: str) -> dict[str, Any]:
        result = directory / f"{version}.json"
        command = ["ansible-playbook", "tests/images.yml", "-e", f"version={version} result={result}"]
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
def proxy_image(built_images: Callable[[str], dict[str, Any]]) -> str:
    """Return the name of the proxy image; there is one for all versions of JupyterHub."""
    return str(built_images("5.5.4")["proxy"])

"""Fixtures with the names of the project's own images on this machine's engine, built once and then kept."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .hosts import ROOT

NameOf = Callable[[str], str]


@pytest.fixture(scope="session")
def built_images(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return a function from a version of JupyterHub to what role ``jupyterhub_images`` made for it."""
    directory: Path = tmp_path_factory.mktemp("images")

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

"""Images in the tests' private registry, and this machine's Docker, which pulls them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

import jupyterhub_image
from hosts.registry import Registry
from support.factories import images
from support.modules import ModuleError, run

CERTIFICATES = Path("/etc/docker/certs.d")


class Shelf:
    """Images in the registry, and this machine's Docker, which has none of them at first."""

    def __init__(self, registry: Registry, client: Any, folder: Path) -> None:
        self.registry, self.client, self.folder = registry, client, folder
        self.login = {"registry": registry.server, "username": registry.username, "password": registry.password}

    def name(self, image: str) -> str:
        return f"{self.registry.server}/{image}"

    def push(self, image: str, version: str) -> str:
        """Put an image into the registry and return its id, and remove it from Docker."""
        name = self.name(image)
        made = images.make(self.client, name, images.single_user(version))
        auth = {"username": self.registry.username, "password": self.registry.password}
        for event in self.client.push(name, stream=True, decode=True, auth_config=auth):
            assert "error" not in event, event
        self.digest = self.client.inspect_image(name)["RepoDigests"][0].partition("@")[2]
        self.forget()
        return made

    def ids(self) -> dict[str, str]:
        """Return what Docker has from this registry: ids by name."""
        return {
            name: image["Id"]
            for image in self.client.images()
            for name in [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]
            if name.startswith(self.registry.server)
        }

    def forget(self) -> None:
        for name in self.ids():
            with contextlib.suppress(docker.errors.APIError):
                self.client.remove_image(name, force=True)

    def arguments(self, *names: str, **settings: Any) -> dict[str, Any]:
        first, *more = names
        return {
            "images": [{"purpose": "notebook", "reference": first}],
            "notebooks": more,
            "hub_version": "5.5.4",
            "registry_logins": [self.login],
            "choice_file": str(self.folder / "choice"),
            "smoke_tests_file": str(self.folder / "tests"),
            "record_file": str(self.folder / "images"),
            **settings,
        }

    def get(self, *names: str, check: bool = False, **settings: Any) -> dict[str, Any]:
        return run(jupyterhub_image, check=check, **self.arguments(*names, **settings))

    def refusal(self, *names: str, **settings: Any) -> str:
        """Return the error; nothing may have been changed before it."""
        before, files = self.ids(), sorted(self.folder.iterdir())
        with pytest.raises(ModuleError) as error:
            self.get(*names, **settings)
        assert self.ids() == before
        assert sorted(self.folder.iterdir()) == files
        assert self.registry.password not in json.dumps(error.value.result)
        return str(error.value)


@contextlib.contextmanager
def trusted(registry: Registry) -> Iterator[None]:
    """Let this machine's Docker trust the registry's certificate."""
    folder = CERTIFICATES / registry.server
    folder.mkdir(parents=True)
    try:
        (folder / "ca.crt").write_text(registry.certificate)
        yield
    finally:
        (folder / "ca.crt").unlink()
        folder.rmdir()

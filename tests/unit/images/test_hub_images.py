"""What a run that fails leaves of the images' names, and what one that was killed leaves of containers."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.images.hub_images import HubImages
from ansible.module_utils.jupyterhub_deploy.images.plan import Present


def present(identity: str) -> Present:
    return Present(identity, "", [], "2026-11-29T00:00:00Z")


@pytest.fixture
def images() -> HubImages:
    """Images of a hub, all of which a run has replaced but one."""
    made = object.__new__(HubImages)
    names = {"hub": "deploy/hub:1", "notebook": "reg.example.com:5000/lab/notebook:1", "extra": "lab/r"}
    made.images = [SimpleNamespace(purpose=purpose, name=name) for purpose, name in names.items()]  # type: ignore[misc]
    made.images.append(SimpleNamespace(purpose="extra", name="lab/same:1"))  # type: ignore[arg-type]
    made.before = {one.name: present(f"old-{one.purpose}") for one in made.images}
    now = {name: present(f"new-{purpose}") for purpose, name in names.items()} | {"lab/same:1": present("old-extra")}
    made.inspect = lambda name, client=None: now.get(name)  # type: ignore[method-assign]
    made.client = Mock()
    return made


def test_a_failed_run_gives_the_names_of_notebook_images_back(images: HubImages) -> None:
    images.put_names_back()
    assert [call.args for call in images.client.tag.call_args_list] == [
        ("old-notebook", "reg.example.com:5000/lab/notebook", "1"),
        ("old-extra", "lab/r", "latest"),
    ]


def test_an_image_that_was_new_keeps_its_name(images: HubImages) -> None:
    images.before = {}
    images.put_names_back()
    images.client.tag.assert_not_called()


def test_containers_of_a_killed_run_are_removed(images: HubImages) -> None:
    def containers(filters: dict[str, str], **_: Any) -> list[dict[str, Any]]:
        purpose, now = filters["label"].rpartition("=")[2], int(time.time())
        return [{"Id": f"old-{purpose}", "Created": now - 3600}, {"Id": f"new-{purpose}", "Created": now - 60}]

    images.client = Mock(containers=containers)
    images.client.remove_container.side_effect = docker_errors.NotFound("removed meanwhile")
    images.remove_leftovers()
    removed = [call.args[0] for call in images.client.remove_container.call_args_list]
    assert removed == ["old-smoke-test", "old-packages"]

"""A hub is not called removed while Docker is stopped; tests/integration/site removes one."""

from __future__ import annotations

import docker
import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.docker import client

import jupyterhub_teardown
from support.modules import ModuleError, run


def test_without_docker_nothing_is_called_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SOCKET", "/nowhere/docker.sock")
    with pytest.raises(ModuleError, match="Docker does not answer"):
        run(jupyterhub_teardown, name="lab")
    result = run(jupyterhub_teardown, check=True, name="lab")
    assert (result["changed"], result["messages"]) == (False, [])


class Docker:
    """Docker that answers the removal of a container with an error."""

    def __init__(self, status: int, explanation: str) -> None:
        self.response, self.explanation = requests.Response(), explanation
        self.response.status_code = status

    def stop(self, name: str, timeout: float) -> None:
        pass

    def remove_container(self, name: str) -> None:
        raise docker.errors.APIError("", self.response, self.explanation)


@pytest.mark.parametrize("answer", [(404, "No such container"), (409, "removal of container 1 is already in progress")])
def test_a_container_that_docker_removes_itself_is_removed(answer: tuple[int, str]) -> None:
    jupyterhub_teardown.remove(Docker(*answer), ["lab-disk-1"], [])


def test_a_container_that_cannot_be_removed_is_an_error() -> None:
    with pytest.raises(docker.errors.APIError, match="device is busy"):
        jupyterhub_teardown.remove(Docker(500, "device is busy"), ["lab"], [])

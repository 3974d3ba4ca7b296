"""A hub is not called removed while Docker is stopped; tests/integration/site removes one."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import client

import jupyterhub_teardown
from support.modules import ModuleError, run


def test_without_docker_nothing_is_called_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SOCKET", "/nowhere/docker.sock")
    with pytest.raises(ModuleError, match="Docker does not answer"):
        run(jupyterhub_teardown, name="lab")
    result = run(jupyterhub_teardown, check=True, name="lab")
    assert (result["changed"], result["messages"]) == (False, [])

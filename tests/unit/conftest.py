"""What unit tests share: they find no Docker, so that their results do not depend on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import client
from ansible.module_utils.jupyterhub_deploy.hub import lock


@pytest.fixture(autouse=True)
def no_docker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no unit test reach the Docker of this machine."""
    monkeypatch.setattr(lock, "DIRECTORY", str(tmp_path_factory.getbasetemp()))  # only root can write to /run
    monkeypatch.setattr(client, "SOCKET", str(Path(tmp_path_factory.getbasetemp(), "no-docker.sock")))

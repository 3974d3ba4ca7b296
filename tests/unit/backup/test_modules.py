"""The modules for backups when Docker or the system reports an error: one sentence, no traceback."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.backup import run as backup_run
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.schedule import settings

import jupyterhub_backup
import jupyterhub_backup_copy
import jupyterhub_backup_status
import jupyterhub_backup_verify
from support import modules


class Client:
    """Docker, which stops responding after the connection was made."""

    def inspect_container(self, name: str) -> None:
        raise docker.errors.NotFound(name)

    def containers(self, **_: Any) -> None:
        raise docker.errors.APIError("out of memory")


def test_an_error_of_docker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_run, "connect", Client)
    with pytest.raises(modules.ModuleError) as error:
        modules.run(jupyterhub_backup, name="hub", directory=str(tmp_path / "backups"))
    assert str(error.value) == (
        "Docker or the system failed while backing up volumes: out of memory; fix that, then run the same again"
    )


@pytest.mark.parametrize(
    ("module", "doing", "arguments"),
    [
        (jupyterhub_backup_verify, "verifying backups", {"name": "hub"}),
        (jupyterhub_backup_status, "reading the status of backups", {"name": "hub"}),
        (jupyterhub_backup_copy, "copying backups", {"state": "offered"}),
    ],
)
def test_an_error_of_the_disk_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, doing: str, arguments: dict[str, Any]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store, "folders", fail)
    monkeypatch.setattr(settings, "read", fail)
    with pytest.raises(modules.ModuleError) as error:
        modules.run(module, directory=str(tmp_path), **arguments)
    assert str(error.value).startswith(f"Docker or the system failed while {doing}: [Errno 5] Input/output error; ")

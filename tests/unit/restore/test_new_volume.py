"""A restore to a volume that does not exist, killed after each step. Docker is a directory; the kill is real."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import runner, store
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors
from ansible.module_utils.jupyterhub_deploy.docker.labels import (
    LABEL_HUB,
    LABEL_RESTORING,
    LABEL_USER,
    LABEL_USER_SINCE,
)
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from ansible.module_utils.jupyterhub_deploy.restore import swap, volumes
from ansible.module_utils.jupyterhub_deploy.restore.host import Host
from ansible.module_utils.jupyterhub_deploy.restore.select import Job

from support.factories import backups
from support.kills import Step, killed_after

LABELS = {LABEL_HUB: backups.HUB, LABEL_USER: "alice"}


class Docker:
    """The volumes of Docker, which outlive the process that creates them."""

    def __init__(self, root: Path) -> None:
        self.root = root / "volumes"
        self.root.mkdir()

    def create_volume(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        if not (self.root / name).exists():
            (self.root / name / "_data").mkdir(parents=True)
            (self.root / name / "labels").write_text(json.dumps(labels))
        return self.inspect_volume(name)

    def inspect_volume(self, name: str) -> dict[str, Any]:
        if not (self.root / name).exists():
            raise docker_errors.NotFound(name)
        labels = json.loads((self.root / name / "labels").read_text())
        return {"Name": name, "Driver": "local", "Labels": labels, "Mountpoint": str(self.root / name / "_data")}

    def remove_volume(self, name: str) -> None:
        shutil.rmtree(self.root / name)

    def volumes(self, filters: dict[str, Any]) -> dict[str, Any]:
        found = [self.inspect_volume(name) for name in sorted(os.listdir(self.root))]
        return {"Volumes": [one for one in found if LABEL_RESTORING in one["Labels"]]}

    def containers(self, **_: Any) -> list[Any]:
        return []

    def info(self) -> dict[str, str]:
        return {"DockerRootDir": str(self.root.parent)}


def steps(client: Docker) -> list[Step]:
    """Return what changes volumes, or asks for the containers that use one."""
    own = [(client, name) for name in ("create_volume", "remove_volume", "containers")]
    return [*own, (swap, "exchange"), (os, "rename"), (subprocess, "Popen")]


def restore(client: Docker, directory: Path) -> dict[str, Any]:
    """Restore the only backup, as the module does."""
    host = Host(client, backups.HUB)
    (backup,) = store.backups_in(str(directory), backups.VOLUME)
    settings = volumes.RestoreSettings(
        backups.HUB, str(directory), "restored", ["alice"], [], False, None, None, True, False, "", 60, 1, False
    )
    host.remove_interrupted()
    return volumes.restore(host, Job(backup, backups.VOLUME, "alice"), settings, check_mode=False)


def test_a_kill_after_any_step_leaves_nothing_that_a_backup_takes_for_a_users_volume(tmp_path: Path) -> None:
    content = backups.joined([backups.ROOT, backups.member(b"./file", b"new")])
    # A restored volume is for the present user of its name, who may have been added later.
    backups.put(tmp_path / "backups", content, 2, labels={**LABELS, LABEL_USER_SINCE: "2025-01-01T00:00:00"})
    seen = set()
    for step in range(1, 100):
        (tmp_path / str(step)).mkdir()
        client = Docker(tmp_path / str(step))
        killed = killed_after(step, steps(client), functools.partial(restore, client, tmp_path / "backups"))
        restoring = {one["Labels"][LABEL_RESTORING] for one in client.volumes({})["Volumes"]}
        data = client.root / backups.VOLUME / "_data"
        if not data.exists():
            seen.add("no volume")
        elif os.listdir(data):
            seen.add("the data")
            assert (data / "file").read_text() == "new"
        else:
            seen.add("an empty volume")
            refused = runner.refusal(Volume.of(client.inspect_volume(backups.VOLUME)), restoring)
            assert (refused or "").startswith(f"volume {backups.VOLUME} is empty, because its restore was interrupted;")
        if not killed:
            break

        shown = restore(client, tmp_path / "backups")["message"]

        assert f" of {backups.VOLUME}, 2 entries, 3 B" in shown
        assert os.listdir(client.root) == [backups.VOLUME], step
        assert client.inspect_volume(backups.VOLUME)["Labels"] == LABELS
        assert (data / "file").read_text() == "new"
        assert not (data.parent / swap.STAGING).exists()
    assert seen == {"no volume", "an empty volume", "the data"}
    assert step > 5


def test_a_volume_that_is_created_during_its_restore_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.put(tmp_path / "backups", backups.joined([backups.ROOT]), 1)
    client, compare = Docker(tmp_path), volumes.extract.compare

    def with_a_new_volume(*arguments: Any) -> None:
        compare(*arguments)
        Path(client.create_volume(backups.VOLUME, LABELS)["Mountpoint"], "mine").touch()

    monkeypatch.setattr(volumes.extract, "compare", with_a_new_volume)
    with pytest.raises(volumes.DeployError, match="was created meanwhile; nothing was restored to it; try again"):
        restore(client, tmp_path / "backups")
    assert os.listdir(client.root) == [backups.VOLUME]
    assert os.listdir(client.root / backups.VOLUME / "_data") == ["mine"]

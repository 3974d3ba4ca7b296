"""A restore to a volume that does not exist, killed after each step, and whose the volume is.

Docker is a directory; the kill is real.
"""

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

import jupyterhub_restore
from support.factories import backups
from support.kills import Step, killed_after
from support.modules import ModuleError, run

LABELS = {LABEL_HUB: backups.HUB, LABEL_USER: "alice"}
EARLIER = {**LABELS, LABEL_USER_SINCE: "2025-01-01T00:00:00"}  # two users of one name
LATER = {**LABELS, LABEL_USER_SINCE: "2026-01-01T00:00:00"}


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
        backups.HUB, str(directory), "restored", ["alice"], [], False, None, None, True, False, "", 60, 1, False, ""
    )
    host.remove_interrupted()
    return volumes.restore(host, Job(backup, backups.VOLUME, "alice"), settings, check_mode=False)


def test_a_kill_after_any_step_leaves_nothing_that_a_backup_takes_for_a_users_volume(tmp_path: Path) -> None:
    content = backups.joined([backups.ROOT, backups.member(b"./file", b"new")])
    backups.put(tmp_path / "backups", content, 2, labels=EARLIER)
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
        assert client.inspect_volume(backups.VOLUME)["Labels"] == EARLIER
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


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Docker, while there is a backup of the earlier alice."""
    content = backups.joined([backups.ROOT, backups.member(b"./file", b"earlier")])
    backups.put(tmp_path / "backups", content, 2, labels=EARLIER)
    client = Docker(tmp_path)
    monkeypatch.setattr(jupyterhub_restore, "connect", lambda: client)
    return client


def run_module(tmp_path: Path, **arguments: Any) -> dict[str, Any]:
    directory = str(tmp_path / "backups")
    return run(jupyterhub_restore, name=backups.HUB, directory=directory, state="restored", **arguments)


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        ({"every_volume": True}, EARLIER),
        ({"every_volume": True, "backup": backups.STEM}, EARLIER),
        ({"users": ["alice"]}, EARLIER),
        ({"users": ["alice"], "backup": backups.STEM}, LABELS),
        ({"users": ["alice"], "to_user": "bob"}, {**LABELS, LABEL_USER: "bob"}),
    ],
)
def test_a_new_volume_is_for_the_user_of_the_backup_unless_it_is_handed_over(
    tmp_path: Path, client: Docker, arguments: dict[str, Any], labels: dict[str, str]
) -> None:
    (done,) = run_module(tmp_path, **arguments)["restored"]
    assert client.inspect_volume(done["volume"])["Labels"] == labels


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("arguments", [{"users": ["alice"]}, {"every_volume": True, "backup": backups.STEM}])
def test_the_files_of_an_earlier_user_are_not_restored_to_a_later_one(
    tmp_path: Path, client: Docker, arguments: dict[str, Any], check: bool
) -> None:
    mine = Path(client.create_volume(backups.VOLUME, LATER)["Mountpoint"], "mine")
    mine.touch()
    with pytest.raises(ModuleError) as refusal:
        run_module(tmp_path, check=check, **arguments)
    (failed,) = refusal.value.result["failed_volumes"]
    assert failed["message"] == (
        f"backup {backups.STEM} of volume {backups.VOLUME} is of the user of this name who was added to the hub at "
        "2025-01-01T00:00:00, and the volume is of the one who was added at 2026-01-01T00:00:00; nothing was restored "
        "to it; to give the files to the present user, run "
        f"`make restore ARGS='-e user=alice -e backup={backups.STEM}'` with the other parameters of this run"
    )
    assert mine.exists()


@pytest.mark.parametrize(
    ("labels", "arguments"),
    [
        (LATER, {"users": ["alice"], "backup": backups.STEM}),
        (LATER, {"users": ["alice"], "to_user": "alice"}),
        (LABELS, {"users": ["alice"]}),
        (EARLIER, {"users": ["alice"]}),
    ],
)
def test_a_volume_gets_the_files_of_its_user_or_those_that_are_handed_over(
    tmp_path: Path, client: Docker, labels: dict[str, str], arguments: dict[str, Any]
) -> None:
    data = Path(client.create_volume(backups.VOLUME, labels)["Mountpoint"])
    run_module(tmp_path, **arguments)
    assert (data / "file").read_text() == "earlier"
    assert client.inspect_volume(backups.VOLUME)["Labels"] == labels

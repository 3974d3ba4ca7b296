"""Which backups a restore selects, and why it refuses others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore.host import Host
from ansible.module_utils.jupyterhub_deploy.restore.select import Job, jobs_for, select_hub_state, select_volumes

from support.factories.backups import HUB, ROOT, joined, put

OLDER, NEWER = "20261122T014440Z", "20261123T014440Z"


def write(directory: Path, stem: str, **changes: str) -> Backup:
    return put(directory, joined([ROOT]), 1, stem=stem, **{"volume": "alice", **changes})


def damage(backup: Backup) -> None:
    Path(backup.manifest_path).write_text("{", encoding="utf-8")


def test_the_newest_or_the_named_backup_is_selected(tmp_path: Path) -> None:
    older, newer = write(tmp_path, OLDER), write(tmp_path, NEWER)

    assert select_volumes(str(tmp_path), HUB, ["alice"], [], None) == ([newer], [])
    assert select_volumes(str(tmp_path), HUB, [], ["alice"], OLDER) == ([older], [])
    assert select_volumes(str(tmp_path), HUB, ["bob"], [], None) == (
        [],
        [f"user bob has no backup in {tmp_path}; `make restore` lists all"],
    )


def test_a_damaged_newest_backup_is_reported_and_no_older_one_is_taken(tmp_path: Path) -> None:
    older, newer = write(tmp_path, OLDER), write(tmp_path, NEWER)
    damage(newer)

    selected, (problem,) = select_volumes(str(tmp_path), HUB, [], ["alice"], None)
    assert selected == []
    assert problem.endswith("; name another backup of alice to restore that one")
    assert select_volumes(str(tmp_path), HUB, [], ["alice"], OLDER) == ([older], [])


def test_a_directory_with_the_name_of_a_backup_is_not_taken_for_it(tmp_path: Path) -> None:
    # The error text has this path twice, and its first match is not the manifest's name.
    directory = tmp_path / "alice" / f"{OLDER}.json"
    directory.mkdir(parents=True)
    newer = write(directory, NEWER)
    damage(newer)

    selected, (problem,) = select_volumes(str(directory), HUB, [], ["alice"], NEWER)
    assert selected == []
    assert newer.manifest_path in problem


def test_a_damaged_backup_of_the_hub_is_found_below_a_directory_named_hub(tmp_path: Path) -> None:
    directory = tmp_path / "hub"
    directory.mkdir()
    older = put(directory, joined([ROOT]), 1, stem=OLDER, kind="hub", volume=None, user=None, folder="hub")
    newer = put(directory, joined([ROOT]), 1, stem=NEWER, kind="hub", volume=None, user=None, folder="hub")
    damage(older)

    # The older one is damaged and was not asked for.
    assert select_hub_state(str(directory), HUB, None) == newer
    damage(newer)
    with pytest.raises(DeployError, match=f"{NEWER}.json is not JSON.*name another backup of the hub"):
        select_hub_state(str(directory), HUB, NEWER)
    with pytest.raises(DeployError, match="there is no backup 20261121T014440Z of the hub's state"):
        select_hub_state(str(directory), HUB, "20261121T014440Z")


def test_the_damaged_backups_of_a_user_are_not_called_missing(tmp_path: Path) -> None:
    damage(write(tmp_path, OLDER, volume=f"{HUB}-user-alice"))

    selected, (problem,) = select_volumes(str(tmp_path), HUB, ["alice"], [], None)
    assert selected == []
    assert problem.endswith(f"; name another backup of {HUB}-user-alice to restore that one")
    assert select_volumes(str(tmp_path), HUB, ["bob"], [], None)[1] == [
        f"user bob has no backup in {tmp_path}; `make restore` lists all"
    ]


def test_a_user_of_that_name_at_another_hub_is_not_restored(tmp_path: Path) -> None:
    for hub in ("lab", "course"):
        write(tmp_path, NEWER, hub=hub, volume=f"{hub}-user-alice")

    selected, problems = select_volumes(str(tmp_path), "lab", ["alice"], [], None)

    assert ([one.manifest.volume for one in selected], problems) == (["lab-user-alice"], [])


def test_another_user_gets_one_volume(tmp_path: Path) -> None:
    alice, bob = write(tmp_path, NEWER), write(tmp_path, NEWER, volume="bob")

    assert jobs_for([alice], HUB, ["alice"], "carol") == [Job(alice, f"{HUB}-user-carol", "carol", hands_over=True)]
    with pytest.raises(DeployError, match="to_user takes the backup of one volume, and these were chosen: alice, bob"):
        jobs_for([alice, bob], HUB, [], "carol")
    with pytest.raises(DeployError, match="to_user takes the backup of one volume, and these were chosen: none"):
        jobs_for([], HUB, [], "carol")


@pytest.mark.parametrize(
    ("volume", "shown"),
    [
        ({"Driver": "nfs", "Options": None}, "driver nfs with options none"),
        ({"Driver": "local", "Options": {"type": "nfs"}}, "driver local with options {'type': 'nfs'}"),
        ({"Driver": "local", "Options": {"size": "10G", "type": "nfs"}}, "driver local with options .*'type': 'nfs'}"),
    ],
)
def test_a_volume_with_a_driver_is_not_replaced(volume: dict[str, Any], shown: str, tmp_path: Path) -> None:
    client = SimpleNamespace(inspect_volume=lambda name: volume)

    with pytest.raises(
        DeployError, match=f"volume alice has {shown}; only volumes of driver local .* remove the volume"
    ):
        Host(client, HUB).home(Job(write(tmp_path, NEWER), "alice", "alice"))


def test_a_volume_with_a_quota_is_replaced(tmp_path: Path) -> None:
    volume = {"Driver": "local", "Options": {"size": "10G"}, "Mountpoint": "/volumes/alice/_data", "Labels": None}
    client = SimpleNamespace(inspect_volume=lambda name: volume)

    assert Host(client, HUB).home(Job(write(tmp_path, NEWER), "alice", "alice")) == "/volumes/alice"

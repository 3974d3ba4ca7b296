"""What a run of backups reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import run as backup_run
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

from support import backup_data
from support.factories.backups import ROOT, joined, put


@pytest.mark.parametrize("check_mode", [True, False])
def test_nothing_is_written_below_a_disk_that_is_not_mounted(monkeypatch: pytest.MonkeyPatch, check_mode: bool) -> None:
    monkeypatch.setattr(store, "missing_disk", {"/b": "/b"}.get)
    with pytest.raises(DeployError, match=r"fstab mounts at /b is not mounted, and backups would .* run `mount /b`"):
        backup_run.run(backup_data.settings(), check_mode, Reporter(None))


@pytest.mark.parametrize("check_mode", [True, False])
def test_the_backups_of_another_hubs_state_are_not_replaced(tmp_path: Path, check_mode: bool) -> None:
    """Both hubs would write to the folder `hub`, and retention would remove the backups of the other one."""
    put(tmp_path, joined([ROOT]), 1, kind="hub", hub="course", volume=None, folder="hub", user=None)

    with pytest.raises(DeployError, match=f"{tmp_path} has backups of hub course, .* for example {tmp_path}/lab"):
        backup_run.run(backup_data.settings(name="lab", directory=str(tmp_path)), check_mode, Reporter(None))


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_run, "connect", lambda: None)
    (tmp_path / "backups").touch()
    with pytest.raises(DeployError, match=f"directory {tmp_path}/backups for backups cannot be created"):
        backup_run.run(backup_data.settings(directory=f"{tmp_path}/backups"), False, Reporter(None))


def test_a_run_with_failures_names_each() -> None:
    results: list[dict[str, Any]] = [
        {"name": "a", "action": "backed_up", "size": 3, "content_size": 9},
        {"name": "b", "action": "failed", "error": "disk full"},
        {"name": "c", "action": "failed", "error": "vanished"},
        {"name": "d", "action": "unchanged"},
    ]

    assert backup_run.failure(results) == ("2 of 4 backups failed, 2 are up to date: b: disk full; c: vanished")
    assert backup_run.failure(results[:1]) is None
    assert backup_run.sums(results) == {"backed_up": 1, "unchanged": 1, "failed": 2, "size": 3, "content_size": 9}


def test_the_messages_name_what_an_administrator_should_know() -> None:
    done: dict[str, Any] = {"name": "a", "action": "backed_up", "changed_files": ["./x"], "unrestorable": ["./y"]}
    done.update(stopped=["jupyter-alice"], not_at_rest=["tool was not stopped: the hub does not know it as a server"])
    totals = backup_run.sums([done, {"name": "b", "action": "unchanged"}])

    assert backup_run.messages([done], totals, ["/b/.x"], ["/b/a/old.tar"], "/b", check_mode=False) == [
        "backed up: 1, unchanged: 1, in /b",
        "old backups removed: 1",
        "removed after an interrupted run: /b/.x",
        "a: files changed while they were read; its manifest lists them",
        "a: has paths that are too long to restore; its manifest lists them for its user to shorten",
        "jupyter-alice: stopped for its backup",
        "tool was not stopped: the hub does not know it as a server",
    ]
    failed: list[dict[str, Any]] = [
        {"name": "hub", "action": "failed", "error": "disk full; free some space"},
        {"name": "b", "user": "bob", "action": "failed", "error": "volume b has a wrong name; rename it"},
        {"name": "c", "user": None, "action": "failed", "error": "vanished"},
    ]
    assert backup_run.messages(failed, backup_run.sums(failed), [], [], "/b", check_mode=False)[1:] == [
        "NOT BACKED UP: the hub's own state: disk full; free some space",
        "NOT BACKED UP: volume b of user bob: has a wrong name; rename it",
        "NOT BACKED UP: volume c: vanished",
    ]
    assert backup_run.messages([], totals, [], [], "/b", check_mode=True) == [
        "would be backed up: 1, unchanged: 1, in /b"
    ]

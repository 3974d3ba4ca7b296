"""Which volumes can be backed up, when a backup is skipped, and how failures are reported."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import run as backup_run
from ansible.module_utils.jupyterhub_deploy.backup import runner, settings
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

from support import backup_data

NIGHT = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)


def volume(name: str, hub: str | None = None, user: str | None = None, **more: Any) -> Volume:
    labels = {key: value for key, value in ((LABEL_HUB, hub), (LABEL_USER, user)) if value is not None}
    return Volume.of({"Name": name, "Driver": "local", "Labels": labels or None, "Options": None, **more})


def test_a_volume_named_like_the_folder_of_the_hub_is_refused() -> None:
    assert (runner.refusal(volume("hub"), ()) or "").startswith("volume hub has a name that backups use")
    assert runner.refusal(volume("a1"), ()) is None


def test_a_backup_is_skipped_only_when_the_newest_has_the_same_trusted_scan() -> None:
    def backup(days: int, scan: str | None) -> Backup:
        moment = NIGHT + timedelta(days=days)
        return Backup("/b", "x", backup_data.manifest(moment, scan=scan))

    old, new = backup(0, "1"), backup(1, "2")
    assert runner.unchanged("2", [old, new]) is new
    assert runner.unchanged("1", [old, new]) is None
    assert runner.unchanged(None, [backup(0, None)]) is None
    assert runner.unchanged("1", []) is None


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
    assert backup_run.messages([], totals, [], [], "/b", check_mode=True) == [
        "would be backed up: 1, unchanged: 1, in /b"
    ]


@pytest.mark.parametrize(
    ("files", "shown"), [({}, "0 B in 1 entry, stored as "), ({"a": b"x" * 1500}, "1.5 kB in 2 entries, stored as ")]
)
def test_the_line_of_a_volume_has_the_size_of_its_files(
    files: dict[str, bytes], shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tar stream has at least 1 MiB, with zeros at its end."""
    (tmp_path / "data").mkdir()
    for name, content in files.items():
        (tmp_path / "data" / name).write_bytes(content)
    options = {name: option.get("default") for name, option in settings.BACKUP.items()}
    options.update(name="lab", directory=str(tmp_path / "backups"), compression="none")
    run = runner.Runner(None, settings.load(settings.BackupSettings, options), False, Reporter("-"))

    run.back_up_directory("lab-user-alice", volume("lab-user-alice"), str(tmp_path / "data"))

    assert capsys.readouterr().out.startswith(f"lab-user-alice: {shown}")

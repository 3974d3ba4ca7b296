"""Backups that are being written: the commit, permissions, and what killed runs leave."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.backup.draft import Draft, clean, create
from ansible.module_utils.jupyterhub_deploy.backup.manifest import Manifest

from support import backup_data

NIGHT = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)
FOLDER = "jupyterhub-user-alice"
STEM = "20261123T014440Z"


def begun(tmp_path: Path) -> tuple[Draft, Manifest]:
    made = Draft(str(tmp_path), FOLDER, "none")
    os.close(create(made.archive_partial))
    return made, backup_data.manifest(store.time_of(made.stem))


def test_a_draft_becomes_a_backup_that_only_root_can_read(tmp_path: Path) -> None:
    made, manifest = begun(tmp_path)
    assert store.backups_in(str(tmp_path), FOLDER) == []
    made.commit(manifest)
    (backup,) = store.backups_in(str(tmp_path), FOLDER)

    assert backup.manifest == manifest
    assert backup.time == store.time_of(made.stem)
    assert sorted(os.listdir(tmp_path / FOLDER)) == [f"{made.stem}.json", f"{made.stem}.tar"]
    assert stat.S_IMODE(os.stat(tmp_path / FOLDER).st_mode) == 0o700
    for path in (backup.archive_path, backup.manifest_path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_second_draft_in_the_same_second_waits_for_the_next(tmp_path: Path) -> None:
    first, _ = begun(tmp_path)
    second, _ = begun(tmp_path)

    assert first.stem < second.stem


def test_after_the_clock_was_set_back_a_new_backup_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=2)
    monkeypatch.setattr(store, "backups_in", lambda *_: [SimpleNamespace(time=ahead)])
    stems = [begun(tmp_path)[0].stem for _ in range(2)]
    assert stems == [store.stem_of(ahead + timedelta(seconds=number)) for number in (1, 2)]


@pytest.mark.parametrize("step", range(7))
def test_a_kill_while_a_draft_is_committed_leaves_all_or_nothing(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    done = 0

    def dying(function):
        def call(*args):
            nonlocal done
            done += 1
            if done > step:
                raise KilledError
            return function(*args)

        return call

    backup_data.write(tmp_path, NIGHT)
    made, manifest = begun(tmp_path)
    for name in ("rename", "fsync"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    with pytest.raises(KilledError):
        made.commit(manifest)
    monkeypatch.undo()
    listed = [backup.stem for backup in store.backups_in(str(tmp_path), FOLDER)]
    clean(str(tmp_path))

    assert listed == [STEM, made.stem][: 2 if step == 6 else 1]
    assert [backup.stem for backup in store.backups_in(str(tmp_path), FOLDER)] == listed
    assert len(os.listdir(tmp_path / FOLDER)) == 2 * len(listed)


def test_a_discarded_draft_removes_only_its_own_files(tmp_path: Path) -> None:
    first, _ = begun(tmp_path)
    second, _ = begun(tmp_path)
    os.mkdir(second.partial("staging"))
    Path(second.partial("staging"), "file").write_bytes(b"")
    second.discard()

    assert os.listdir(tmp_path / FOLDER) == [os.path.basename(first.archive_partial)]


def test_leftovers_include_only_our_files(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    kept = backup_data.write(tmp_path, NIGHT)
    for name in (
        f".{STEM}.manifest.partial",
        ".20260101T000000Z.archive.partial",
        ".20260102T000000Z.manifest.partial",
    ):
        (folder / name).write_bytes(b"")
    for name in ("20260102T000000Z.tar.gz", "20260103T000000Z.tar", ".hidden", "notes", ".note.partial"):
        (folder / name).write_bytes(b"")
    removed = clean(str(tmp_path))

    assert len(removed) == 4
    assert store.backups_in(str(tmp_path), FOLDER) == [kept]
    assert sorted(os.listdir(folder)) == sorted(
        [".hidden", ".note.partial", "20260103T000000Z.tar", f"{STEM}.json", f"{STEM}.tar", "notes"]
    )

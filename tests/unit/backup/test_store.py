"""The backup directory: what counts as a backup, what killed runs leave, permissions and the lock."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import Manifest, is_required
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support import backup_data

NIGHT = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)
FOLDER = "jupyterhub-user-alice"
STEM = "20261123T014440Z"


def test_a_manifest_reads_as_it_was_written() -> None:
    manifest = backup_data.manifest(NIGHT, changed=["./a\\nb"], labels={"a": "b"}, scan="12")

    assert Manifest.from_json(manifest.to_json(), f"/b/{STEM}.json") == manifest


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 2}, "format is 2; this version of the deployment reads format 1"),
        ({"size": -1}, "size is -1 instead of a number from 0"),
        ({"size": True}, "size is True instead of a number from 0"),
        ({"sha256": "0"}, "sha256 is '0' instead of 64 hexadecimal digits"),
        ({"compression": "lzma"}, "compression is 'lzma' instead of one of zstd, gzip, none"),
        ({"compression": ["none"]}, "compression is ['none'] instead of one of"),
        ({"archive": "../../etc/shadow"}, f"archive is '../../etc/shadow' instead of {STEM}.tar"),
        ({"volume": "../escape"}, "volume is '../escape', which is not a volume's name"),
        ({"volume": "hub"}, "volume is 'hub', which is not a volume's name"),
        ({"volume": None}, "volume is None, which is not a volume's name"),
        ({"labels": {"a": 1}}, "labels is {'a': 1} instead of texts by name"),
        ({"changed": "a"}, "changed is 'a' instead of a list of texts"),
    ],
)
def test_an_invalid_manifest_is_refused_with_the_reason(change: dict[str, object], expected: str) -> None:
    text = json.dumps({**json.loads(backup_data.manifest(NIGHT).to_json()), **change})
    with pytest.raises(DeployError) as error:
        Manifest.from_json(text, f"/b/{STEM}.json")

    assert str(error.value).startswith(f"manifest /b/{STEM}.json is not valid: {expected}")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff"])
def test_a_torn_manifest_is_refused(text: str) -> None:
    with pytest.raises(DeployError, match=rf"manifest /b/{STEM}.json is not JSON"):
        Manifest.from_json(text, f"/b/{STEM}.json")


def test_a_manifest_that_lacks_a_field_is_refused() -> None:
    for name in (one.name for one in fields(Manifest) if is_required(one)):
        found = json.loads(backup_data.manifest(NIGHT).to_json())
        del found[name]
        with pytest.raises(DeployError, match=f"{name} is missing"):
            Manifest.from_json(json.dumps(found), f"/b/{STEM}.json")


def test_only_complete_backups_are_listed(tmp_path: Path) -> None:
    backups = [backup_data.write(tmp_path, NIGHT + timedelta(days=day)) for day in range(7)]
    folder = tmp_path / FOLDER
    os.unlink(backups[0].archive_path)
    Path(backups[1].archive_path).write_bytes(b"longer")
    Path(backups[2].manifest_path).write_text("{", encoding="utf-8")
    os.unlink(backups[3].manifest_path)
    os.unlink(backups[4].archive_path)
    os.symlink("/dev/null", backups[4].archive_path)
    for name in (".20261123T014440Z.archive.partial", "notes.json", "20261199T000000Z.json", "20261123T014440Z.json~"):
        (folder / name).write_bytes(b"")
    (tmp_path / "elsewhere").write_bytes(b"")
    os.symlink(folder, tmp_path / "link")
    found, faults = store.list_backups(str(tmp_path), FOLDER)

    assert found == backups[5:]
    assert store.every_backup(str(tmp_path)) == {FOLDER: backups[5:]}
    texts = (
        "014440Z.json cannot be read: [Errno 2]",
        "20261124T014440Z.json has 6 bytes instead of 0",
        "20261125T014440Z.json is not JSON",
        "20261127T014440Z.tar, is not a plain file",
        "20261199T000000Z.json cannot be read: time data",
    )
    assert len(faults) == len(texts)
    for fault, text in zip(faults, texts):
        assert text in fault.message


def test_a_backup_in_another_volumes_folder_does_not_count(tmp_path: Path) -> None:
    backup_data.write(tmp_path, NIGHT)
    os.rename(tmp_path / FOLDER, tmp_path / "jupyterhub-user-bob")
    found, faults = store.list_backups(str(tmp_path), "jupyterhub-user-bob")

    assert found == []
    assert faults[0].message.endswith(f"is of {FOLDER}, not of jupyterhub-user-bob; it was moved to a wrong folder")


def test_a_missing_directory_has_no_backups(tmp_path: Path) -> None:
    assert store.every_backup(str(tmp_path / "none")) == {}
    assert store.list_backups(str(tmp_path), "none") == ([], [])


def test_stems_are_times() -> None:
    assert store.stem_of(NIGHT) == STEM
    assert store.time_of(STEM) == NIGHT


def draft(tmp_path: Path) -> tuple[store.Draft, Manifest]:
    made = store.Draft(str(tmp_path), FOLDER, "none")
    os.close(store.create(made.archive_partial))
    return made, backup_data.manifest(store.time_of(made.stem))


def test_a_draft_becomes_a_backup_that_only_root_can_read(tmp_path: Path) -> None:
    made, manifest = draft(tmp_path)
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
    first, _ = draft(tmp_path)
    second, _ = draft(tmp_path)

    assert first.stem < second.stem


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
    made, manifest = draft(tmp_path)
    for name in ("rename", "fsync"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    with pytest.raises(KilledError):
        made.commit(manifest)
    monkeypatch.undo()
    listed = [backup.stem for backup in store.backups_in(str(tmp_path), FOLDER)]
    store.clean(str(tmp_path))

    assert listed == [STEM, made.stem][: 2 if step == 6 else 1]
    assert [backup.stem for backup in store.backups_in(str(tmp_path), FOLDER)] == listed
    assert len(os.listdir(tmp_path / FOLDER)) == 2 * len(listed)


def test_a_discarded_draft_removes_only_its_own_files(tmp_path: Path) -> None:
    first, _ = draft(tmp_path)
    second, _ = draft(tmp_path)
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
    removed = store.clean(str(tmp_path))

    assert len(removed) == 4
    assert store.backups_in(str(tmp_path), FOLDER) == [kept]
    assert sorted(os.listdir(folder)) == sorted(
        [".hidden", ".note.partial", "20260103T000000Z.tar", f"{STEM}.json", f"{STEM}.tar", "notes"]
    )


def test_a_deleted_backup_stops_existing_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = backup_data.write(tmp_path, NIGHT), backup_data.write(tmp_path, NIGHT + timedelta(days=1))
    store.delete(first)
    assert store.backups_in(str(tmp_path), FOLDER) == [second]
    assert sorted(os.listdir(tmp_path / FOLDER)) == [f"{second.stem}.json", f"{second.stem}.tar"]

    monkeypatch.setattr(store, "remove", lambda paths: None)  # killed here
    store.delete(second)
    monkeypatch.undo()
    assert store.list_backups(str(tmp_path), FOLDER) == ([], [])
    store.clean(str(tmp_path))
    assert os.listdir(tmp_path / FOLDER) == []


def test_the_lock_keeps_two_runs_apart_and_names_the_other(tmp_path: Path) -> None:
    directory = str(tmp_path)
    with store.lock(directory):
        for shared in (False, True):
            with pytest.raises(DeployError) as error, store.lock(directory, shared=shared):
                pass
            assert str(error.value) == (
                f"another run (process {os.getpid()}) is using the backups in {directory}; "
                "wait until it has ended, then try again"
            )
    with (
        store.lock(directory, shared=True),
        store.lock(directory, shared=True),
        pytest.raises(DeployError, match=r"^another run is using"),
        store.lock(directory),
    ):
        pass
    with store.lock(directory):
        pass
    assert stat.S_IMODE(os.stat(tmp_path / ".lock").st_mode) == 0o600


def test_the_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    code = "import fcntl, sys, os; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, tmp_path / ".lock"], check=False)
    with store.lock(str(tmp_path)):
        pass

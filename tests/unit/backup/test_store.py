"""The backup directory: what counts as a backup, how one is removed, and the lock."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import draft, store
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support import backup_data

NIGHT = datetime(2026, 10, 23, 1, 44, 40, tzinfo=timezone.utc)
FOLDER = "jupyterhub-user-alice"
STEM = "20261023T014440Z"


def test_only_complete_backups_are_listed(tmp_path: Path) -> None:
    backups = [backup_data.write(tmp_path, NIGHT + timedelta(days=day)) for day in range(7)]
    folder = tmp_path / FOLDER
    os.unlink(backups[0].archive_path)
    Path(backups[1].archive_path).write_bytes(b"longer")
    Path(backups[2].manifest_path).write_text("{", encoding="utf-8")
    os.unlink(backups[3].manifest_path)
    os.unlink(backups[4].archive_path)
    os.symlink("/dev/null", backups[4].archive_path)
    for name in (".20261023T014440Z.archive.partial", "notes.json", "20261099T000000Z.json", "20261023T014440Z.json~"):
        (folder / name).write_bytes(b"")
    (tmp_path / "elsewhere").write_bytes(b"")
    os.symlink(folder, tmp_path / "link")
    found, faults = store.list_backups(str(tmp_path), FOLDER)

    assert found == backups[5:]
    assert store.every_backup(str(tmp_path)) == {FOLDER: backups[5:]}
    texts = (
        "014440Z.json cannot be read: [Errno 2]",
        "20261024T014440Z.json has 6 bytes instead of 0",
        "20261025T014440Z.json is not JSON",
        "20261027T014440Z.tar, is not a plain file",
        "20261099T000000Z.json cannot be read: time data",
    )
    assert len(faults) == len(texts)
    for fault, text in zip(faults, texts):
        assert text in fault.message


def test_a_backup_from_the_future_is_not_the_newest(tmp_path: Path) -> None:
    made = backup_data.write(tmp_path, NIGHT)
    now = datetime.now(timezone.utc)
    near = backup_data.write(tmp_path, now + timedelta(hours=23))
    far = backup_data.write(tmp_path, now + timedelta(hours=25))
    found, faults = store.list_backups(str(tmp_path), FOLDER)
    assert [one.stem for one in found] == [made.stem, near.stem]
    (fault,) = faults
    assert fault.message.startswith(f"backup {far.manifest_path} is dated in the future, so the clock was wrong when")

    # As the message says.
    stem = store.stem_of(now)
    os.rename(far.archive_path, far.archive_path.replace(far.stem, stem))
    renamed = Path(far.manifest_path.replace(far.stem, stem))
    renamed.write_text(Path(far.manifest_path).read_text().replace(far.stem, stem))
    os.unlink(far.manifest_path)
    found, faults = store.list_backups(str(tmp_path), FOLDER)
    assert ([one.stem for one in found], faults) == ([made.stem, stem, near.stem], [])


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


def test_a_deleted_backup_stops_existing_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = backup_data.write(tmp_path, NIGHT), backup_data.write(tmp_path, NIGHT + timedelta(days=1))
    store.delete(first)
    assert store.backups_in(str(tmp_path), FOLDER) == [second]
    assert sorted(os.listdir(tmp_path / FOLDER)) == [f"{second.stem}.json", f"{second.stem}.tar"]

    monkeypatch.setattr(store, "remove", lambda paths: None)  # killed here
    store.delete(second)
    monkeypatch.undo()
    assert store.list_backups(str(tmp_path), FOLDER) == ([], [])
    draft.clean(str(tmp_path))
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


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ("", None),
        ("UUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n", None),
        ("UUID=3 {0}/disk\\040two ext4 defaults,nofail 0 2\n", "{0}/disk two"),
        ("nas:/b {0} nfs _netdev\nUUID=3 {0}/disk\\040two ext4 defaults 0 2\n", "{0}/disk two"),
        ("UUID=3 {0}/disk\\040two ext4 noauto,user 0 2\n", None),
        ("#UUID=3 {0}/disk\\040two ext4 defaults 0 2\n", None),
        ("UUID=3 {0}/disk\\040two/ ext4 defaults 0 2\n", "{0}/disk two/"),
        ("UUID=3 {0}/disk ext4 defaults 0 2\n", None),
    ],
)
def test_a_disk_that_is_not_mounted_is_named(tmp_path: Path, lines: str, missing: str | None) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_bytes(b"# caf\xe9\n" + lines.format(tmp_path).encode())
    directory = tmp_path / "disk two" / "backups"
    expected = missing and missing.format(tmp_path)
    assert store.missing_disk(str(directory), str(fstab)) == expected
    (tmp_path / "link").symlink_to(directory)
    assert store.missing_disk(str(tmp_path / "link"), str(fstab)) == expected


def test_a_mounted_disk_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "fstab").write_text("proc /proc proc defaults 0 0\n")
    assert store.missing_disk("/proc/1", str(tmp_path / "fstab")) is None
    assert store.missing_disk("/proc/1", str(tmp_path / "none")) is None

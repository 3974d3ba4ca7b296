"""Verification of backups, and the records of it."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import draft, reader, retention, store
from ansible.module_utils.jupyterhub_deploy.backup import verify as backup_verify
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore import volumes

import jupyterhub_backup_verify
from support import modules
from support.factories import backups as backup_shelf

ALICE, BOB = backup_shelf.VOLUME, f"{backup_shelf.HUB}-user-bob"
STEMS = ("20261121T020000Z", "20261122T020000Z", "20261123T020000Z")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir()
    (made / "new\nline").write_bytes(os.urandom(3000))
    return made


@pytest.fixture
def shelf(tmp_path: Path, tree: Path) -> Path:
    """Three backups of alice, one of bob and one of the hub."""
    made = tmp_path / "backups"
    for stem in STEMS:
        backup_shelf.put_tree(made, tree, stem=stem)
    backup_shelf.put_tree(made, tree, stem=STEMS[0], volume=BOB, user="bob", compression="zstd")
    backup_shelf.put_tree(made, tree, stem=STEMS[1], kind="hub", volume=None, user=None, folder="hub")
    return made


def verify(shelf: Path, **arguments: Any) -> dict[str, Any]:
    return modules.run(jupyterhub_backup_verify, name=backup_shelf.HUB, directory=str(shelf), **arguments)


def damage(backup: store.Backup) -> None:
    """Flip a bit, and leave no trace of it but in the time of change."""
    path = Path(backup.archive_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def newest(shelf: Path, folder: str = ALICE) -> store.Backup:
    return store.backups_in(str(shelf), folder)[-1]


def files(shelf: Path) -> list[str]:
    return sorted(str(path.relative_to(shelf)) for path in shelf.rglob("*"))


def test_all_are_verified_and_the_results_are_recorded(shelf: Path, tmp_path: Path) -> None:
    before, progress = files(shelf), tmp_path / "progress"
    checked = verify(shelf, check=True)
    assert checked["changed"]
    assert files(shelf) == before
    first = verify(shelf, progress_file=str(progress))
    assert first["totals"]["good"] == first["totals"]["read"] == 5
    assert sorted(line.split(":")[0] for line in progress.read_text().splitlines()) == ["hub", *[ALICE] * 3, BOB]
    for folder, backups in store.every_backup(str(shelf)).items():
        for backup in backups:
            found = backup_verify.read_record(backup)
            assert found, folder
            assert found.good
            assert found.members_read
            assert stat.S_IMODE(os.stat(backup_verify.record_path(backup)).st_mode) == 0o600
    second = verify(shelf)
    assert (second["changed"], second["totals"]["read"]) == (False, 5)
    assert not [name for name in files(shelf) if "partial" in name]


def test_recently_verified_backups_can_be_skipped(shelf: Path) -> None:
    verify(shelf, backup="newest")
    assert verify(shelf, backup="newest", again_after_days=30)["totals"] == {"good": 3, "bad": 0, "read": 0, "size": 0}
    assert verify(shelf, again_after_days=30)["totals"]["read"] == 2
    backup = newest(shelf)
    found = backup_verify.read_record(backup)
    assert found
    old = datetime.now(timezone.utc) - timedelta(days=31)
    backup_verify.write_record(backup, backup_verify.Verified(**{**vars(found), "time": old.isoformat()}))
    assert verify(shelf, backup="newest", again_after_days=30)["totals"]["read"] == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"users": ["alice"]}, [(ALICE, stem) for stem in STEMS]),
        ({"users": ["alice", "bob"], "backup": "newest"}, [(ALICE, STEMS[2]), (BOB, STEMS[0])]),
        ({"backup": STEMS[1]}, [("hub", STEMS[1]), (ALICE, STEMS[1])]),
        ({"backup": "newest"}, [("hub", STEMS[1]), (ALICE, STEMS[2]), (BOB, STEMS[0])]),
    ],
)
def test_which_are_verified(shelf: Path, arguments: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    results = verify(shelf, **arguments)["results"]
    assert [(result["name"], Path(result["backup"]).name.partition(".")[0]) for result in results] == expected


def test_a_user_of_that_name_at_another_hub_is_not_verified(shelf: Path, tree: Path) -> None:
    for user in ("alice", "zoe"):
        backup_shelf.put_tree(shelf, tree, stem=STEMS[0], hub="lab", volume=f"lab-user-{user}", user=user)
    assert {result["name"] for result in verify(shelf, users=["alice"])["results"]} == {ALICE}
    with pytest.raises(modules.ModuleError, match="user zoe has no backup in "):
        verify(shelf, users=["zoe"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"users": ["zoe"]}, "user zoe has no backup in "),
        ({"backup": "20250101T000000Z"}, "there is no backup 20250101T000000Z in "),
    ],
)
def test_missing_backups_are_named(shelf: Path, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(modules.ModuleError, match=f"^1 problem, 0 backups are good: {text}"):
        verify(shelf, **arguments)


def test_no_backups_at_all(tmp_path: Path) -> None:
    with pytest.raises(
        modules.ModuleError, match=r"^there are no backups: directory .* does not exist; run `make backup`"
    ):
        verify(tmp_path / "none")


def test_damage_is_found_named_and_recorded_until_it_is_repaired(shelf: Path) -> None:
    verify(shelf)
    backup = newest(shelf)
    whole = Path(backup.archive_path).read_bytes()
    damage(backup)
    assert backup_verify.read_record(backup) is None  # the earlier record is not valid for it
    with pytest.raises(modules.ModuleError) as error:
        verify(shelf, backup="newest", again_after_days=30)
    assert str(error.value).startswith("1 problem, 2 backups are good: archive ")
    assert backup.archive_path in str(error.value)
    assert error.value.result["changed"]
    known = backup_verify.read_record(backup)
    assert known
    assert not known.good
    assert volumes.describe(backup, False)["fault"] == known.fault
    with pytest.raises(modules.ModuleError) as error:  # also when it was verified recently
        verify(shelf, backup="newest", again_after_days=30)
    assert error.value.result["totals"]["read"] == 1
    assert not error.value.result["changed"]
    Path(backup.archive_path).write_bytes(whole)
    assert verify(shelf, backup="newest", again_after_days=30)["changed"]
    assert volumes.describe(backup, False)["verified"] is True


def test_a_backup_that_cannot_be_restored_is_not_good(tmp_path: Path) -> None:
    device = backup_shelf.member(b"./null", kind=b"3")
    backup_shelf.put(tmp_path, backup_shelf.joined([backup_shelf.ROOT, device]), 2)
    with pytest.raises(modules.ModuleError, match=r"member \./null of archive .* is refused: it is a character device"):
        verify(tmp_path)


def test_a_manifest_without_a_valid_backup_is_a_problem(shelf: Path) -> None:
    os.truncate(newest(shelf).archive_path, 100)
    with pytest.raises(
        modules.ModuleError, match=r"^1 problem, 4 backups are good: .* has 100 bytes instead of 1048576"
    ):
        verify(shelf)


def test_a_missing_program_is_not_a_fault_of_the_backup(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reader.DECOMPRESS, "zstd", ["no-such-zstd"])
    with pytest.raises(modules.ModuleError, match=r"program no-such-zstd, .* is missing on this host; install"):
        verify(shelf, users=["bob"])
    assert backup_verify.read_record(newest(shelf, BOB)) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"time": 1}', "\xff"])
def test_a_damaged_record_counts_as_none(shelf: Path, text: str) -> None:
    verify(shelf)
    Path(backup_verify.record_path(newest(shelf))).write_text(text, encoding="latin-1")
    assert backup_verify.read_record(newest(shelf)) is None


def test_a_record_is_valid_for_one_manifest_and_one_file(shelf: Path) -> None:
    backup = newest(shelf)
    verify(shelf)
    os.utime(backup.archive_path)
    assert backup_verify.read_record(backup) is None
    verify(shelf)
    path = Path(backup.manifest_path)
    path.write_text(path.read_text().replace(backup.manifest.sha256, "0" * 64))
    assert backup_verify.read_record(newest(shelf)) is None


def test_a_record_is_removed_with_its_backup(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify(shelf)
    backups = store.backups_in(str(shelf), ALICE)
    store.delete(backups[0])
    assert not [name for name in files(shelf) if STEMS[0] in name and ALICE in name]
    monkeypatch.setattr(store, "remove", lambda paths: None)  # killed here
    store.delete(backups[1])
    monkeypatch.undo()
    draft.clean(str(shelf))
    assert not [name for name in files(shelf) if STEMS[1] in name and ALICE in name]


def test_a_record_that_was_being_written_is_cleaned(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = backup_verify.verify(newest(shelf))
    monkeypatch.setattr(os, "replace", lambda *paths: None)  # killed here
    backup_verify.write_record(newest(shelf), found)
    monkeypatch.undo()
    assert backup_verify.read_record(newest(shelf)) is None
    assert len(draft.clean(str(shelf))) == 1


def test_retention_verifies_backups_without_a_record_once(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = backup_verify.verify

    def read(backup: store.Backup) -> backup_verify.Verified:
        looked.append(backup.stem)
        return real(backup)

    monkeypatch.setattr(backup_verify, "verify", read)
    damage(newest(shelf))
    removed = retention.prune(str(shelf), ALICE, {"last": 1})
    assert [Path(path).name for path in removed] == [f"{STEMS[0]}.tar"]  # the last good one stays
    assert looked == [STEMS[2], STEMS[1]]
    retention.prune(str(shelf), ALICE, {"last": 1})
    assert len(looked) == 2


def test_retention_works_without_records_on_a_full_disk(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(backup: Any, found: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_verify, "write_record", full)
    assert len(retention.prune(str(shelf), ALICE, {"last": 1})) == 2


@pytest.mark.parametrize(
    ("number", "disk"), [(errno.EROFS, "mounted read-only"), (errno.ENOSPC, "full"), (errno.EIO, None)]
)
def test_backups_on_a_disk_that_takes_no_record_are_verified(
    number: int, disk: str | None, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(backup_verify, "write_record", refuse)
    shown = tmp_path / "progress"

    if not disk:
        with pytest.raises(modules.ModuleError, match=r"^the verification record of .* cannot be written: .*Errno 5"):
            verify(shelf, progress_file=str(shown))
        return
    assert {one["good"] for one in verify(shelf, progress_file=str(shown))["results"]} == {True}
    assert f"; not recorded, because the disk is {disk}\n" in shown.read_text(encoding="utf-8")


def test_verify_is_refused_during_a_run_that_writes(shelf: Path) -> None:
    with store.lock(str(shelf)), pytest.raises(modules.ModuleError, match=r"^another run"):
        verify(shelf)
    with store.lock(str(shelf), shared=True):  # a restore does not prevent it
        verify(shelf)


def test_only_the_checksum_of_an_encrypted_backup_is_compared(
    shelf: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = newest(shelf)
    backup = replace(plain, manifest=replace(plain.manifest, encryption="age", archive=f"{plain.manifest.archive}.age"))
    os.rename(plain.archive_path, backup.archive_path)
    monkeypatch.setattr(reader, "validate", lambda *args: pytest.fail("it cannot be read here"))
    found = backup_verify.verify(backup)
    assert (found.good, found.members_read) == (True, False)
    damage(backup)
    with pytest.raises(DeployError):
        reader.check_sum(os.open(backup.archive_path, os.O_RDONLY), backup)
    assert not backup_verify.verify(backup).good

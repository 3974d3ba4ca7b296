"""When a backup is skipped."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible.module_utils.jupyterhub_deploy.backup import verify
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.writer import _is_damaged, unchanged

from support import backup_data
from support.factories import backups as backup_shelf

NIGHT = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)


def test_a_backup_is_skipped_only_when_the_newest_has_the_same_trusted_scan() -> None:
    def backup(days: int, scan: str | None) -> Backup:
        moment = NIGHT + timedelta(days=days)
        return Backup("/b", "x", backup_data.manifest(moment, scan=scan))

    old, new = backup(0, "1"), backup(1, "2")
    assert unchanged("2", [old, new]) is new
    assert unchanged("1", [old, new]) is None
    assert unchanged(None, [backup(0, None)]) is None
    assert unchanged("1", []) is None


def test_a_backup_whose_archive_was_damaged_is_made_again(tmp_path: Path) -> None:
    backup = backup_shelf.put(tmp_path, backup_shelf.joined([backup_shelf.ROOT]), 1)
    assert not _is_damaged(backup)  # not verified yet
    content = Path(backup.archive_path).read_bytes()
    Path(backup.archive_path).write_bytes(b"x" + content[1:])
    verify.write_record(backup, verify.verify(backup))
    assert _is_damaged(backup)


def test_a_backup_that_is_refused_for_its_content_is_not_made_again_each_time(tmp_path: Path) -> None:
    device = backup_shelf.member(b"./null", kind=b"3")
    backup = backup_shelf.put(tmp_path, backup_shelf.joined([backup_shelf.ROOT, device]), 2)
    verify.write_record(backup, verify.verify(backup))
    assert not _is_damaged(backup)

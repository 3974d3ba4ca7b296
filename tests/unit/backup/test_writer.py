"""When a backup is skipped."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.writer import unchanged

from support import backup_data

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

"""Which backups a restore selects (tests/integration/restore/test_volumes.py restores them)."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from ansible.module_utils.jupyterhub_deploy.restore import volumes

from support import backup_data


def test_a_user_of_that_name_at_another_hub_is_not_restored(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)
    for hub in ("lab", "course"):
        backup_data.write(tmp_path, moment, hub=hub, volume=f"{hub}-user-alice")

    found, problems = volumes.find(str(tmp_path), "lab", ["alice"], [], None)

    assert ([one.manifest.volume for one in found], problems) == (["lab-user-alice"], [])

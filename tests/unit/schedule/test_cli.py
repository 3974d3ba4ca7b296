"""A scheduled run (integration/schedule/ runs the installed program)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.schedule import cli, report, settings

from support import backup_data


def test_a_run_whose_record_cannot_be_written_backs_up_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk of the record is full, and that of the backups is not."""
    backed_up = []

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28), "/var/lib/jupyterhub-deploy/record")

    def back_up(wanted: object, *_: object) -> dict[str, object]:
        backed_up.append(wanted)
        return {"totals": {}, "results": []}

    monkeypatch.setattr(report, "write_record", full)
    monkeypatch.setattr(cli.backup_run, "run", back_up)
    wanted = settings.Schedule("02:30", 26, str(tmp_path), backup_data.settings(name="lab", directory=str(tmp_path)))

    assert cli.run(wanted) == 1
    assert backed_up == [wanted.backup]
    assert "No space left on device: '/var/lib/jupyterhub-deploy/record'" in capsys.readouterr().err

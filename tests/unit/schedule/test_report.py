"""Reports about scheduled backups: whether they are late, metrics, and the lines of status.yml."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import verify
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.schedule import report, settings
from ansible.module_utils.jupyterhub_deploy.schedule import status as backup_status
from ansible.module_utils.jupyterhub_deploy.schedule.report import Folder, Record

from support import backup_data
from support.factories import backups

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
LONG_AGO = NOW - timedelta(days=100)
FOLDERS = [
    Folder("hub", None, NOW - timedelta(hours=9), 3, 1000, True),
    Folder("jupyterhub-user-alice", "alice", NOW - timedelta(hours=10), 4, 5_000_000, None),
    Folder("jupyterhub-user-bob", "bob", NOW - timedelta(hours=33), 1, 200, False),
    Folder("jupyterhub-user-carol", None, None, 0, 0, None),
]
TOTALS = {"backed_up": 2, "unchanged": 40, "failed": 1, "size": 17, "content_size": 18}


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


def record(**changes: Any) -> Record:
    whole = {"began": ago(hours=10), "ended": ago(hours=9.75), "last_success": ago(hours=9.75), "process": 7}
    return Record(**{**whole, "totals": TOTALS, **changes})


# https://prometheus.io/docs/instrumenting/exposition_formats/
SAMPLE = re.compile(r'([a-z_]+)\{([a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*)\} (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)')


def parsed(text: str) -> dict[str, float]:
    """Return the samples; fail on anything that is not in the text format, or not in its order."""
    samples: dict[str, float] = {}
    described: list[str] = []
    assert text.endswith("\n")
    lines = text.splitlines()
    while lines:
        kind, name, _ = lines.pop(0).split(" ", 3)[1:]
        assert (kind, name in described) == ("HELP", False)
        described.append(name)
        assert lines.pop(0) == f"# TYPE {name} gauge"
        while lines and not lines[0].startswith("#"):
            match = SAMPLE.fullmatch(lines.pop(0))
            assert match
            assert match[1] == name
            assert match[0].rpartition(" ")[0] not in samples
            samples[match[0].rpartition(" ")[0]] = float(match[3])
    return samples


def test_metrics_are_in_prometheus_text_format() -> None:
    found = parsed(report.metrics("lab", record(), FOLDERS, 26))
    name = "jupyterhub_backup_"
    assert found == {
        name + 'last_run_success{hub="lab"}': 1,
        name + 'last_run_timestamp_seconds{hub="lab"}': NOW.timestamp() - 9.75 * 3600,
        name + 'last_run_duration_seconds{hub="lab"}': 900,
        name + 'last_success_timestamp_seconds{hub="lab"}': NOW.timestamp() - 9.75 * 3600,
        name + 'late_after_seconds{hub="lab"}': 26 * 3600,
        name + 'last_run_volumes{hub="lab",result="backed_up"}': 2,
        name + 'last_run_volumes{hub="lab",result="unchanged"}': 40,
        name + 'last_run_volumes{hub="lab",result="failed"}': 1,
        name + 'newest_timestamp_seconds{hub="lab"}': NOW.timestamp() - 9 * 3600,
        name + 'archives{hub="lab"}': 8,
        name + 'stored_bytes{hub="lab"}': 5_001_200,
        name + 'newest_verified{hub="lab",result="good"}': 1,
        name + 'newest_verified{hub="lab",result="bad"}': 1,
        name + 'newest_verified{hub="lab",result="unread"}': 1,
    }


def test_metrics_of_a_failed_run_without_any_success() -> None:
    found = parsed(report.metrics("lab", record(error="no disk", last_success=None, totals={}), [], 26))
    assert found['jupyterhub_backup_last_run_success{hub="lab"}'] == 0
    assert found['jupyterhub_backup_last_success_timestamp_seconds{hub="lab"}'] == 0
    assert found['jupyterhub_backup_archives{hub="lab"}'] == 0


def test_metrics_contain_no_user_names() -> None:
    assert "alice" not in report.metrics("lab", record(), FOLDERS, 26)


@pytest.mark.parametrize(
    ("last", "installed", "late"),
    [
        (timedelta(hours=25.9), LONG_AGO, None),
        (timedelta(hours=26.1), LONG_AGO, timedelta(hours=26.1)),
        (timedelta(hours=26.1), NOW, timedelta(hours=26.1)),  # installing the schedule later does not matter
        (None, NOW - timedelta(hours=25), None),
        (None, NOW - timedelta(hours=27), timedelta(hours=27)),
    ],
)
def test_when_backups_are_late(last: timedelta | None, installed: datetime, late: timedelta | None) -> None:
    found = record(last_success=(NOW - last).isoformat() if last else None)
    assert report.overdue(found, installed, 26, NOW) == late
    if not last:
        assert report.overdue(None, installed, 26, NOW) == late


def status(found: Record | None, running: bool = False, installed: datetime = LONG_AGO) -> list[str]:
    wanted = settings.Schedule("02:30", 26, "/m", backup_data.settings())
    schedule = backup_status.describe(wanted, found, running, installed, NOW)
    found_status = {
        "directory": "/b",
        "fault": None,
        **backup_status.totals(FOLDERS[:2], NOW),
        "gaps": [],
        "schedule": schedule,
    }
    return backup_status.messages(found_status, NOW)[2:]


@pytest.mark.parametrize(
    ("found", "running", "lines"),
    [
        (record(), False, ["the last run went well, 9 h 45 min ago"]),
        (record(error="no disk"), False, ["the last run FAILED, 9 h 45 min ago: no disk"]),
        (record(ended=None), True, ["a run is going on, begun 10 h ago"]),
        (record(ended=None), False, ["the last run was KILLED; it had begun 10 h ago"]),
        (
            record(error="no disk", last_success=ago(days=2)),
            False,
            ["the last run FAILED, 9 h 45 min ago: no disk", "LATE: no scheduled run has ended well for 2 d"],
        ),
    ],
)
def test_the_result_of_scheduled_runs(found: Record, running: bool, lines: list[str]) -> None:
    assert status(found, running) == [f"scheduled backups: 02:30; {lines[0]}", *lines[1:]]


def test_a_schedule_that_has_not_run_yet() -> None:
    assert status(None, installed=NOW) == ["scheduled backups: 02:30; no run yet"]
    assert status(None)[1] == "LATE: no scheduled run has ended well for 100 d"


def test_the_state_of_backups(tmp_path: Path) -> None:
    found_status = {
        "directory": "/b",
        "fault": None,
        **backup_status.totals(FOLDERS, NOW),
        "gaps": [],
        "schedule": None,
    }
    assert backup_status.messages(found_status, NOW) == [
        "backups: 8 in /b, 5.0 MB, of 3 volumes (the hub's own state is one); the newest was made 9 h ago",
        "not verified yet: 1 of the newest backups; run `make verify`",
        "NOT GOOD is the newest backup of jupyterhub-user-bob; `make verify` says why",
        "scheduled backups: none; jupyterhub_backup_schedule sets a time",
    ]
    nothing = {"directory": "/b", "fault": None, **backup_status.totals([], NOW), "gaps": [], "schedule": None}
    assert backup_status.messages(nothing, NOW)[0] == (
        "backups: there are none in /b (the directory does not exist); `make backup` makes them"
    )
    nothing["directory"] = str(tmp_path)
    assert backup_status.messages(nothing, NOW)[0] == f"backups: there are none in {tmp_path}; `make backup` makes them"


def test_a_directory_that_cannot_be_read_is_reported_with_the_schedule(tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("")
    found_status = backup_status.observe("jhd-test-none", str(tmp_path / "backups"), NOW)
    lines = backup_status.messages(found_status, NOW)
    assert lines[0].startswith("backups: CANNOT BE READ: [Errno 20] Not a directory")
    assert lines[-1].startswith("scheduled backups: none")


def test_the_folders_are_listed(tmp_path: Path) -> None:
    first, second = "20261122T014440Z", "20261123T014440Z"
    for stem in (first, second):
        backup = backups.put(tmp_path, backups.joined([backups.ROOT]), 1, stem=stem)
    path = Path(backup.directory, backup.manifest.folder)
    (path / "20261124T014440Z.json").write_text("{")
    (path / "20260101T000000Z.tar").write_bytes(b"somebody else's")
    (tmp_path / "empty").mkdir()
    size = len(backups.ROOT) + 1024
    assert report.list_folders(str(tmp_path)) == [
        Folder("empty", None, None, 0, 0, None),
        Folder(backups.VOLUME, "alice", backup.time, 2, 2 * size, False),
    ]
    (path / "20261124T014440Z.json").unlink()
    assert report.list_folders(str(tmp_path))[1].good is None, "not verified yet"
    verify.write_record(backup, verify.verify(backup))
    assert report.list_folders(str(tmp_path))[1].good is True
    assert report.list_folders(str(tmp_path / "none")) == []


def test_a_damaged_record_counts_as_none_and_damaged_settings_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(host, "SETTINGS_DIR", str(tmp_path))
    assert report.read_record("lab") is None
    report.write_record("lab", record())
    assert report.read_record("lab") == record()
    Path(report.record_path("lab")).write_text('{"x": 1}')
    assert report.read_record("lab") is None
    assert settings.read("lab") is None
    wanted = settings.Schedule("02:30", 26, "/m", backup_data.settings(name="lab"))
    Path(host.backup_settings("lab")).write_text(wanted.to_json())
    assert settings.read("lab") == wanted
    Path(host.backup_settings("lab")).write_text('{"schedule": "02:30"}')
    with pytest.raises(DeployError, match=r"backup-lab.json, cannot be read: 'late_hours' is missing; run make site"):
        settings.read("lab")
    for damage in ("{", "5", "[" * 100_000):
        Path(host.backup_settings("lab")).write_text(damage)
        with pytest.raises(DeployError, match=r"backup-lab.json, cannot be read: .*; run make site"):
            settings.read("lab")


@pytest.mark.parametrize(
    "change",
    [{"began": 5}, {"began": None}, {"ended": "yesterday"}, {"last_success": "2026-11-27T02:30:00"}, {"totals": None},
     {"totals": {"size": "large"}}],
    ids=str,
)  # fmt: skip
def test_a_record_with_wrong_values_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setattr(report, "STATE_DIR", str(tmp_path))
    report.write_record("lab", record(**change))
    assert report.read_record("lab") is None

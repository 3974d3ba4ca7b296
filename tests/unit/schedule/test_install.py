"""Scheduled backups: the files on the host, the times that cron accepts, and the command that a schedule starts."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.jupyterhub_deploy.backup import run as backup_run
from ansible.module_utils.jupyterhub_deploy.backup import store, verify
from ansible.module_utils.jupyterhub_deploy.backup.settings import BACKUP
from ansible.module_utils.jupyterhub_deploy.copy.push import PushSettings
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import host
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.schedule import cli, host_files, install, report, times

import jupyterhub_backup_schedule
from support import modules
from support.factories import backups

ROOT = Path(__file__).resolve().parents[3]
HUB = backups.HUB
TASKS = ROOT / "roles/jupyterhub_backup/tasks"


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [
        ("hourly", "0 * * * *"),
        ("daily", "0 0 * * *"),
        ("weekly", "0 0 * * 1"),
        ("monthly", "0 0 1 * *"),
        ("30 2 * * *", "30 2 * * *"),
        ("*/15 8-18 * * 1-5", "*/15 8-18 * * 1-5"),
        ("0,30 0-23/6 1,15 1-12 0-7", "0,30 0-23/6 1,15 1-12 0-7"),
    ],
)
def test_cron_accepts_shorthands_and_five_fields(schedule: str, fields: str) -> None:
    assert times.cron_time(schedule) == fields


@pytest.mark.parametrize(
    "schedule",
    [
        "nightly",
        "02:30",  # a systemd calendar time
        "Mon..Fri 02:30",
        "60 2 * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "0 0 * * mon",
        "0 0 * *",
        "0 0 * * * *",
        "0 0 * * */0",
        "30 2 * * *\n* *",
        "30  2 * *",
    ],
)
def test_cron_refuses_other_times_and_says_what_to_write(schedule: str) -> None:
    with pytest.raises(DeployError) as error:
        times.cron_time(schedule)
    assert str(error.value) == (
        f"jupyterhub_backup_schedule is {schedule!r}, and this host has cron instead of systemd: set it to hourly, "
        "daily, weekly or monthly, or to five fields of a crontab in numbers, such as `30 2 * * 1-5`"
    )


def test_the_schedule_passes_on_what_backup_yml_does() -> None:
    (made,) = (
        task["jupyterhub_backup"]
        for task in yaml.safe_load((TASKS / "backup.yml").read_text())
        if "jupyterhub_backup" in task
    )
    (planned,) = (
        task["jupyterhub_backup_schedule"]["backup"]
        for task in yaml.safe_load((TASKS / "schedule.yml").read_text())
        if "jupyterhub_backup_schedule" in task
    )
    # A schedule that made a new backup of everything each night would fill the disk.
    assert planned == {key: value for key, value in made.items() if key != "force"}


class Place:
    """The module and the command with their paths below a directory; systemd and cron are not called."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        for module, names in (
            (host_files, ("LIBRARY", "COMMAND", "UNITS", "CRON", "LOGS")),
            (install, ("CRON_PID",)),
            (times, ("SYSTEMD",)),
            (report, ("STATE_DIR",)),
            (host, ("SETTINGS_DIR",)),
        ):
            for name in names:
                monkeypatch.setattr(module, name, f"{root}{getattr(module, name)}")
        self.backups = root / "backups"

    def module(self, schedule: str = "30 2 * * *", hub: str = HUB, check: bool = False, **more: Any) -> dict[str, Any]:
        backup = {"name": hub, "directory": str(self.backups), **more}
        metrics = str(self.root / "metrics")
        return modules.run(
            jupyterhub_backup_schedule, schedule=schedule, metrics_dir=metrics, backup=backup, check=check
        )

    def files(self) -> dict[str, tuple[str, int]]:
        return {
            str(path.relative_to(self.root)): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def record(self) -> report.Record:
        found = report.read_record(HUB)
        assert found
        return found

    def metrics(self) -> str:
        return (self.root / f"metrics/jupyterhub_backup_{HUB}.prom").read_text()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_a_schedule_sends_backups_where_the_settings_say(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    push = {"to": "backup@nas.example.com:/srv/backups", "host_key": "ssh-ed25519 AAAA"}
    asked: dict[str, Any] = {"schedule": "30 2 * * *", "backup": {"name": HUB, "directory": str(place.backups)}}
    asked["metrics_dir"] = str(place.root / "metrics")
    with pytest.raises(modules.ModuleError, match="write it as user@host:/directory"):
        modules.run(jupyterhub_backup_schedule, **asked, push={**push, "to": "nas"})
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    done = modules.run(jupyterhub_backup_schedule, **asked, push=push)
    assert {"rsync", "openssh-client"} <= set(done["missing"])

    sent = []
    monkeypatch.setattr(cli.backup_run, "run", lambda *args, **more: {"totals": {}, "results": []})
    monkeypatch.setattr(cli.push, "push", lambda *args, **more: sent.append(args))
    assert cli.main(["run"]) == 0
    key_file = "/etc/jupyterhub-deploy/push_key"
    assert sent == [(str(place.backups), PushSettings(**push, key_file=key_file, port=22), False, cli.PROGRESS)]

    def fails(*args: Any, **more: Any) -> None:
        raise DeployError("nas.example.com cannot be reached")

    monkeypatch.setattr(cli.push, "push", fails)
    assert cli.main(["run"]) == 1
    assert place.record().error == "nas.example.com cannot be reached"


def test_a_schedule_is_installed_once_repaired_changed_and_removed(place: Place) -> None:
    assert not place.module("")["changed"]
    assert place.module(check=True)["changed"]
    assert place.files() == {}
    first = place.module()
    assert first["starter"] == "cron"
    files = place.files()
    assert files[f"etc/cron.d/{HUB}-backup"][0].splitlines()[-1].startswith("30 2 * * * root umask 077; nice ")
    assert files["usr/local/sbin/jupyterhub-backup"][1] == 0o755
    settings, mode = files[f"etc/jupyterhub-deploy/backup-{HUB}.json"]
    assert mode == 0o600
    assert set(json.loads(settings)["backup"]) == set(BACKUP)
    assert not place.module()["changed"]
    assert place.files() == files

    stranger = place.root / "usr/local/lib/jupyterhub-deploy/ansible/module_utils/jupyterhub_deploy/old/old.py"
    stranger.parent.mkdir()
    stranger.write_text("")
    (place.root / "usr/local/sbin/jupyterhub-backup").chmod(0o644)
    repaired = place.module()
    assert repaired["removed"] == [str(stranger)]
    assert repaired["written"] == [str(place.root / "usr/local/sbin/jupyterhub-backup")]
    assert place.files() == files
    assert not stranger.parent.exists()
    assert place.module("30 3 * * *")["written"] == [
        str(place.root / f"etc/jupyterhub-deploy/backup-{HUB}.json"),
        str(place.root / f"etc/cron.d/{HUB}-backup"),
    ]

    place.module(hub="lab")
    assert place.module("", check=True)["changed"]
    assert place.module("")["changed"]
    left = place.files()
    assert not [path for path in left if HUB in path]
    assert "usr/local/sbin/jupyterhub-backup" in left  # the other hub uses it, too
    assert place.module("", hub="lab")["changed"]
    assert place.files() == {}
    assert not place.module("")["changed"]


def test_a_file_that_is_removed_meanwhile_is_written_again(place: Place) -> None:
    place.module()
    files = place.files()
    for path in sorted(files)[::8]:  # each costs a run of the module
        (place.root / path).unlink()
        assert place.module()["written"] == [str(place.root / path)]
    assert place.files() == files


def test_the_command_ignores_an_installed_ansible(place: Place) -> None:
    place.module()
    elsewhere = place.root / "elsewhere"
    (elsewhere / "ansible").mkdir(parents=True)
    (elsewhere / "ansible/__init__.py").write_text("raise SystemExit('the wrong one')")
    command = place.root / "usr/local/sbin/jupyterhub-backup"
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    # The Python of the tests has a whole Ansible installed.
    done = subprocess.run(
        [command, "--hub", "none", "list"], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("jupyterhub-backup: no backups of hub none are scheduled"), done.stderr
    assert done.returncode == 1
    code = "import sys; sys.path.insert(0, sys.argv[1]); import ansible.module_utils.jupyterhub_deploy.schedule.cli"
    code += " as c; print(c.__file__, *(name for name in sys.modules if name.startswith('ansible')))"
    library = place.root / "usr/local/lib/jupyterhub-deploy"
    shown = subprocess.run([sys.executable, "-I", "-c", code, library], capture_output=True, text=True, check=True)
    path, *names = shown.stdout.split()
    assert path.startswith(str(library))
    assert all(name in ("ansible", "ansible.module_utils") or "jupyterhub_deploy" in name for name in names)


@pytest.fixture
def scheduled(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A schedule whose runs do not need Docker and make no backups; some exist already."""
    tree = place.root / "tree"
    tree.mkdir()
    backups.put_tree(place.backups, tree)
    place.module()
    result = {"totals": {"backed_up": 1, "unchanged": 0, "failed": 0}, "results": []}
    monkeypatch.setattr(backup_run, "run", lambda *_: result)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield place
    signal.signal(signal.SIGTERM, handler)


def test_a_run_verifies_new_backups_and_reports_it(scheduled: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run"]) == 0
    assert "20261123T014440Z is good" in capsys.readouterr().out
    record = scheduled.record()
    assert record.ended
    assert record.error is None
    assert record.last_success == record.ended
    assert record.totals["backed_up"] == 1
    assert f'last_run_success{{hub="{HUB}"}} 1' in scheduled.metrics()
    assert stat.S_IMODE(os.stat(scheduled.root / f"metrics/jupyterhub_backup_{HUB}.prom").st_mode) == 0o644
    assert cli.main(["run"]) == 0
    assert "is good" not in capsys.readouterr().out  # it was verified recently


FAILED = {
    "totals": {"backed_up": 0, "unchanged": 1, "failed": 1},
    "results": [{"name": "alice", "action": "failed", "error": "no disk"}, {"name": "bob", "action": "unchanged"}],
}


def raising(error: BaseException) -> Any:
    def run(*_: Any) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (lambda *_: FAILED, "1 of 2 backups failed, 1 are up to date: alice: no disk"),
        (raising(DeployError("the engine does not answer")), "the engine does not answer"),
        (raising(OSError(28, "No space left on device")), "[Errno 28] No space left on device"),
        (lambda *_: os.kill(os.getpid(), signal.SIGTERM), "the run was stopped by SIGTERM"),
    ],
)
def test_a_failed_run_is_reported_everywhere(
    scheduled: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Any, text: str
) -> None:
    assert cli.main(["run"]) == 0
    before = scheduled.record().last_success
    monkeypatch.setattr(backup_run, "run", run)
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    assert cli.main(["run"]) == 1
    assert capsys.readouterr().err == f"<3>jupyterhub-backup: {text}\n"
    record = scheduled.record()
    assert record.ended
    assert (record.error, record.last_success) == (text, before)
    assert f'last_run_success{{hub="{HUB}"}} 0' in scheduled.metrics()


def test_a_bug_is_reported_too(scheduled: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_run, "run", raising(KeyError("x")))
    with pytest.raises(KeyError):
        cli.main(["run"])
    assert "a bug in the deployment" in str(scheduled.record().error)


def test_a_damaged_backup_fails_the_run_after_the_backups(scheduled: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (backup,) = store.backups_in(str(scheduled.backups), backups.VOLUME)
    Path(backup.archive_path).write_bytes(b"x" * backup.manifest.size)
    assert cli.main(["run"]) == 1
    record = scheduled.record()
    assert str(record.error).startswith("1 problem, 0 backups are good: archive ")
    assert record.totals["backed_up"] == 1
    assert 'result="bad"} 1' in scheduled.metrics()
    assert cli.main(["list"]) == 0
    assert "NOT GOOD: archive" in capsys.readouterr().out


def test_metrics_are_written_when_the_directory_cannot_be_read(
    scheduled: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled.backups.rename(scheduled.root / "away")
    scheduled.backups.write_text("")
    monkeypatch.setattr(backup_run, "run", raising(DeployError("directory for backups cannot be created")))
    assert cli.main(["run"]) == 1
    assert f'last_run_success{{hub="{HUB}"}} 0' in scheduled.metrics()


def test_a_run_that_is_killed_has_no_end(scheduled: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_run, "run", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    child = os.fork()
    if not child:
        cli.main(["run"])
        os._exit(0)
    os.waitpid(child, 0)
    record = scheduled.record()
    assert (record.process, record.ended) == (child, None)
    assert not report.is_running(record)


def test_administrators_can_verify_and_list(scheduled: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    assert "not verified yet" in capsys.readouterr().out
    assert cli.main(["verify", "newest", "--user", "alice"]) == 0
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("  good")
    assert cli.main(["verify", "--user", "zoe"]) == 1
    assert "user zoe has no backup" in capsys.readouterr().err


def test_the_hub_is_selected(scheduled: Place, capsys: pytest.CaptureFixture[str]) -> None:
    scheduled.module(hub="lab")
    assert cli.main(["list"]) == 1
    assert f"select one: --hub {HUB} or --hub lab" in capsys.readouterr().err
    assert cli.main(["--hub", HUB, "list"]) == 0
    scheduled.module("", hub="lab")
    scheduled.module("")
    assert cli.main(["list"]) == 1
    assert "no backups are scheduled on this host; set jupyterhub_backup_schedule" in capsys.readouterr().err
    assert cli.main(["--hub", "zoe", "list"]) == 1
    assert "no backups of hub zoe are scheduled on this host" in capsys.readouterr().err


def test_a_good_backup_is_verified_again_after_some_time(scheduled: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[verify.VerifySettings] = []
    real = verify.run

    def run(settings: verify.VerifySettings, check_mode: bool, progress: Reporter) -> dict[str, Any]:
        asked.append(settings)
        return real(settings, check_mode, progress)

    monkeypatch.setattr(verify, "run", run)
    cli.main(["run"])
    assert (asked[0].backup, asked[0].again_after_days) == ("newest", 30)

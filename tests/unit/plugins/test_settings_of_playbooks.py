"""Each playbook checks the settings that it uses before anything happens, and nothing of the others but their names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.plays import inventory, play

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = [
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.yml"), *ROOT.glob("playbooks/*.yml"))
    if path.name not in ("requirements.yml", "mkdocs.yml")
]
FIX = "Nothing was changed. Fix these settings:\n"
PARAMETERS = {
    "playbooks/user.yml": {"user": "alice", "do": "disable"},
    "playbooks/delete_user.yml": {"user": "alice"},
    "playbooks/discard_accounts.yml": {"since": "2026-11-27T10:00"},
}


def refused(hosts: Path, playbook: str, **settings: Any) -> str:
    """Return the output of a run that has to fail at the check of the settings."""
    extra = json.dumps({**PARAMETERS.get(playbook, {}), **settings})
    code, output = play(hosts, ROOT / playbook, "-e", extra)
    assert code == 2, output
    assert re.findall(r"^TASK \[(.*)\]", output, re.MULTILINE)[-1] == "preflight : Check the settings"
    assert FIX in output
    return output


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    return inventory(tmp_path, "jhd-test-settings")


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_each_play_begins_with_the_checks(playbook: str) -> None:
    for play_of in yaml.safe_load((ROOT / playbook).read_text(encoding="utf-8")):
        if "hosts" in play_of:
            tasks = play_of.get("pre_tasks", []) + play_of.get("tasks", [])
            roles = [task["ansible.builtin.import_role"]["name"] for task in tasks[1:2]]
            roles += [role["role"] for role in play_of.get("roles", [])]
            assert roles[0] == "preflight"


@pytest.mark.parametrize("playbook", ["backup.yml", "restore.yml", "playbooks/recover.yml", "playbooks/user.yml"])
def test_wrong_settings_are_named(playbook: str, hosts: Path) -> None:
    output = refused(hosts, playbook, jupyterhub_backup_dirr="/srv", jupyterhub_backup_dir="backups")

    assert "- jupyterhub_backup_dirr is not a setting; did you mean jupyterhub_backup_dir? " in output
    assert "- jupyterhub_backup_dir is 'backups'; use an absolute path\n" in output


def test_a_setting_of_another_role_is_checked_where_it_is_read(hosts: Path) -> None:
    output = refused(hosts, "status.yml", jupyterhub_name="Lab_1", docker_minimum_version=20.10)
    assert "- jupyterhub_name is 'Lab_1'; use at most 40" in output
    assert "docker_minimum_version" not in output

    output = refused(hosts, "playbooks/recover.yml", docker_minimum_version=20.10)
    assert "- docker_minimum_version is the number 20.1; put it in quotes" in output


def test_other_values_are_not_read(hosts: Path) -> None:
    # An encrypted password, for example, needs no vault password to make a backup.
    extra = {"jupyterhub_admin_password": "{{ no_such_variable }}", "jupyterhub_version": "1"}
    code, output = play(hosts, ROOT / "backup.yml", "--tags", "always", "-e", json.dumps(extra))
    assert code == 0, output
    assert "TASK [preflight : Check the settings]" in output

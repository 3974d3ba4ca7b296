"""A host whose backup schedule was installed by the version with one flat folder of modules."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.hosts import ROOT, Host

LIBRARY = "/usr/local/lib/jupyterhub-deploy"
FLAT = f"{LIBRARY}/ansible/module_utils/jupyterhub_deploy"
COMMAND = "/usr/local/sbin/jupyterhub-backup"
UNITS = "/etc/systemd/system"
SERVICE = "jupyterhub-backup.service"
# Names of that version. A module there with the name of a sub-package now is the hardest case.
FLAT_MODULES = (
    "backup_command",
    "backup_job",
    "backup_plan",
    "backup_run",
    "backup_store",
    "engine",
    "errors",
    "schedule",
)
FLAT_COMMAND = f"""\
#!/usr/bin/python3 -I
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, "{LIBRARY}")

from ansible.module_utils.jupyterhub_deploy.backup_command import main

sys.exit(main())
"""
PLAY = """\
- hosts: all
  become: true
  gather_facts: true
  gather_subset: ['!all', '!min', distribution]
  roles:
    - docker
  tasks:
    - ansible.builtin.import_role:
        name: jupyterhub_backup
        tasks_from: schedule
"""
SETTINGS = {"jupyterhub_backup_schedule": "02:30", "jupyterhub_backup_hub_state": False}


def install_flat_layout(host: Host) -> None:
    """Write the files of the previous version that a later one finds."""
    for name in ("ansible/__init__", "ansible/module_utils/__init__"):
        host.write(f"{LIBRARY}/{name}.py", "")
    host.write(f"{FLAT}/__init__.py", "")
    for name in FLAT_MODULES:
        host.write(f"{FLAT}/{name}.py", f"raise SystemExit('flat module {name} was imported')\n")
    # Left by hand or by an interpreter that wrote bytecode.
    host.write(f"{FLAT}/__pycache__/backup_command.cpython-311.pyc", "old")
    host.write(COMMAND, FLAT_COMMAND)
    settings = {"schedule": "02:30", "late_hours": 26, "metrics_dir": "/var/lib/jupyterhub-deploy/metrics"}
    backup = {"name": "jupyterhub", "directory": "/var/backups/jupyterhub"}
    host.write("/etc/jupyterhub-deploy/backup-jupyterhub.json", json.dumps({**settings, "backup": backup}))
    host.write(f"{UNITS}/{SERVICE}", f"[Service]\nType=oneshot\nExecStart={COMMAND} --hub jupyterhub run\n")
    host.write(f"{UNITS}/jupyterhub-backup.timer", "[Timer]\nOnCalendar=02:30\n\n[Install]\nWantedBy=timers.target\n")
    host.run(f"chmod 755 {COMMAND} && systemctl daemon-reload && systemctl enable --now jupyterhub-backup.timer")


def install_schedule(host: Host, directory: Path) -> str:
    """Run the role; return its output."""
    (directory / "play.yml").write_text(PLAY, encoding="utf-8")
    (directory / "hosts.json").write_text(
        json.dumps({"all": {"hosts": {"server": host.inventory()}}}), encoding="utf-8"
    )
    done = subprocess.run(
        ["ansible-playbook", "-i", directory / "hosts.json", directory / "play.yml", "-e", json.dumps(SETTINGS)],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, text=True, check=False, timeout=900,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host.create("debian12")
    yield made
    made.destroy()


def test_the_schedule_of_the_flat_version_is_replaced_and_works(host: Host, tmp_path: Path) -> None:
    install_flat_layout(host)
    assert "flat module backup_command was imported" in host.run(f"{COMMAND} list", check=False).stdout

    install_schedule(host, tmp_path)

    files = host.run(f"cd {FLAT} && find . -type f").stdout.splitlines()
    ground = {"__init__", "errors", "files", "module", "processes", "progress", "text"}
    assert {Path(name).stem for name in files if name.count("/") == 1} <= ground
    assert not [name for name in files if name.endswith(".pyc")]
    assert host.run(f"grep -rl 'flat module' {LIBRARY}", check=False).stdout == ""
    assert host.run(f"find {LIBRARY} -type d -empty").stdout == ""

    host.run("docker volume create jupyterhub-user-alice")
    host.run("echo 42 > /var/lib/docker/volumes/jupyterhub-user-alice/_data/answer")
    host.run(f"systemctl start {SERVICE}")
    listed = host.run("jupyterhub-backup list").stdout.split()
    assert (listed[0], listed[-1]) == ("jupyterhub-user-alice", "good")
    assert host.run("systemctl is-enabled jupyterhub-backup.timer").stdout.strip() == "enabled"
    assert host.run("systemctl is-active jupyterhub-backup.timer").stdout.strip() == "active"
    assert "changed=0 " in install_schedule(host, tmp_path)

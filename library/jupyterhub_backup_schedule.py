#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_schedule
short_description: Install or remove the backup schedule of a hub
description:
  - Installs the command C(jupyterhub-backup) with the code of the module M(jupyterhub_backup), its settings, and a
    systemd timer that starts it. On a host without systemd, a crontab in C(/etc/cron.d) starts it.
  - Each hub on a host has a schedule with the hub's name. All of them share the command.
  - An empty O(schedule) removes everything that was installed. The backups stay.
options:
  schedule:
    description:
      - When to run, as a systemd calendar expression (C(man systemd.time)), such as V(02:30) or V(Mon..Fri 02:30).
      - On a host without systemd, V(hourly), V(daily), V(weekly), V(monthly), or the five fields of a crontab in
        numbers, such as V(30 2 * * 1-5).
    type: str
    required: true
  late_hours:
    description: Hours without a successful run after which backups count as late.
    type: float
    default: 26
  metrics_dir:
    description: Directory for the metrics file.
    type: path
    default: /var/lib/jupyterhub-deploy/metrics
  backup:
    description: Options of the module M(jupyterhub_backup) for each run.
    type: dict
    required: true
  push:
    description:
      - Another machine that each run sends the backups to. The options are C(to), C(host_key), C(key_file) and C(port)
        of the module M(jupyterhub_backup_copy). The first run creates the key. Without it, runs do not send anything.
    type: dict
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Back up every night
  jupyterhub_backup_schedule:
    schedule: 02:30
    backup:
      name: jupyterhub
      directory: /var/backups/jupyterhub
      keep:
        daily: 7

- name: Remove the schedule
  jupyterhub_backup_schedule:
    schedule: ""
    backup:
      name: jupyterhub
      directory: /var/backups/jupyterhub
"""

RETURN = r"""
starter:
  description: The program that starts the command, V(systemd) or V(cron).
  type: str
  returned: success
written:
  description: Files that were written.
  type: list
  elements: str
  returned: success
removed:
  description: Files that were removed.
  type: list
  elements: str
  returned: success
missing:
  description: Packages that a run needs and that are not installed.
  type: list
  elements: str
  returned: success
  sample: [zstd]
cron_runs:
  description: Whether cron runs; true on a host with systemd.
  type: bool
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup.settings import BACKUP
from ansible.module_utils.jupyterhub_deploy.copy import push
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.schedule import cli, install, settings

ARGUMENTS: dict[str, dict[str, Any]] = {
    "schedule": {"type": "str", "required": True},
    "late_hours": {"type": "float", "default": 26},
    "metrics_dir": {"type": "path", "default": "/var/lib/jupyterhub-deploy/metrics"},
    "backup": {"type": "dict", "required": True, "options": BACKUP},
    "push": {"type": "dict", "options": push.ARGUMENTS, "no_log": False},
}

# What the installed command runs. Ansible sends this module's imports to the host, and the module installs them.
COMMAND = cli.main


def run(module: AnsibleModule) -> dict[str, Any]:
    """Install or remove the schedule."""
    return install.run(settings.of(module.params), module.check_mode)


def main() -> None:
    """Entry point."""
    run_module(ARGUMENTS, run, doing="installing or removing the backup schedule")


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_status
short_description: Report the state of a hub's backups and of scheduled runs
description:
  - Only reads. Also works on a host without backups.
  - Reads only the newest manifest of each volume, so it is fast.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  directory:
    description: Directory of this hub's backups on the host.
    type: path
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: Nothing is ever changed.
    support: none
"""

EXAMPLES = r"""
- name: Read the status of the backups
  jupyterhub_backup_status:
    name: jupyterhub
    directory: /var/backups/jupyterhub
  register: status
"""

RETURN = r"""
messages:
  description: Lines to show.
  type: list
  elements: str
  returned: success
problems:
  description: Those of the messages that say what has to be fixed.
  type: list
  elements: str
  returned: success
directory:
  description: Directory of the backups.
  type: str
  returned: success
fault:
  description: Why the directory cannot be read; none if it can.
  type: str
  returned: success
archives:
  description: Number of backups.
  type: int
  returned: success
size:
  description: Bytes of all archives.
  type: int
  returned: success
newest_age_seconds:
  description: Seconds since the newest backup was started; none without backups.
  type: int
  returned: success
volumes:
  description: The backups of each volume, and of the hub's own state.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: 'Name of the volume, or V(hub).', type: str}
    user: {description: The user of the volume., type: str}
    newest: {description: When its newest backup was started., type: str}
    archives: {description: Number of its backups., type: int}
    size: {description: Bytes of its archives., type: int}
    good: {description: Whether the newest is good; none if it was not verified yet., type: bool}
gaps:
  description: A message about the users' files that are in no backup, empty when there are none.
  type: list
  elements: str
  returned: success
schedule:
  description: State of the scheduled runs; none without a schedule.
  type: dict
  returned: success
  contains:
    calendar: {description: When they run., type: str}
    state: {description: 'V(ok), V(failed), V(running), V(killed), or V(waiting) for the first run.', type: str}
    error: {description: Why the last run failed., type: str}
    last_run: {description: When the last run ended or, if it has not ended, started., type: str}
    last_success: {description: When the last successful run ended., type: str}
    late: {description: Whether the last successful run was too long ago., type: bool}
    overdue_seconds: {description: Seconds since the last successful run, if it is late., type: int}
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.schedule import status as backup_status
from ansible.module_utils.jupyterhub_deploy.text import problems

ARGUMENTS = {"name": {"type": "str", "required": True}, "directory": {"type": "path", "required": True}}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Read the status."""
    now = datetime.now(timezone.utc)
    status = backup_status.observe(module.params["name"], module.params["directory"], now)
    messages = backup_status.messages(status, now)
    return {"messages": messages, "problems": problems(messages), **status}


def main() -> None:
    """Entry point."""
    run_module(ARGUMENTS, run, doing="reading the status of backups")


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_status
short_description: Tell how the backups of a hub are, and how scheduled runs went
description:
  - Reads only. Works on a host without backups, and says so.
  - Reads the newest manifest of each volume and no archive, so it is quick.
author: jupyterhub-deploy-ansible contributors
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
- name: Look at the backups
  jupyterhub_backup_status:
    name: jupyterhub
    directory: /var/backups/jupyterhub
  register: status
"""

RETURN = r"""
text:
  description: All of it, to be read by people.
  type: str
  returned: success
directory:
  description: Where the backups are.
  type: str
  returned: success
fault:
  description: Why the directory cannot be read; none when it can.
  type: str
  returned: success
archives:
  description: How many backups there are.
  type: int
  returned: success
size:
  description: Bytes of all of them.
  type: int
  returned: success
newest_age_seconds:
  description: Seconds since the newest was begun; none when there is none.
  type: int
  returned: success
volumes:
  description: One for each volume that has backups, and one for the hub's own state.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: 'Name of the volume, or V(hub).', type: str}
    user: {description: Whose volume it is., type: str}
    newest: {description: When its newest backup was begun., type: str}
    archives: {description: How many backups it has., type: int}
    size: {description: Bytes of them., type: int}
    good: {description: Whether the newest is good; none when it was not read again yet., type: bool}
schedule:
  description: How scheduled runs are; none without a schedule.
  type: dict
  returned: success
  contains:
    calendar: {description: When they are., type: str}
    state: {description: 'V(ok), V(failed), V(running), V(killed), or V(waiting) for the first run.', type: str}
    error: {description: Why the last run failed., type: str}
    last_run: {description: When the last run ended or, without an end, began., type: str}
    last_success: {description: When the last good run ended., type: str}
    late: {description: Whether there was no good run for too long., type: bool}
    overdue_seconds: {description: For how long there was none, when it is too long., type: int}
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.schedule import status as backup_status

ARGUMENTS = {"name": {"type": "str", "required": True}, "directory": {"type": "path", "required": True}}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work of the module."""
    now = datetime.now(timezone.utc)
    status = backup_status.observe(module.params["name"], module.params["directory"], now)
    return {"text": backup_status.text(status, now), **status}


def main() -> None:
    """Entry point."""
    run_module(ARGUMENTS, run, doing="reading the status of backups")


if __name__ == "__main__":
    main()

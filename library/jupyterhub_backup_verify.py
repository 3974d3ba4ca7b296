#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_verify
short_description: Verify backups, and record the results
description:
  - Reads whole archives, compares their checksums with the manifests, and validates every member like a restore.
    Extracts nothing.
  - Writes the result beside each backup (C(<name>.verified)). It is valid until the archive changes. The module
    M(jupyterhub_backup) never removes the newest good backup.
  - For an encrypted backup, only the checksum is compared, because the host cannot read the content.
  - Fails if a backup is not good, or a manifest has no valid backup, after it has verified the others.
options:
  name:
    description: Name of the hub whose users O(users) are.
    type: str
    required: true
  directory:
    description: Directory of a hub's backups on the host.
    type: path
    required: true
  users:
    description: Users whose backups to verify. When empty, those of all users and of the hub.
    type: list
    elements: str
    default: []
  backup:
    description: V(all), the V(newest) of each volume, or the name of one, such as V(20261123T014440Z).
    type: str
    default: all
  again_after_days:
    description: Skip backups that were verified as good within this number of days. With 0, verify all backups again.
    type: int
    default: 0
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description: Verifies the backups, and does not record the results.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: Reports a change if a result differs from the recorded one. The time is recorded in any case.
requirements:
  - GNU tar, and zstd or gzip for archives that were compressed with them
"""

EXAMPLES = r"""
- name: Verify the newest backup of every volume
  jupyterhub_backup_verify:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    backup: newest

- name: Verify all backups of alice
  jupyterhub_backup_verify:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    users: [alice]
"""

RETURN = r"""
results:
  description: The result for each backup.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: 'Name of the volume, or V(hub).', type: str}
    user: {description: The user of the volume., type: str}
    backup: {description: Path of the archive., type: str}
    good: {description: Whether it can be restored., type: bool}
    fault: {description: Why it cannot be restored., type: str}
    members_read: {description: Whether its members were validated; false for encrypted backups., type: bool}
    read: {description: Whether this run verified it; false if a recent result was used., type: bool}
    time: {description: When it was verified., type: str}
    size: {description: Bytes of the archive., type: int}
    seconds: {description: How long it took., type: float}
problems:
  description: Backups that are missing, and manifests without a valid backup.
  type: list
  elements: str
  returned: always
totals:
  description: Number of good and bad backups, number of those verified now, and their bytes.
  type: dict
  returned: always
  sample: {"good": 40, "bad": 0, "read": 40, "size": 12000000}
messages:
  description: Lines to show.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import verify
from ansible.module_utils.jupyterhub_deploy.backup.settings import load
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "users": {"type": "list", "elements": "str", "default": []},
    "backup": {"type": "str", "default": verify.ALL},
    "again_after_days": {"type": "int", "default": 0},
    "progress_file": {"type": "path"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Verify backups.

    :raises DeployError: a backup is damaged, or cannot be read.
    """
    settings = load(verify.VerifySettings, module.params)
    result = verify.run(settings, module.check_mode, Reporter(module.params["progress_file"]))
    problem = verify.failure(result)
    if problem:
        raise DeployError(problem, result)
    return result


def main() -> None:
    """Entry point."""
    run_module(ARGUMENTS, run, doing="verifying backups")


if __name__ == "__main__":
    main()

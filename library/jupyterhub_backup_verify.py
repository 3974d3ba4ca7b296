#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_verify
short_description: Read backups again, and remember which of them are good
description:
  - Reads archives from the first to the last byte, compares their checksums with the manifests, and judges every member
    as a restore would. Nothing is extracted.
  - What was found is written beside each backup (C(<name>.verified)), and counts until the archive's file changes.
    The module M(jupyterhub_backup) never removes the newest backup that is good.
  - Of an encrypted backup the checksum alone is compared; the host cannot read more of it.
  - The module fails when a backup is not good, or when something lies there that looks like a backup and is none; the
    others are read nevertheless.
author: jupyterhub-deploy-ansible contributors
options:
  directory:
    description: Directory of a hub's backups on the host.
    type: path
    required: true
  users:
    description: Whose backups to read. When empty, those of all, and the hub's own.
    type: list
    elements: str
    default: []
  backup:
    description: V(all), the V(newest) of each volume, or the name of one, such as V(20261123T014440Z).
    type: str
    default: all
  again_after_days:
    description: Leave out backups that were found good within so many days. 0 reads all of them again.
    type: int
    default: 0
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description: Reads and judges, and writes nothing down.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: A change is that something else was found than before. The time of reading is written down in any case.
requirements:
  - GNU tar, and zstd or gzip for what was compressed by them
"""

EXAMPLES = r"""
- name: Read the newest backup of every volume again
  jupyterhub_backup_verify:
    directory: /var/backups/jupyterhub
    backup: newest

- name: Read all of alice's
  jupyterhub_backup_verify:
    directory: /var/backups/jupyterhub
    users: [alice]
"""

RETURN = r"""
results:
  description: One for each backup.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: 'Name of the volume, or V(hub).', type: str}
    user: {description: Whose volume it is., type: str}
    backup: {description: The archive., type: str}
    good: {description: Whether it can be restored., type: bool}
    fault: {description: Why not., type: str}
    members_read: {description: Whether its members were read; not when it is encrypted., type: bool}
    read: {description: Whether it was read now; else it was lately., type: bool}
    time: {description: When it was read., type: str}
    size: {description: Bytes of the archive., type: int}
    seconds: {description: How long it took., type: float}
problems:
  description: What cannot be had, and what looks like a backup and is none.
  type: list
  elements: str
  returned: always
totals:
  description: How many are good and bad, how many were read now, and the bytes of those.
  type: dict
  returned: always
  sample: {"good": 40, "bad": 0, "read": 40, "size": 12000000}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import verify
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work of the module.

    :raises DeployError: a backup is damaged, or cannot be read.
    """
    result = verify.run(module.params, module.check_mode)
    problem = verify.failure(result)
    if problem:
        raise DeployError(problem, result)
    return result


def main() -> None:
    """Entry point."""
    run_module({**verify.ARGUMENTS, "progress_file": {"type": "path"}}, run, doing="verifying backups")


if __name__ == "__main__":
    main()

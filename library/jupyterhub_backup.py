#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup
short_description: Back up the volumes of a hub's users, and the hub's own state
description:
  - Writes each volume to an archive of its own that plain C(tar) can extract, with a manifest beside it. A backup that
    is not finished is never seen as one, whatever ends the run; what such a run left is removed by the next.
  - A volume whose newest backup holds all that is in it is skipped. To find out, its files are listed, not read.
  - The hub's own state is its database (copied while the hub runs), its secrets, its configuration and the ids of its
    images.
  - When the backup of one volume fails, the others are made nevertheless. The module fails in the end and names it.
  - Volumes that only a container can read (another driver, options of the driver) are read through a container that
    holds them meanwhile, from the image of the hub.
  - Files that change while they are read are part of the archive as far as they could be read, and are named.
author: jupyterhub-deploy-ansible contributors
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  directory:
    description: Directory of this hub's backups on the host. It is made, and is root's alone.
    type: path
    required: true
  volumes:
    description: Names of the only volumes to back up. When empty, those of all users of the hub.
    type: list
    elements: str
    default: []
  exclude:
    description: Names of volumes that are not backed up, also when O(volumes) has them.
    type: list
    elements: str
    default: []
  hub_state:
    description: Whether the hub's own state is backed up, too.
    type: bool
    default: true
  compression:
    description: How archives are compressed. V(zstd) is both the fastest and the smallest.
    type: str
    choices: [zstd, gzip, none]
    default: zstd
  recipients:
    description:
      - Public keys, C(age)'s own (C(age1…)) or SSH keys (C(ssh-ed25519), C(ssh-rsa)), that archives are encrypted for.
        Whoever has the private key of one of them can read them; the host cannot. Plain when empty.
      - A new list means a new backup of everything; older ones stay as they are.
    type: list
    elements: str
    default: []
  consistency:
    description:
      - What happens to the containers that use a volume while it is read.
      - V(live) leaves them alone. V(paused) pauses them, for just as long as C(tar) runs. V(stopped) has the hub stop
        the servers among them, but not one that computes; they are not started again.
      - A volume that could not be brought to rest is backed up all the same, and its manifest says V(live).
      - The volume with the hub's database is always read V(live). The database itself is copied as a whole.
    type: str
    choices: [live, paused, stopped]
    default: live
  token_file:
    description:
      - The hub's secret C(api_token), needed for O(consistency=stopped). When empty, the one in O(config_dir).
    type: path
    default: ""
  stop_timeout:
    description: Seconds that one server gets to stop.
    type: int
    default: 60
  force:
    description: Whether to make a backup also of what has not changed since its newest one.
    type: bool
    default: false
  parallel:
    description: How many backups are made at the same time.
    type: int
    default: 2
  keep:
    description:
      - Which backups stay after a run, of each volume and of the hub's state. Without it, all of them.
      - One that any of the rules keeps stays. The newest one stays always, and so does the newest one whose archive was
        read again and found to be good.
    type: dict
    suboptions:
      last:
        description: So many of the newest.
        type: int
        default: 0
      daily:
        description: The newest of each of so many days (UTC) that have one.
        type: int
        default: 0
      weekly:
        description: The newest of each of so many weeks (from Monday) that have one.
        type: int
        default: 0
      monthly:
        description: The newest of each of so many months that have one.
        type: int
        default: 0
  config_dir:
    description: Directory of the hub's secrets and configuration.
    type: path
    default: /etc/jupyterhub
  data_volume:
    description: Volume with the hub's database. When empty, C(<name>-data).
    type: str
    default: ""
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description:
      - Looks at the volumes and tells what would be backed up; writes nothing. Starts no container and copies no
        database either, and so takes a volume that needs one, and the hub's own state, for changed.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the target
  - GNU tar, and zstd or gzip on the target; age with O(recipients)
"""

EXAMPLES = r"""
- name: Back up the hub
  jupyterhub_backup:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    keep:
      last: 3
      daily: 7
      weekly: 4

- name: Back up one volume now
  jupyterhub_backup:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    volumes: [jupyterhub-user-alice]
    hub_state: false
    force: true
"""

RETURN = r"""
results:
  description: One for each volume and for the hub's state, by name; those that failed, too.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: 'Name of the volume, or V(hub).', type: str}
    user: {description: Whose volume it is; none when it does not say so., type: str}
    action: {description: 'V(backed_up) (in check mode, would be), V(unchanged) or V(failed).', type: str}
    backup: {description: The archive that holds it now., type: str}
    size: {description: Bytes of the archive., type: int}
    content_size: {description: Bytes before compression., type: int}
    members: {description: Entries in the archive., type: int}
    changed_files: {description: Files that changed while they were read., type: list, elements: str}
    sockets: {description: Sockets; no archive can hold them., type: list, elements: str}
    unrestorable:
      description:
        - Files and directories that are in the archive, but whose paths of more than 4064 bytes no C(tar) can extract.
          A restore leaves them out, and says so.
      type: list
      elements: str
    seconds: {description: How long it took., type: float}
    consistency: {description: 'V(live), V(paused) or V(stopped), as it came to be.', type: str}
    paused: {description: Containers that were paused., type: list, elements: str}
    stopped: {description: Containers of servers that were stopped and are stopped still., type: list, elements: str}
    not_at_rest: {description: 'Why it was not as O(consistency) asks, a sentence each.', type: list, elements: str}
    error: {description: Why it failed., type: str}
totals:
  description: How many were backed up, unchanged and failed, and the sums of their sizes.
  type: dict
  returned: always
  sample: {"backed_up": 2, "unchanged": 40, "failed": 0, "size": 12000000, "content_size": 31000000}
cleaned:
  description: What a run that was killed had left, and was removed, or unpaused.
  type: list
  elements: str
  returned: always
removed:
  description: Archives that O(keep) did not keep, and were removed.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import run as backup_run
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work of the module.

    :raises DeployError: some backups failed, or none could be started.
    """
    result = backup_run.run(module.params, module.check_mode)
    problem = backup_run.failure(result["results"])
    if problem:
        raise DeployError(problem, result)
    return result


def main() -> None:
    """Entry point."""
    run_module({**backup_run.ARGUMENTS, "progress_file": {"type": "path"}}, run, doing="backing up volumes")


if __name__ == "__main__":
    main()

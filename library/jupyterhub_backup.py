#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup
short_description: Back up the volumes of a hub's users, and the hub's own state
description:
  - Writes each volume to its own archive, which plain C(tar) can extract, with a manifest beside it. An interrupted run
    leaves no incomplete backup; the next run removes its remaining files.
  - Skips a volume that has not changed since its newest backup. To detect changes, files are listed, not read.
  - The hub's own state is its database (copied while the hub runs), its secrets, its configuration and the ids of its
    images.
  - If the backup of a volume fails, the module continues with the others, and fails at the end with its name.
  - Volumes that only a container can read (another driver, driver options other than C(size)) are read through a
    temporary container with the image of the hub.
  - Files that change while they are read are archived as far as they could be read, and are listed in the result.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  directory:
    description: Directory of this hub's backups on the host. The module creates it; only root can read it.
    type: path
    required: true
  volumes:
    description: Names of the volumes to back up. When empty, those of all users of the hub.
    type: list
    elements: str
    default: []
  exclude:
    description: Names of volumes that are not backed up, even if O(volumes) includes them.
    type: list
    elements: str
    default: []
  hub_state:
    description: Whether to back up the hub's own state, too.
    type: bool
    default: true
  compression:
    description: How archives are compressed. V(zstd) is both the fastest and the smallest.
    type: str
    choices: [zstd, gzip, none]
    default: zstd
  recipients:
    description:
      - Public keys of C(age) (C(age1…)) or SSH (C(ssh-ed25519), C(ssh-rsa)) for which archives are encrypted. Anyone
        who has the private key of one of them can read the archives; the host cannot. When empty, archives are not
        encrypted.
      - When the list changes, the next run backs up everything again; older backups stay as they are.
    type: list
    elements: str
    default: []
  consistency:
    description:
      - What happens to the containers that use a volume while it is read.
      - V(live) does nothing. V(paused) pauses them while C(tar) runs. V(stopped) stops the servers among them through
        the hub, except busy ones; they are not started again.
      - A volume whose containers could not be paused or stopped is backed up as V(live), and its manifest says so.
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
    description: Seconds to wait until a server has stopped.
    type: int
    default: 60
  force:
    description: Whether to back up volumes that have not changed, too.
    type: bool
    default: false
  parallel:
    description: Number of backups to run at the same time.
    type: int
    default: 2
  keep:
    description:
      - Which backups of each volume and of the hub's state to keep after a run. By default, all of them.
      - A backup stays if one of the rules keeps it. The newest backup always stays, and so does the newest one that was
        verified as good.
    type: dict
    suboptions:
      last:
        description: Keep this many of the newest backups.
        type: int
        default: 0
      daily:
        description: Keep the newest backup of each of this many days (UTC) that have one.
        type: int
        default: 0
      weekly:
        description: Keep the newest backup of each of this many weeks (from Monday) that have one.
        type: int
        default: 0
      monthly:
        description: Keep the newest backup of each of this many months that have one.
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
  front_dir:
    description: Directory of the host's front. The backup of the hub's state gets the certificate from ACME.
    type: path
    default: /etc/jupyterhub-front
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description:
      - Reports what would be backed up, and writes nothing. Starts no container and copies no database, and so
        reports the hub's own state, and volumes that need a container, as changed.
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
  description: The result for each volume and for the hub's state, including failures.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: 'Name of the volume, or V(hub).', type: str}
    user: {description: The user of the volume; none if its labels do not name one., type: str}
    action: {description: 'V(backed_up) (in check mode, would be backed up), V(unchanged) or V(failed).', type: str}
    backup: {description: Path of the newest archive., type: str}
    size: {description: Bytes of the archive., type: int}
    content_size: {description: Bytes before compression., type: int}
    members: {description: Entries in the archive., type: int}
    changed_files: {description: Files that changed while they were read., type: list, elements: str}
    sockets: {description: Sockets, which an archive cannot contain., type: list, elements: str}
    unrestorable:
      description:
        - Files and directories that are in the archive, but whose paths of more than 4064 bytes no C(tar) can extract.
          A restore leaves them out and reports them.
      type: list
      elements: str
    seconds: {description: How long it took., type: float}
    consistency: {description: 'V(live), V(paused) or V(stopped), as achieved.', type: str}
    paused: {description: Containers that were paused., type: list, elements: str}
    stopped: {description: Containers of servers that were stopped., type: list, elements: str}
    not_at_rest:
      description: Containers that continued to run despite O(consistency), with the reason.
      type: list
      elements: str
    error: {description: Why it failed., type: str}
totals:
  description: How many were backed up, unchanged and failed, and the sums of their sizes.
  type: dict
  returned: always
  sample: {"backed_up": 2, "unchanged": 40, "failed": 0, "size": 12000000, "content_size": 31000000}
cleaned:
  description: Files and containers of a killed run that were removed, and containers that were unpaused.
  type: list
  elements: str
  returned: always
removed:
  description: Archives that were removed according to O(keep).
  type: list
  elements: str
  returned: always
messages:
  description: Lines to show.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import run as backup_run
from ansible.module_utils.jupyterhub_deploy.backup import settings
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.progress import Reporter


def run(module: AnsibleModule) -> dict[str, Any]:
    """Back up.

    :raises DeployError: some backups failed, or none could be started.
    """
    wanted = settings.load(settings.BackupSettings, module.params)
    result = backup_run.run(wanted, module.check_mode, Reporter(module.params["progress_file"]))
    problem = backup_run.failure(result["results"])
    if problem:
        raise DeployError(problem, result)
    return result


def main() -> None:
    """Entry point."""
    run_module({**settings.BACKUP, "progress_file": {"type": "path"}}, run, doing="backing up volumes")


if __name__ == "__main__":
    main()

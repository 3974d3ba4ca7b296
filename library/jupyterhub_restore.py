#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_restore
short_description: Restore users' volumes from backups, or list what can be restored
description:
  - Takes the newest backup of each volume, or a named one, and puts its data in the volume's place in one step.
  - Each member of the archive is validated before C(tar) gets it, and the checksum at the end, while the data are
    extracted beside the volume's own. A member that could write outside of the volume, a device, or an archive that is
    not whole is refused; then the new data are discarded, and the volume keeps its own.
  - Refuses a volume that a container uses, a volume of another user or hub, and one with a driver other than C(local)
    or with driver options other than C(size).
  - Users of the same name are told apart by the time at which they were added to the hub. A backup of an earlier one is
    not restored to the volume of a later one, and a volume that the restore creates belongs to the user of the backup.
    O(backup) together with O(users) or O(volumes), or O(to_user), gives the files to the present user of the name.
  - One volume's failure does not stop the others; the module fails at the end and names all that failed.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  directory:
    description: Directory of this hub's backups on the host.
    type: path
    required: true
  state:
    description:
      - V(listed) only reads, and returns what can be restored.
      - V(restored) restores.
    type: str
    choices: [listed, restored]
    default: listed
  users:
    description: The users whose volumes to list or restore. A list without O(users) and O(volumes) has all backups.
    type: list
    elements: str
    default: []
  volumes:
    description: Volumes by name, instead of or in addition to O(users).
    type: list
    elements: str
    default: []
  every_volume:
    description: Restore all volumes of which there is a backup. Not together with O(users) or O(volumes).
    type: bool
    default: false
  backup:
    description: Name of the backup, such as C(20261123T014440Z). The newest of each volume if not given.
    type: str
  to_user:
    description: Give the data of one volume to this user instead. A volume that this user has is replaced.
    type: str
  keep_old:
    description:
      - Keep the data that are replaced, beside the volume's own; the result says where. They take disk space until
        they are removed, or the volume is.
    type: bool
    default: true
  stop_servers:
    description: Stop a user's server that uses the volume, through the hub, instead of refusing.
    type: bool
    default: false
  token_file:
    description: The hub's secret C(api_token) on the host, needed with O(stop_servers=true).
    type: path
  timeout:
    description: Seconds that a server gets to stop.
    type: int
    default: 60
  parallel:
    description: How many volumes are restored at the same time.
    type: int
    default: 2
  verify:
    description:
      - For O(state=listed), read each archive and validate it as a restore does. Of an encrypted one without
        O(identity) only the checksum; C(not_verified) says so.
    type: bool
    default: false
  identity:
    description:
      - The text of the file with the private key for encrypted backups, C(age)'s own or an SSH key. It is kept in
        memory and never written to the host's disk. On the task, give O(identity_file) instead.
    type: str
  identity_file:
    description: On the control machine, file with the private key. The action plugin reads it and passes O(identity).
    type: path
  limit:
    description:
      - Name of the host in the inventory, for the commands in messages. The action plugin gives it if the inventory has
        several hosts.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Reads and validates the archives, and writes nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    description: Each run with O(state=restored) restores.
requirements:
  - docker (Python SDK) 5.0 or newer on the target
  - GNU tar, and zstd or gzip for what was compressed by them
  - age for what was encrypted
"""

EXAMPLES = r"""
- name: List what can be restored
  jupyterhub_restore:
    name: jupyterhub
    directory: /var/backups/jupyterhub

- name: Restore alice's newest backup
  jupyterhub_restore:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    state: restored
    users: [alice]

- name: Restore from encrypted backups
  jupyterhub_restore:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    state: restored
    users: [alice]
    identity_file: ~/keys/backup.txt

- name: Restore a backup of alice's volume to bob's
  jupyterhub_restore:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    state: restored
    users: [alice]
    backup: 20261123T014440Z
    to_user: bob
"""

RETURN = r"""
backups:
  description:
    - What can be restored, oldest first of each volume.
    - C(verified) is null when the backup was not read since it was made (O(verify=true) reads it now), C(verified_at)
      says when it was read, and C(fault) what is wrong with one that is not good. C(message) is the line to show.
  type: list
  elements: dict
  returned: for O(state=listed)
  sample: [{"backup": "20261123T014440Z", "volume": "jupyterhub-user-alice", "user": "alice", "size": 1048576}]
faults:
  description: Files in the directory that look like a backup but are not one, with the reason.
  type: list
  elements: str
  returned: for O(state=listed)
restored:
  description:
    - Each volume that was restored, or in check mode would be; C(old_data) is where the old data are.
    - C(left_out) names what is in the archive but cannot be extracted, as its path is longer than 4064 bytes, and
      C(sockets) what no archive can hold. Of a directory, what is in it is not named.
  type: list
  elements: dict
  returned: for O(state=restored)
  sample: [{"volume": "jupyterhub-user-alice", "user": "alice", "backup": "20261123T014440Z", "created": false}]
failed_volumes:
  description: Each volume that was not, with the reason in C(message).
  type: list
  elements: dict
  returned: for O(state=restored)
messages:
  description: Lines to show.
  type: list
  elements: str
  returned: always
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import encryption, store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB, VOLUME
from ansible.module_utils.jupyterhub_deploy.backup.settings import check_parallel, load
from ansible.module_utils.jupyterhub_deploy.docker.client import connect
from ansible.module_utils.jupyterhub_deploy.errors import FAILURES, DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.restore import volumes
from ansible.module_utils.jupyterhub_deploy.restore.host import Host
from ansible.module_utils.jupyterhub_deploy.restore.select import Job, jobs_for, select_volumes
from ansible.module_utils.jupyterhub_deploy.restore.volumes import RestoreSettings


def listed(settings: RestoreSettings) -> dict[str, Any]:
    """Return what can be restored. Only reads."""
    backups, faults, hub_state = [], [], []
    named = bool(settings.users or settings.volumes)
    for folder in store.folders(settings.directory):
        found, wrong = store.list_backups(settings.directory, folder)
        faults += [fault.message for fault in wrong]
        for one in found:
            manifest = one.manifest
            selected = not named or any(map(manifest.is_of, settings.users)) or manifest.volume in settings.volumes
            if manifest.kind == VOLUME and selected and settings.backup in (None, one.stem):
                backups.append(volumes.describe(one, settings.verify))
            elif manifest.kind == HUB and not named:
                hub_state.append(f"-  {one.stem}  the hub's own state, which -e hub_state=true restores")
    lines = [str(one["message"]) for one in backups]
    if not backups:
        why = store.why_none(settings.directory)
        of = " of a volume" if hub_state or named else ""
        lines = [f"there is no backup{of} in {settings.directory}{why and f'; {why}'}"]
    return {"backups": backups, "faults": faults, "messages": lines + hub_state + faults}


def restored(settings: RestoreSettings, check_mode: bool) -> dict[str, Any]:
    """Restore the selected volumes, and collect the failures."""
    check_parallel(settings.parallel)
    named = bool(settings.users or settings.volumes)
    if named == settings.every_volume:
        raise DeployError("select what to restore: either users or volumes by name, or every_volume=true")
    done, failed = [], []
    # Keep backups from being made or removed meanwhile. The lock is a file, so not in check mode.
    with contextlib.nullcontext() if check_mode else store.lock(settings.directory, shared=True):
        backups, problems = select_volumes(
            settings.directory, settings.name, settings.users, settings.volumes, settings.backup
        )
        if settings.every_volume:  # the hub's state has a backup and a restore of its own
            backups = [one for one in backups if one.manifest.volume != f"{settings.name}-data"]
        if not backups and not problems:
            raise DeployError(f"there is no backup of any volume in {settings.directory}")
        # The newest backup may be of an earlier user of the name; one that is named was chosen for the present user.
        hands_over = named and settings.backup is not None
        jobs = jobs_for(backups, settings.name, settings.users, settings.to_user, hands_over) if backups else []
        failed += [{"volume": None, "user": None, "message": problem} for problem in problems]
        host = Host(connect() if jobs else None, settings.name, settings.limit)
        left = host.remove_interrupted() if jobs and not check_mode else []

        def restore_one(job: Job) -> dict[str, Any] | str:
            try:
                return volumes.restore(host, job, settings, check_mode)
            except FAILURES as error:  # the other volumes are restored anyway
                return str(error)

        # One waits for the disk while another is validated.
        with ThreadPoolExecutor(max_workers=settings.parallel) as pool:
            for job, result in zip(jobs, pool.map(restore_one, jobs)):
                if isinstance(result, str):
                    failed.append({"volume": job.volume, "user": job.user, "message": result})
                else:
                    done.append(result)
    return {
        "changed": bool(done),
        "restored": done,
        "failed_volumes": failed,
        "messages": [
            *(f"volume {name}: removed after an interrupted restore" for name in left),
            *(str(one["message"]) for one in done),
            *(
                ": ".join(filter(None, ["NOT RESTORED", one["user"] or one["volume"], one["message"]]))
                for one in failed
            ),
        ],
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    """List or restore; return the module's result."""
    settings = load(RestoreSettings, module.params)
    with encryption.unlocked(module.params["identity"]):
        if settings.state == "listed":
            return listed(settings)
        result = restored(settings, module.check_mode)
    failed = result["failed_volumes"]
    if failed:
        reasons = "; ".join(one["message"] for one in failed)
        total = len(failed) + len(result["restored"])
        raise DeployError(f"{len(failed)} of {total} volumes could not be restored: {reasons}", result)
    return result


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["listed", "restored"], "default": "listed"},
            "users": {"type": "list", "elements": "str", "default": []},
            "volumes": {"type": "list", "elements": "str", "default": []},
            "every_volume": {"type": "bool", "default": False},
            "backup": {"type": "str"},
            "to_user": {"type": "str"},
            "keep_old": {"type": "bool", "default": True},
            "stop_servers": {"type": "bool", "default": False},
            "token_file": {"type": "path", "no_log": False},
            "timeout": {"type": "int", "default": 60},
            "parallel": {"type": "int", "default": 2},
            "verify": {"type": "bool", "default": False},
            "identity": {"type": "str", "no_log": True},
            "identity_file": {"type": "path", "no_log": False},
            "limit": {"type": "str", "default": ""},
        },
        run,
        doing="restoring volumes",
        required_if=[("stop_servers", True, ("token_file",))],
    )


if __name__ == "__main__":
    main()

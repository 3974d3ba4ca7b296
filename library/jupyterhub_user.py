#!/usr/bin/python
"""Ansible module: stop or delete one user of a hub."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_user
short_description: Stop a user's servers, or delete a user whose volumes are backed up
description:
  - With O(state=stopped) the hub stops the user's servers. Back up the volumes in RV(volumes) next, with
    C(jupyterhub_backup).
  - With O(state=absent) the module removes the user's volumes, archives their backups, and deletes the user and the
    password at the hub. Before it removes anything, it checks that no container uses a volume, and that the newest
    backup of each volume is complete and can be read.
  - The volumes are removed before the name becomes available, so a new user with the same name never gets old files.
  - After an interrupted run, the next run does the rest.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  user:
    description: Name of the user, as the hub knows it.
    type: str
    required: true
  state:
    description: V(stopped) stops the user's servers. V(absent) deletes the user.
    type: str
    choices: [stopped, absent]
    required: true
  directory:
    description: Directory of this hub's backups on the host.
    type: path
    required: true
  token_file:
    description: The hub's secret C(api_token) on the host.
    type: path
    required: true
  timeout:
    description: Seconds that a server has to stop.
    type: int
    default: 60
  keep_directories:
    description:
      - Delete the user although the configuration of the hub gives them a directory of the host, which stays, and which
        the next user of the name gets.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Reports what would be stopped or removed.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the target
"""

EXAMPLES = r"""
- name: Stop bob's servers
  jupyterhub_user:
    name: jupyterhub
    user: bob
    state: stopped
    directory: /var/backups/jupyterhub
    token_file: /etc/jupyterhub/secrets/api_token
  register: stopped

- name: Back up bob's volumes
  jupyterhub_backup:
    name: jupyterhub
    directory: /var/backups/jupyterhub
    volumes: "{{ stopped.volumes }}"
    hub_state: false
  when: stopped.volumes | length > 0

- name: Delete bob
  jupyterhub_user:
    name: jupyterhub
    user: bob
    state: absent
    directory: /var/backups/jupyterhub
    token_file: /etc/jupyterhub/secrets/api_token
"""

RETURN = r"""
volumes:
  description: Names of the user's volumes; with O(state=absent), those that were removed.
  type: list
  elements: str
  returned: success
  sample: [jupyterhub-user-bob]
servers:
  description: Names of the servers that were stopped; the default server's is empty.
  type: list
  elements: str
  returned: for O(state=stopped)
archive:
  description: Directories to which the user's backups were moved. Each is a complete directory of backups.
  type: list
  elements: str
  returned: for O(state=absent)
  sample: [/var/backups/jupyterhub/deleted/jupyterhub-user-bob-20261123T014440Z]
messages:
  description: What was done.
  type: list
  elements: str
  returned: success
  sample: ["user bob was deleted, with volume jupyterhub-user-bob"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.docker.client import connect
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.users.delete import Removal

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["stopped", "absent"], "required": True},
    "directory": {"type": "path", "required": True},
    "token_file": {"type": "path", "required": True, "no_log": False},
    "timeout": {"type": "int", "default": 60},
    "keep_directories": {"type": "bool", "default": False},
}


def stop(removal: Removal, check_mode: bool) -> dict[str, Any]:
    """Stop the user's servers; return the module's result."""
    if check_mode:
        removal.check_directories()
    stopped = removal.servers() if check_mode else removal.stop()
    volumes = [volume.name for volume in removal.volumes()]
    message = f"servers of {removal.user} {'to stop' if check_mode else 'stopped'}: {len(stopped)}"
    return {"changed": bool(stopped), "servers": stopped, "volumes": volumes, "messages": [message]}


def delete(removal: Removal, directory: str, check_mode: bool) -> dict[str, Any]:
    """Delete the user; return the module's result."""
    user = removal.user
    if not removal.exists():
        similar = removal.similar()
        if similar:
            raise DeployError(
                f"hub {removal.hub} has no user {user!r}, but {similar}; nothing was deleted; to delete {similar}, "
                f"pass -e user={similar}"
            )
        message = f"hub {removal.hub} has no user {user}, and there are no volumes or backups; nothing was deleted"
        return {"changed": False, "volumes": [], "archive": [], "messages": [message]}
    if check_mode:
        removal.check_directories()
        volumes = [volume.name for volume in removal.volumes()]
        message = f"user {user} would be deleted, with {_list(volumes)}"
        return {"changed": True, "volumes": volumes, "archive": [], "messages": [message]}
    store.ensure_folder(directory)
    with store.lock(directory):
        done = removal.delete()
    message = f"user {user} was deleted, with {_list(done['volumes'])}"
    if done["archive"]:
        message += f"; the backups are now in {', '.join(done['archive'])}"
    return {"changed": True, **done, "messages": [message]}


def _list(volumes: list[str]) -> str:
    return f"volume {', '.join(volumes)}" if volumes else "no volumes"


def run(module: AnsibleModule) -> dict[str, Any]:
    """Stop or delete the user, according to ``state``; return the module's result."""
    removal = Removal(connect(), module.params)
    if module.params["state"] == "stopped":
        return stop(removal, module.check_mode)
    return delete(removal, module.params["directory"], module.check_mode)


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, run, doing="deleting a user")


if __name__ == "__main__":
    main()

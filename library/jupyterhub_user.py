#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_user
short_description: Stop a user's servers, or delete a user whose volumes are backed up
description:
  - With O(state=stopped) the hub stops the user's servers. What RV(volumes) names is to be backed up next, by
    C(jupyterhub_backup).
  - With O(state=absent) the user's volumes are removed, the backups of them set aside, and the user is deleted at the
    hub with the password. Before anything is removed, each volume's newest backup has to hold all that is in the volume
    now, and its archive is read.
  - The volumes go first and the name is free last, so that nobody who takes the name gets anything of it.
  - May be killed at any moment; the next run does what is left.
author: jupyterhub-deploy-ansible
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
    description: See above.
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
  data_volume:
    description: Volume with the hub's database. When empty, C(<name>-data).
    type: str
    default: ""
  timeout:
    description: Seconds that a server gets to stop.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Says what there is of the user; touches nothing.
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

- name: Back up what bob has
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
  description: Directories that the user's backups are in now. Each is a directory of backups of its own.
  type: list
  elements: str
  returned: for O(state=absent)
  sample: [/var/backups/jupyterhub/deleted/jupyterhub-user-bob-20261123T014440Z]
message:
  description: What was done, in one sentence.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.docker.client import connect
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.users.delete import Removal


def stop(removal: Removal, check_mode: bool) -> dict[str, Any]:
    """Stop the user's servers; return the module's result."""
    running = sorted((removal.api.user(removal.user) or {}).get("servers", {}))
    stopped = running if check_mode else removal.stop()
    volumes = [volume.name for volume in removal.volumes()]
    message = f"servers of {removal.user} {'that run' if check_mode else 'that were stopped'}: {len(stopped)}"
    return {"changed": bool(stopped), "servers": stopped, "volumes": volumes, "message": message}


def delete(removal: Removal, directory: str, check_mode: bool) -> dict[str, Any]:
    """Delete the user; return the module's result."""
    user = removal.user
    if not removal.exists():
        nothing = f"there is no user {user} at hub {removal.hub}, and nothing of theirs; nothing was done"
        return {"changed": False, "volumes": [], "archive": [], "message": nothing}
    if check_mode:
        volumes = [volume.name for volume in removal.volumes()]
        would = f"user {user} would be deleted, and removed: {', '.join(volumes) or 'no volume'}"
        return {"changed": True, "volumes": volumes, "archive": [], "message": would}
    store.ensure_folder(directory)
    with store.lock(directory):
        done = removal.delete()
    message = f"user {user} was deleted, and removed: {', '.join(done['volumes']) or 'no volume'}"
    if done["archive"]:
        message += f"; the backups are in {', '.join(done['archive'])}"
    return {"changed": True, "volumes": done["volumes"], "archive": done["archive"], "message": message}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["stopped", "absent"], "required": True},
            "directory": {"type": "path", "required": True},
            "token_file": {"type": "path", "required": True, "no_log": False},
            "data_volume": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        removal = Removal(connect(), module.params)
        if module.params["state"] == "stopped":
            module.exit_json(**stop(removal, module.check_mode))
        module.exit_json(**delete(removal, module.params["directory"], module.check_mode))
    except DeployError as error:
        module.fail_json(msg=str(error))
    except DOCKER_ERRORS as error:
        module.fail_json(msg=f"the engine failed while the user was deleted, run the same again: {error}")


if __name__ == "__main__":
    main()

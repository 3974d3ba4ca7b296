#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_copy
short_description: Copy backups to another machine
description:
  - V(pushed) sends the backups of this host that another machine does not have by rsync over SSH, compares them there
    by content, and sends their manifests last. Until then they do not count. What is removed here stays there.
  - V(offered), V(wanted) and V(accepted) are the steps of fetching to the control machine. The first runs on the host,
    the other two on the control machine, before and after C(rsync) brings the bytes.
  - Copies lie as the backups do, and can be restored from as they are.
author: jupyterhub-deploy-ansible contributors
options:
  state:
    description: What to do.
    type: str
    choices: [pushed, offered, wanted, accepted]
    default: pushed
  directory:
    description: Directory of the backups, or for V(wanted) and V(accepted) of the copies.
    type: path
    required: true
  to:
    description: For V(pushed), where to, as C(user@host:/directory). The directory above it has to be there.
    type: str
  host_key:
    description:
      - For V(pushed), the other machine's public host key. A machine with another key gets nothing.
    type: str
  key_file:
    description: For V(pushed), this host's private key. It is made when it is not there.
    type: path
    default: /etc/jupyterhub-deploy/push_key
  port:
    description: For V(pushed), the other machine's SSH port.
    type: int
    default: 22
  offered:
    description: For V(wanted), what V(offered) returned as RV(offered).
    type: list
    elements: dict
    default: []
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description: Looks what is missing, and copies nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - rsync on both machines, and openssh-client on the one that sends
"""

EXAMPLES = r"""
- name: Send backups to the storage of the department
  jupyterhub_backup_copy:
    directory: /var/backups/jupyterhub
    to: backup@nas.example.com:/srv/backups/hub
    host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEcnYyOyqTVVXGmKBxQvLZUb
"""

RETURN = r"""
missing:
  description: Archives that were not there before.
  type: list
  elements: str
  returned: for O(state=pushed) and O(state=wanted)
  sample: [jupyterhub-user-alice/20261123T014440Z.tar.zst]
copied:
  description: Archives that were copied, and are backups there now.
  type: list
  elements: str
  returned: for O(state=pushed) and O(state=accepted)
size:
  description: Bytes of RV(copied), for O(state=wanted) of RV(missing).
  type: int
  returned: but for O(state=offered)
to:
  description: Where they were sent.
  type: str
  returned: for O(state=pushed)
public_key:
  description: The line for the other machine's C(authorized_keys); none in check mode when there is no key yet.
  type: str
  returned: for O(state=pushed)
offered:
  description: The backups that there are.
  type: list
  elements: dict
  returned: for O(state=offered)
list:
  description: File with the names that are wanted, for rsync.
  type: str
  returned: for O(state=wanted)
incoming:
  description: Directory that they have to arrive in.
  type: str
  returned: for O(state=wanted)
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.copy import fetch, push
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["pushed", "offered", "wanted", "accepted"], "default": "pushed"},
    "directory": {"type": "path", "required": True},
    **push.ARGUMENTS,
    "offered": {"type": "list", "elements": "dict", "default": []},
    "progress_file": {"type": "path"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work of the module."""
    params, directory = module.params, module.params["directory"]
    if params["state"] == "pushed":
        return push.push(directory, params, module.check_mode, Reporter(params["progress_file"]))
    if params["state"] == "offered":
        return {"changed": False, "offered": fetch.offered(directory)}
    if params["state"] == "wanted":
        return fetch.wanted(directory, params["offered"], module.check_mode)
    return fetch.accepted(directory)


def main() -> None:
    """Entry point."""
    run_module(ARGUMENTS, run, doing="copying backups", required_if=[("state", "pushed", ("to", "host_key"))])


if __name__ == "__main__":
    main()

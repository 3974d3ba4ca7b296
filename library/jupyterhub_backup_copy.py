#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_backup_copy
short_description: Copy backups to another machine
description:
  - V(pushed) sends the backups that are missing on another machine with rsync over SSH, compares the content of the
    archives, and sends the manifests last. Backups that are removed here are not removed there.
  - V(offered), V(wanted) and V(accepted) are the steps of fetching to the control machine. The first runs on the host,
    the other two on the control machine, before and after C(rsync) transfers the files.
  - Copies have the same layout as the backups, so they can be restored directly.
options:
  state:
    description: The step to run.
    type: str
    choices: [pushed, offered, wanted, accepted]
    default: pushed
  directory:
    description: Directory of the backups, or for V(wanted) and V(accepted) of the copies.
    type: path
    required: true
  to:
    description: For V(pushed), the target as C(user@host:/directory). Its parent directory must exist.
    type: str
  host_key:
    description:
      - For V(pushed), the other machine's public host key. Nothing is sent to a machine with another key.
    type: str
  key_file:
    description: For V(pushed), this host's private key. The module creates it if it is missing.
    type: path
    default: /etc/jupyterhub-deploy/push_key
  port:
    description: For V(pushed), the other machine's SSH port.
    type: int
    default: 22
  offered:
    description: For V(wanted), the value RV(offered) that V(offered) returned.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Path of the manifest in the backup directory.
        type: str
        required: true
      archive:
        description: Path of the archive in the backup directory.
        type: str
        required: true
      size:
        description: Bytes of the archive.
        type: int
        required: true
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description: Reports what is missing, and copies nothing.
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
  description: Archives that were missing before the run.
  type: list
  elements: str
  returned: for O(state=pushed) and O(state=wanted)
  sample: [jupyterhub-user-alice/20261123T014440Z.tar.zst]
copied:
  description: Archives that were copied.
  type: list
  elements: str
  returned: for O(state=pushed) and O(state=accepted)
size:
  description: Bytes of RV(copied), for O(state=wanted) of RV(missing).
  type: int
  returned: except for O(state=offered)
to:
  description: The target.
  type: str
  returned: for O(state=pushed)
public_key:
  description: The line for the other machine's C(authorized_keys); none in check mode if the key does not exist yet.
  type: str
  returned: for O(state=pushed)
offered:
  description: The backups on the host.
  type: list
  elements: dict
  returned: for O(state=offered)
damaged:
  description: What is wrong with the backups on the host that are not offered, one message for each.
  type: list
  elements: str
  returned: for O(state=offered)
list:
  description: File with the names of the missing files, for rsync.
  type: str
  returned: for O(state=wanted)
incoming:
  description: Directory into which rsync transfers the files.
  type: str
  returned: for O(state=wanted)
messages:
  description: Lines to show.
  type: list
  elements: str
  returned: except for O(state=offered)
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.backup.settings import load
from ansible.module_utils.jupyterhub_deploy.copy import fetch, push
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["pushed", "offered", "wanted", "accepted"], "default": "pushed"},
    "directory": {"type": "path", "required": True},
    **push.ARGUMENTS,
    "offered": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "archive": {"type": "str", "required": True},
            "size": {"type": "int", "required": True},
        },
    },
    "progress_file": {"type": "path"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Run the step that the task selects."""
    params, directory = module.params, module.params["directory"]
    if params["state"] == "pushed":
        settings = load(push.PushSettings, params)
        return push.push(directory, settings, module.check_mode, Reporter(params["progress_file"]))
    if params["state"] == "offered":
        return fetch.offer(directory, module.check_mode)
    if params["state"] == "wanted":
        return fetch.plan_fetch(directory, [fetch.Offer(**offer) for offer in params["offered"]], module.check_mode)
    return fetch.accept_arrived(directory)


def main() -> None:
    """Entry point."""
    run_module(ARGUMENTS, run, doing="copying backups", required_if=[("state", "pushed", ("to", "host_key"))])


if __name__ == "__main__":
    main()

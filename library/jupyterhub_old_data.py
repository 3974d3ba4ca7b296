#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_old_data
short_description: List or remove the data that restores have replaced
description:
  - A restore keeps the replaced data beside the volume's data. This module lists it with its size, or removes it.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  state:
    description: V(listed) only reads; V(absent) removes.
    type: str
    choices: [listed, absent]
    default: listed
  users:
    description: Only these users' volumes. If empty, all volumes of the hub and its own state.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the target
"""

EXAMPLES = r"""
- name: Remove what restores of alice's files have replaced
  jupyterhub_old_data:
    name: jupyterhub
    state: absent
    users: [alice]
"""

RETURN = r"""
old_data:
  description: The replaced data, by volume, oldest first. C(size) is in bytes, C(user) is null for the hub's own state.
  type: list
  elements: dict
  returned: success
  sample: [{"volume": "jupyterhub-user-alice", "user": "alice", "size": 1048576,
            "path": "/var/lib/docker/volumes/jupyterhub-user-alice/before-20261123T022141Z"}]
messages:
  description: Lines to show.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.restore import replaced_data
from ansible.module_utils.jupyterhub_deploy.text import human_size


def run(module: AnsibleModule) -> dict[str, Any]:
    """List, and remove with C(state=absent); return the module's result."""
    params = module.params
    removes = params["state"] == "absent"
    client = connect_or_none() if module.check_mode or not removes else connect()
    found = replaced_data.list_old_data(client, params["name"], params["users"]) if client else []
    described, messages = [], []
    for one in found:
        size = one.size()
        if removes and not module.check_mode:
            replaced_data.remove(one)
        done = ("would be removed: " if module.check_mode else "removed: ") if removes else "kept by a restore: "
        described.append({"volume": one.volume, "user": one.user, "path": one.path, "size": size})
        messages.append(f"{done}{one.path}, {human_size(size)}")
    if removes and not found:
        messages.append("there was nothing to remove")
    return {"changed": bool(found) and removes, "old_data": described, "messages": messages}


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["listed", "absent"], "default": "listed"},
            "users": {"type": "list", "elements": "str", "default": []},
        },
        run,
        doing="listing or removing replaced data",
    )


if __name__ == "__main__":
    main()

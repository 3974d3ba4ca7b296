#!/usr/bin/python
"""Ansible module: what a hub needs before its containers, and keeps when they are replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_resources
short_description: Create the networks, the volumes and the secrets of a hub
description:
  - Creates what is missing and keeps what exists, so users stay signed in and keep their data.
  - The secrets C(cookie_secret), C(proxy_token), C(crypt_key), C(api_token) and C(admin_password) are files of mode
    0600 in a directory of mode 0700, owned by root.
  - Never returns or shows a secret.
options:
  name:
    description: Name of the hub, which labels its networks and volumes.
    type: str
    required: true
  networks:
    description: Names of Docker networks.
    type: list
    elements: str
    default: []
  fixed_networks:
    description: Names of Docker networks in which containers can have fixed addresses.
    type: list
    elements: str
    default: []
  volumes:
    description: Names of Docker volumes.
    type: list
    elements: str
    default: []
  secrets_dir:
    description: Directory of the secrets on the host. Its parent is made accessible only to root as well.
    type: path
    required: true
  admin_password:
    description:
      - Password of the admin account. When empty, the existing one is kept, or one is generated.
      - A password that differs from the existing one replaces it, and RV(password_pending) is true until the file
        C(admin_password.pending) has been removed, after the hub has the password.
    type: str
    default: ""
  total_memory:
    description:
      - Memory of all servers of this hub together, such as V(48G); V(0) means no limit. V(auto) is the host's
        memory without a tenth of it, or without 1 GiB if that is more, and at least half of it.
    type: str
    default: auto
attributes:
  check_mode:
    description: Reports what would be created, also on a host without Docker.
    support: full
  diff_mode:
    description: Shows names, never the content of secrets.
    support: full
"""

EXAMPLES = r"""
- name: Create networks, volume and secrets
  jupyterhub_resources:
    name: jupyterhub
    networks: [jupyterhub-network, jupyterhub-control]
    volumes: [jupyterhub-data]
    secrets_dir: /etc/jupyterhub/secrets
    admin_password: "{{ vault_jupyterhub_admin_password }}"
"""

RETURN = r"""
messages:
  description: What was done, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: ["created: network jupyterhub-network", "written to /etc/jupyterhub/secrets: cookie_secret"]
gateways:
  description: The host's addresses in the networks. What comes from the host has one of them in a container.
  type: list
  elements: str
  returned: success
  sample: ["198.18.4.1", "198.18.8.1"]
cgroup_parent:
  description: The control group with the limit O(total_memory), as Docker calls it. Empty if the host cannot limit
    memory.
  type: str
  returned: success
  sample: jupyterhub-lab.slice
total_memory:
  description: The limit O(total_memory) in bytes; 0 for none.
  type: int
  returned: success
  sample: 51539607552
password_pending:
  description: Whether an existing hub does not have the new admin password yet.
  type: bool
  returned: success
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker import cgroup
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.hub import resources, secrets
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    params, check = module.params, module.check_mode
    client = connect_or_none() if check else connect()
    with contextlib.nullcontext() if check else files.locked(resources.LOCK, wait=True):
        return create_missing(client, params, check)


def create_missing(client: Any, params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Create what is missing, unless in check mode; return the module's result.

    :param client: ``None`` in check mode on a host without Docker.
    """
    hub, directory = params["name"], params["secrets_dir"]
    wanted = resources.resources(params["networks"], params["volumes"], params["fixed_networks"])
    missing = resources.missing(client, hub, wanted) if client else wanted
    total = total_memory(params["total_memory"])
    parent, limited = cgroup.ensure(hub, client.info(), total, check) if client else ("", True)
    exists, changes = secrets.observe(directory, params["admin_password"])
    if not check:
        secrets.apply(directory, params["admin_password"], changes)
        for resource in missing:
            resources.create(client, hub, resource)
    existing = [resource for resource in wanted if resource not in missing]
    before = {**{str(resource): resource not in missing for resource in wanted}, **exists}
    return {
        "changed": bool(missing or limited or changes.write or changes.modes),
        "messages": [
            f"{'would be ' if check else ''}{verb}: {', '.join(map(str, things))}"
            for verb, things in (
                ("created", missing),
                ("written to " + directory, changes.write),
                ("made accessible only to root", changes.modes),
                ("set", [f"the limits of all servers together (memory {cgroup.shown(total)})"] if limited else []),
            )
            if things
        ],
        "warnings": resources.other_mtus(client, existing) + ([] if parent else [cgroup.NOT_LIMITED]) if client else [],
        "gateways": resources.gateways(client, params["networks"] + params["fixed_networks"]) if client else [],
        "cgroup_parent": parent,
        "total_memory": total,
        "password_pending": changes.new_password or os.path.exists(os.path.join(directory, secrets.PENDING)),
        "diff": {
            "before": {name: "exists" for name, there in before.items() if there},
            "after": {name: "written" if name in changes.write else "exists" for name in before},
        },
    }


def total_memory(wanted: str) -> int:
    """Return the limit of the option in bytes; 0 for none."""
    return cgroup.automatic_limit(cgroup.host_memory()) if wanted == "auto" else int(human_to_bytes(wanted))


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "networks": {"type": "list", "elements": "str", "default": []},
            "fixed_networks": {"type": "list", "elements": "str", "default": []},
            "volumes": {"type": "list", "elements": "str", "default": []},
            "secrets_dir": {"type": "path", "required": True, "no_log": False},
            "admin_password": {"type": "str", "default": "", "no_log": True},
            "total_memory": {"type": "str", "default": "auto"},
        },
        run,
        doing="creating the hub's networks, volumes and secrets",
    )


if __name__ == "__main__":
    main()

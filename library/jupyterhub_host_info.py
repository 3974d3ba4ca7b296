#!/usr/bin/python
"""Ansible module: what a host has left for a hub."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_host_info
short_description: Tell whether the port of a hub is free and how much disk is left
description:
  - Reads only. Works with and without a Docker engine.
options:
  name:
    description: Name of the hub. Its own proxy, C(<name>-proxy), may hold the port.
    type: str
    required: true
  port:
    description: Port that the hub is to be reached at.
    type: int
    required: true
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Look at the port and the disk
  jupyterhub_host_info:
    name: jupyterhub
    port: 8000
  register: __host
"""

RETURN = r"""
port_holder:
  description: Who else holds the port, a container or a process; null when it is free or held by the hub's own proxy.
  type: str
  returned: always
  sample: nginx (pid 123)
disk_path:
  description: Where Docker keeps images and volumes, or the nearest parent that exists.
  type: str
  returned: always
  sample: /var/lib/docker
disk_free_bytes:
  description: Bytes free there.
  type: int
  returned: always
  sample: 53687091200
backup_schedule:
  description: Whether the host backs up this hub by itself.
  type: bool
  returned: always
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect_or_none
from ansible.module_utils.jupyterhub_deploy.hub import host

DOCKER_ROOT = "/var/lib/docker"  # the engine's default (dockerd --data-root)


def port_holder(name: str, port: int, containers: list[dict[str, Any]]) -> str | None:
    """Return who holds the port, unless it is the hub's own proxy."""
    publisher = host.publisher(containers, port)
    if publisher:
        return None if publisher == f"{name}-proxy" else f"container {publisher}"
    return host.listener(port)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}, "port": {"type": "int", "required": True}},
        supports_check_mode=True,
    )
    client = connect_or_none()
    path = host.nearest_existing(client.info()["DockerRootDir"] if client else DOCKER_ROOT)
    module.exit_json(
        changed=False,
        port_holder=port_holder(module.params["name"], module.params["port"], client.containers() if client else []),
        disk_path=path,
        disk_free_bytes=host.free_bytes(path),
        backup_schedule=os.path.exists(host.backup_settings(module.params["name"])),
    )


if __name__ == "__main__":
    main()

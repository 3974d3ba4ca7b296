#!/usr/bin/python
"""Ansible module: remove a hub's containers and networks, and keep its data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_teardown
short_description: Remove the containers and networks of a hub
description:
  - Removes what has the hub's label, the memory limit of all its servers together, and the rules that isolate its
    notebooks. Users' servers are stopped, too, and what users have not saved is lost.
  - Keeps volumes, secrets and backups, so that C(site.yml) brings the same hub back.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
attributes:
  check_mode:
    description: Reports what would be removed, also on a host without Docker.
    support: full
  diff_mode:
    description: Returns no diff.
    support: none
"""

EXAMPLES = r"""
- name: Remove the hub
  jupyterhub_teardown:
    name: lab
"""

RETURN = r"""
messages:
  description: What was removed, or would be in check mode, and which volumes were kept.
  type: list
  elements: str
  returned: success
  sample: ["removed: container lab, container lab-proxy, network lab-control", "kept: volume lab-data"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.containers.guard import GuardContainer
from ansible.module_utils.jupyterhub_deploy.containers.replacement import STOP_TIMEOUT
from ansible.module_utils.jupyterhub_deploy.docker import cgroup
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, docker_errors, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Wait for other runs on this hub, then remove it; return the module's result."""
    name, check = module.params["name"], module.check_mode
    # A hub whose Docker is stopped would come back with it.
    client = connect_or_none() if check else connect()
    if not client:
        return {"changed": False, "messages": []}
    with lock.held(name, check):
        label = {"label": f"{LABEL_HUB}={name}"}
        containers = sorted(map(name_of, client.containers(all=True, filters=label)))
        networks = sorted(one["Name"] for one in client.networks(filters=label))
        volumes = sorted(one["Name"] for one in client.volumes(filters=label)["Volumes"] or [])
        if not check:
            guard = GuardContainer(client, name, 0)
            if guard.has_leftovers():
                guard.recover()
            remove(client, [one for one in containers if one != guard.name], networks)
            guard.remove()  # last: its rules apply until no server runs
        group = cgroup.remove(name, client.info(), check)
    gone = [f"container {one}" for one in containers] + [f"network {one}" for one in networks]
    gone += [f"memory limit {group}"] if group else []
    lines = [("would be removed" if check else "removed", gone), ("kept", [f"volume {one}" for one in volumes])]
    return {
        "changed": bool(gone),
        "messages": [f"{verb}: {', '.join(things)}" for verb, things in lines if things],
    }


def remove(client: Any, containers: list[str], networks: list[str]) -> None:
    """Remove containers, which may run, and networks."""
    for name in containers:
        try:
            client.stop(name, timeout=STOP_TIMEOUT)  # a hub that writes its database ends by itself
            client.remove_container(name)
        except docker_errors.APIError as error:
            # The hub removes the container of a server that has ended, and Docker one that has measured volumes.
            if error.status_code != 404 and "already in progress" not in str(error.explanation):
                raise
    for name in networks:
        client.remove_network(name)


def main() -> None:
    """Entry point."""
    run_module({"name": {"type": "str", "required": True}}, run, doing="removing the hub")


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Ansible module: whether the containers of a hub need a change."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_containers
short_description: Find out which containers of a hub need no change
description:
  - Checks the guard, the front, the proxy and the hub in one call. A module for each takes longer, because most of the
    time of a module is spent on its start.
  - Does what the modules do when nothing changes, such as the removal of old releases of the configuration. Stops at
    the first part that needs a change, and leaves that change and all later parts to their modules.
options:
  guard:
    description: The options of M(jupyterhub_guard).
    type: dict
    required: true
  front:
    description: The options of M(jupyterhub_front).
    type: dict
    required: true
  proxy:
    description: The options of M(jupyterhub_proxy).
    type: dict
    required: true
  hub:
    description: The options of M(jupyterhub_hub), without C(public_probe), which is known from the proxy.
    type: dict
    required: true
attributes:
  check_mode:
    description: Checks the same, and leaves everything as it is.
    support: full
  diff_mode:
    description: Shows nothing; the modules of the parts show what they change.
    support: none
"""

EXAMPLES = r"""
- name: Check the containers
  jupyterhub_containers:
    guard: &guard
      name: jupyterhub
      network: jupyterhub-network
    front: "{{ front_options }}"
    proxy: "{{ proxy_options }}"
    hub: "{{ hub_options }}"
  register: containers

- name: Isolate the notebooks
  jupyterhub_guard: *guard
  when: "'guard' not in containers.unchanged"
"""

RETURN = r"""
unchanged:
  description: The results of the modules of the parts that need no change, by the names of the options.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.update import containers


def run(module: AnsibleModule) -> dict[str, Any]:
    """Return which parts need no change."""
    return {"unchanged": containers.unchanged(module.params, module.check_mode)}


def main() -> None:
    """Entry point."""
    run_module(containers.SPEC, run, doing="checking the containers")


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Ansible module: the guard container, which isolates the notebooks of a hub."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_guard
short_description: Isolate the notebooks of a hub from each other and from other networks
description:
  - Runs a container that keeps rules of nftables in the kernel of the host, and waits until they are loaded. They apply
    to running servers, too.
  - Before anything is changed, the rules are loaded in a network of their own, to check that the kernel supports them.
  - The rules stay while the container is replaced or does not run. When it starts, it removes the rules of hubs of
    which neither a container nor a network exists.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  image:
    description: Image of the front, which has the guard. It must be on the host.
    type: str
    default: ""
  isolation:
    description:
      - V(full) blocks what notebooks send to each other, to the host, to private networks, and to the hub, except
        through its proxy.
      - V(peers) blocks what they send to each other and to the hub, except through its proxy.
      - V(none) removes the container and the rules.
    type: str
    choices: [full, peers, none]
    default: full
  network:
    description: Network of hub, proxy and users' servers.
    type: str
    required: true
  ports:
    description: Ports of the front on this host, which notebooks may reach.
    type: list
    elements: int
    default: []
  allowed_networks:
    description: Private networks and addresses that notebooks may reach.
    type: list
    elements: str
    default: []
  allowed_urls:
    description: URLs of package indexes and proxies, whose hosts notebooks may reach at their ports. Other texts are
      ignored.
    type: list
    elements: str
    default: []
  health_timeout:
    description: Seconds from the start of a guard until its rules are loaded.
    type: float
    default: 120
attributes:
  check_mode:
    description: Reports what would be done, also on a host without Docker; changes nothing.
    support: full
  diff_mode:
    description: Shows the specification of the container before and after.
    support: full
"""

EXAMPLES = r"""
- name: Isolate the notebooks
  jupyterhub_guard:
    name: jupyterhub
    image: jupyterhub-deploy/front:5.8.0
    network: jupyterhub-network
    ports: [80, 443]
    allowed_networks: [10.20.0.0/16]
"""

RETURN = r"""
action:
  description: What was done, or would be in check mode.
  type: str
  returned: success
  sample: replace
reasons:
  description: The reasons for RV(action); empty when nothing was done.
  type: list
  elements: str
  returned: success
  sample: ["environment changed: GUARD_ALLOWED"]
messages:
  description: The reasons and the result, for the operator.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.update import guard


def run(module: AnsibleModule) -> dict[str, Any]:
    """Pass the options on."""
    return guard.run(module.params, module.check_mode)


def main() -> None:
    """Entry point."""
    run_module(guard.SPEC, run, doing="isolating the notebooks")


if __name__ == "__main__":
    main()

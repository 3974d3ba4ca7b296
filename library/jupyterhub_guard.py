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
  - The rules stay while the container is replaced or does not run.
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
from ansible.module_utils.jupyterhub_deploy.containers import guard as guard_container
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.guard import GuardContainer, GuardOptions
from ansible.module_utils.jupyterhub_deploy.docker import ownership
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, image_id
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.module import run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    params, check = module.params, module.check_mode
    options = GuardOptions(hub=params.pop("name"), **params)
    client = connect_or_none() if check else connect()
    guard = GuardContainer(client, options.hub, options.health_timeout)
    with lock.held(options.hub, check):
        if client:
            ownership.require_containers(client, options.hub, guard.names())
        recovered = guard.recover() if client and not check and guard.has_leftovers() else []
        if options.isolation == "none":
            return remove(guard, recovered, check)
        return keep(guard, options, recovered, check)


def remove(guard: GuardContainer, recovered: list[str], check: bool) -> dict[str, Any]:
    """Remove the guard and its rules, unless in check mode; return the module's result."""
    exists = bool(guard.client and guard.observe())
    if exists and not check:
        guard.remove()
    reasons = ["notebooks are not isolated any more (jupyterhub_isolation: none)"] if exists else []
    return {
        "action": "remove" if exists else "none",
        "reasons": recovered + reasons,
        "messages": recovered + reasons,
        "changed": bool(exists or recovered),
    }


def keep(guard: GuardContainer, options: GuardOptions, recovered: list[str], check: bool) -> dict[str, Any]:
    """Make the guard what the options say, unless in check mode; return the module's result."""
    current = guard.observe() if guard.client else None
    wanted = guard_container.wanted_spec(options, image_id(guard.client, options.image))
    if not wanted["image_id"] and not check:
        raise DeployError(f"image {options.image} is not on this host; run make site, which installs it")
    before = container_spec.comparable(wanted, container_spec.observed_spec(current)) if current else {}
    differences = container_spec.differences(guard_container.TITLES, wanted, before) if current else []
    serving = bool(current) and not differences and guard.is_serving()
    action, reasons = container_spec.plan("guard", current, [found.message for found in differences], serving)
    if not check:
        if action in ("create", "replace"):
            guard.prepare(wanted)
        if action != "none":
            guard.apply(action)
        guard.remove_old()
    return {
        "action": action,
        "reasons": recovered + reasons,
        "messages": recovered + container_spec.shown("guard", action, reasons, check),
        "changed": bool(recovered) or action != "none",
        "diff": {"before": before, "after": wanted} if differences or not current else {},
    }


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "image": {"type": "str", "default": ""},
            "isolation": {"type": "str", "choices": ["full", "peers", "none"], "default": "full"},
            "network": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "default": []},
            "allowed_networks": {"type": "list", "elements": "str", "default": []},
            "allowed_urls": {"type": "list", "elements": "str", "default": []},
            "health_timeout": {"type": "float", "default": 120},
        },
        run,
        doing="isolating the notebooks",
    )


if __name__ == "__main__":
    main()

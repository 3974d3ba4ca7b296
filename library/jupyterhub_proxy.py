#!/usr/bin/python
"""Ansible module: the proxy container of a JupyterHub deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_proxy
short_description: Run the proxy container of a JupyterHub deployment
description:
  - Makes sure that the proxy container runs with the wanted image, port and networks, and that it answers.
  - Every request of every user goes through it, so it is replaced only when its own specification changed, and says
    what (see RV(reasons)). The new one is run once without its port, and seen to answer, before the old one is
    stopped; the old one is kept aside until the new one serves the port, and put back otherwise.
  - A new proxy knows no routes. The hub is told at once, so that users' servers are reachable again before its next
    periodic check.
  - May be killed at any moment; the next run finishes or takes back what was begun.
options:
  name:
    description: Name of the proxy container.
    type: str
    required: true
  hub:
    description: Name of the hub container, where requests without a route go.
    type: str
    required: true
  image:
    description: Image of the proxy. It must be on the host.
    type: str
    required: true
  api_host:
    description: The proxy's name in the control network; its API listens there alone.
    type: str
    required: true
  token_file:
    description: File on the host with the token that the hub shows to the proxy's API.
    type: path
    required: true
  api_token_file:
    description: File on the host with the token of the hub's service C(deploy), to tell the hub of a new proxy.
    type: path
    required: true
  network:
    description: Network of hub, proxy and users' servers. It must exist.
    type: str
    required: true
  control_network:
    description: Network of hub and proxy alone. It must exist.
    type: str
    required: true
  bind_address:
    description: Address of the host that users reach.
    type: str
    default: 0.0.0.0
  port:
    description: Port of the host that users reach.
    type: int
    required: true
  health_timeout:
    description: Seconds that a proxy gets from its start until it answers.
    type: float
    default: 60
attributes:
  check_mode:
    description: Tells what would be done, also on a host without a Docker engine; touches nothing.
    support: full
  diff_mode:
    description: Shows the specification of the container before and after.
    support: full
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Run the proxy
  jupyterhub_proxy:
    name: jupyterhub-proxy
    hub: jupyterhub
    image: jupyterhub-deploy/proxy:5.3.0
    api_host: jupyterhub-proxy-api
    token_file: /etc/jupyterhub/secrets/proxy_token
    api_token_file: /etc/jupyterhub/secrets/api_token
    network: jupyterhub-network
    control_network: jupyterhub-control
    port: 8000
"""

RETURN = r"""
action:
  description: What was done, or would be in check mode.
  type: str
  returned: success
  sample: replace
reasons:
  description: Why, a sentence for each reason; empty when nothing was done.
  type: list
  elements: str
  returned: success
  sample: ["published ports changed: +0.0.0.0:8080:8000, -0.0.0.0:8000:8000"]
downtime:
  description: Seconds from the stop of the old proxy until the new one answered users; 0 without a swap.
  type: float
  returned: success
  sample: 1.4
routes:
  description:
    - V(restored) when the hub was told of a new proxy, and V(later) when it could not be (the text says why) and will
      find out by itself within ten seconds. V(kept) when nothing was done.
  type: str
  returned: success
  sample: restored
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.containers import proxy_spec
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_plan
from ansible.module_utils.jupyterhub_deploy.containers.proxy import HEALTH_PATH, ProxyContainer
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, image_id, inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DOCKER_ERRORS, DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api

# Where this host reaches a port that is published on all its addresses.
ALL_ADDRESSES = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104


def public_probe(params: dict[str, Any]) -> str:
    """Return the URL of the proxy's health check on the port that it publishes."""
    address = params["bind_address"]
    return f"http://{ALL_ADDRESSES.get(address, address)}:{params['port']}/{HEALTH_PATH}"


def restore_routes(client: Any, params: dict[str, Any]) -> str:
    """Have the hub tell the new proxy of all servers; return what became of it, for the result."""
    if not inspect_container(client, params["hub"]):
        return "later: there is no hub yet"
    try:
        api.connect(client, params["hub"], params["api_token_file"]).request("POST", "/proxy")
    except DeployError as error:
        # A hub that is stopped, or is about to be replaced by one that knows the token: it looks by itself.
        return f"later: {error}"
    return "restored"


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    params = module.params
    client = connect_or_none() if module.check_mode else connect()
    proxy = ProxyContainer(client, params["name"], public_probe(params), params["health_timeout"])
    recovered: list[str] = []
    if client and proxy.unfinished():
        recovered = ["an earlier run did not finish"] if module.check_mode else proxy.recover()
    current = proxy.observe() if client else None
    wanted = proxy_spec.wanted_spec(params, image_id(client, params["image"]))
    if not wanted["image_id"] and not module.check_mode:
        raise DeployError(f"image {params['image']} is not on this host; run site.yml with the images role")
    before = container_plan.comparable(wanted, container_plan.observed_spec(current)) if current else {}
    reasons = proxy_spec.differences(wanted, before) if current else []
    answering = bool(current) and not reasons and proxy.answering()
    action, reasons = container_plan.plan("proxy", current, reasons, answering)
    result: dict[str, Any] = {
        "action": action,
        "downtime": 0.0,
        "routes": "kept",
        "diff": {"before": before, "after": wanted} if before != wanted else {},
    }
    if not module.check_mode:
        if action in ("create", "replace"):
            prepare(proxy, wanted, params)
        if action != "none":
            result["downtime"] = round(proxy.bring_up(action).down, 2)
        if action != "none" or recovered or proxy.unfinished():
            result["routes"] = restore_routes(client, params)
        left = proxy.finish()
        recovered += left if action == "none" else []
    return {**result, "reasons": recovered + reasons, "changed": bool(recovered) or action != "none"}


def prepare(proxy: ProxyContainer, spec: container_plan.Spec, params: dict[str, Any]) -> None:
    """Have a successor ready beside the proxy that runs, and seen to work.

    :raises DeployError: when it does not; the proxy is as it was.
    """
    try:
        proxy.prove(spec)
        proxy.create_successor(spec, params["hub"], params["control_network"])
    except DOCKER_ERRORS as error:
        raise DeployError(f"the new proxy could not be prepared, so the old one was left as it was: {error}") from error


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "hub": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "api_host": {"type": "str", "required": True},
            # The names of files, not secrets.
            "token_file": {"type": "path", "required": True, "no_log": False},
            "api_token_file": {"type": "path", "required": True, "no_log": False},
            "network": {"type": "str", "required": True},
            "control_network": {"type": "str", "required": True},
            "bind_address": {"type": "str", "default": "0.0.0.0"},  # noqa: S104
            "port": {"type": "int", "required": True},
            "health_timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except DeployError as error:
        module.fail_json(msg=str(error))
    except DOCKER_ERRORS as error:
        module.fail_json(msg=f"the engine failed while it was asked about the proxy, run site.yml again: {error}")


if __name__ == "__main__":
    main()

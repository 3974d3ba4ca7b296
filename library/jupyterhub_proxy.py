#!/usr/bin/python
"""Ansible module: the proxy container of a JupyterHub deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_proxy
short_description: Run the proxy container of a JupyterHub deployment
description:
  - Runs the proxy container with the given image and networks, waits until it answers, and makes the front pass the
    hub's requests to it.
  - All users' requests go through the proxy, so it is replaced only when its own specification changes (see
    RV(reasons)). A new proxy starts beside the old one, at another address of O(front_network), and gets its routes.
    The front then passes requests to the new one, and the old one ends with its last connection, after a day at the
    latest. No connection is interrupted.
  - If the old proxy does not run, or the new image is of an earlier version, the old one is stopped first. It is kept
    until the new one answers, and restored if it does not.
  - A proxy whose API the hub cannot reach is replaced, too, for example one that was connected to its network by hand.
  - A new proxy has no routes. The module makes the hub restore them at once, instead of at its next periodic check.
  - After an interrupted run, the next run finishes or reverts what was begun.
options:
  name:
    description: Name of the proxy container.
    type: str
    required: true
  hub:
    description: Name of the hub container. Requests without a route go there.
    type: str
    required: true
  image:
    description: Image of the proxy. It must be on the host.
    type: str
    required: true
  api_host:
    description: The proxy's name in the control network; its API listens only there.
    type: str
    required: true
  token_file:
    description: File on the host with the token for the proxy's API.
    type: path
    required: true
  api_token_file:
    description: File on the host with the token of the hub's service C(deploy), to make the hub restore the routes.
    type: path
    required: true
  network:
    description: Network of hub, proxy and users' servers. It must exist.
    type: str
    required: true
  control_network:
    description: Network that only the hub and the proxy are attached to. It must exist.
    type: str
    required: true
  host_routing:
    description: Whether routes begin with a host name, as those of a hub with an origin for each user.
    type: bool
    default: false
  keep_routing:
    description:
      - Whether an existing proxy keeps its kind of routes, whatever O(host_routing) says. RV(routing_differs) tells.
      - A hub and its proxy change the kind together. The hub is first, because a configuration that the hub cannot use
        is found before anything is changed.
    type: bool
    default: false
  front:
    description: Name of the front's container, which must run.
    type: str
    required: true
  front_directory:
    description: Directory of the front on the host.
    type: path
    required: true
  front_network:
    description: Network in which the proxy has a fixed address, which the front connects to. It must exist, with a
      subnet that was chosen.
    type: str
    required: true
  health_timeout:
    description: Seconds that a proxy gets from its start until it answers.
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
    front: jupyterhub-front
    front_directory: /etc/jupyterhub-front
    front_network: jupyterhub-front
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
  sample: ["proxy image content changed: sha256:0123456789ab → sha256:ba9876543210"]
messages:
  description: RV(reasons), and after a replacement how long users were without the proxy.
  type: list
  elements: str
  returned: success
url:
  description: Where this host reaches the proxy.
  type: str
  returned: success
  sample: http://172.19.0.2:8000/
downtime:
  description: Seconds from the stop of the old proxy until the new one answered; 0 if no connection was interrupted.
  type: float
  returned: success
  sample: 1.4
routing_differs:
  description: Whether the proxy has another kind of routes than O(host_routing) because of O(keep_routing).
  type: bool
  returned: success
routes:
  description:
    - V(restored) when the hub has restored the routes of a new proxy. V(later) when it could not yet; it does so by
      itself within ten seconds, or when it starts. V(kept) when nothing was done.
  type: str
  returned: success
  sample: restored
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.update import proxy


def run(module: AnsibleModule) -> dict[str, Any]:
    """Pass the options on."""
    return proxy.run(module.params, module.check_mode)


def main() -> None:
    """Entry point."""
    run_module(proxy.SPEC, run, doing="updating the proxy")


if __name__ == "__main__":
    main()

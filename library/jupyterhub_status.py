#!/usr/bin/python
"""Ansible module: what a hub is doing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_status
short_description: Tell how a hub, its proxy and its users' servers are
description:
  - Reads only. Works on a host without a hub, and on one without Docker, and says so.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  notebook_images:
    description: Images that are no old ones besides the one that the hub gives to the servers that it starts.
    type: list
    elements: str
    default: []
  token_file:
    description: The secret C(api_token) of the hub, as M(jupyterhub_secrets) makes it.
    type: path
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: Nothing is ever changed.
    support: none
author:
  - jupyterhub-deploy-ansible contributors
"""

EXAMPLES = r"""
- name: Look at the hub
  jupyterhub_status:
    name: jupyterhub
    token_file: /etc/jupyterhub/secrets/api_token
  register: status

- name: Show it
  ansible.builtin.debug:
    msg: "{{ status.text }}"
"""

RETURN = r"""
text:
  description: All of it, to be read by people.
  type: str
  returned: success
hub:
  description: The hub's container; none when there is none.
  type: dict
  returned: success
  contains: &container
    container: {description: Name., type: str}
    image: {description: Name of its image., type: str}
    image_id: {description: Id of its image., type: str}
    state: {description: 'V(running), V(exited) and so on.', type: str}
    health: {description: 'V(healthy), V(unhealthy), V(starting), or none without a health check.', type: str}
    started: {description: When it was started (UTC)., type: str}
    age_seconds: {description: Seconds since then., type: int}
proxy:
  description: The proxy's container; none when there is none.
  type: dict
  returned: success
  contains: *container
notebook_image:
  description: The image that the next servers get, and its id; the id is none when it is not on the host.
  type: dict
  returned: success
  contains:
    image: {description: Name., type: str}
    image_id: {description: Id., type: str}
servers:
  description: The servers that run, as the module M(jupyterhub_servers) returns them, without what it does to them.
  type: list
  elements: dict
  returned: success
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect_or_none, inspect_container, inspect_image
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.servers import status as status_text
from ansible.module_utils.jupyterhub_deploy.servers import stop


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look, and return the module's result."""
    params, now = module.params, datetime.now(timezone.utc)
    name, client = params["name"], connect_or_none()
    status: dict[str, Any] = {"hub": None, "proxy": None, "notebook_image": None, "servers": []}
    problem = None
    if client:
        hub = inspect_container(client, name)
        status["hub"] = status_text.describe(hub, now)
        status["proxy"] = status_text.describe(inspect_container(client, f"{name}-proxy"), now)
        image = stop.notebook_image(hub)
        if image:
            found = inspect_image(client, image)
            status["notebook_image"] = {"image": image, "image_id": found["Id"] if found else None}
        current = stop.image_ids(client, [*([image] if image else []), *params["notebook_images"]])
        try:
            api = hub_api.connect(client, name, params["token_file"])
            status["servers"] = stop.observe(client, api, name, current)
        except DeployError as error:
            problem = str(error)
            status["servers"] = stop.observe(client, None, name, current)
    return {"changed": False, "text": status_text.text(name, bool(client), status, problem), **status}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "notebook_images": {"type": "list", "elements": "str", "default": []},
            "token_file": {"type": "path", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except DeployError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Ansible module: the status of a hub."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_status
short_description: Report the status of a hub, its proxy and its users' servers
description:
  - Changes nothing. Also works on a host without a hub or without Docker.
  - If notebooks are isolated, a container in their network probes for two seconds what it reaches.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  notebook_images:
    description: Images that are current, besides the one that the hub gives to new servers.
    type: list
    elements: str
    default: []
  token_file:
    description: The secret C(api_token) of the hub, as M(jupyterhub_resources) creates it.
    type: path
    required: true
  isolation:
    description: How the notebooks should be isolated; see the module M(jupyterhub_guard).
    type: str
    choices: [full, peers, none]
    default: full
  update_images:
    description: Whether a run of C(site.yml) installs updates in images.
    type: bool
    default: true
  updates_file:
    description: File with the updates for images, as M(jupyterhub_image) writes it.
    type: path
    default: /var/lib/jupyterhub-deploy/image-updates.json
  front:
    description: Name of the front's container, which is also the name of its directory below C(/etc).
    type: str
    default: jupyterhub-front
  ca_bundle:
    description: File with more certificate authorities that the users' browsers trust.
    type: str
    default: ""
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
"""

EXAMPLES = r"""
- name: Get the status of the hub
  jupyterhub_status:
    name: jupyterhub
    token_file: /etc/jupyterhub/secrets/api_token
  register: status

- name: Show it
  ansible.builtin.debug:
    msg: "{{ status.messages }}"
"""

RETURN = r"""
messages:
  description: The status as lines for an operator.
  type: list
  elements: str
  returned: success
unknown:
  description: Why the hub cannot be inspected; none when it can, and on a host without Docker.
  type: str
  returned: success
hub:
  description: The hub's container; none when it does not exist.
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
  description: The proxy's container; none when it does not exist.
  type: dict
  returned: success
  contains: *container
problems:
  description: Those of the messages that say what has to be fixed.
  type: list
  elements: str
  returned: success
front:
  description: The front's container; none when it does not exist.
  type: dict
  returned: success
  contains: *container
guard:
  description: The container that keeps the rules of the isolation; none when it does not exist.
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
  description: The running servers, as the module M(jupyterhub_servers) returns them, without C(action) and C(reason).
  type: list
  elements: dict
  returned: success
disk:
  description: The users whose files take at least 80 % of the disk limit, as the hub has measured last.
  type: dict
  returned: success
  sample: {alice: {used: 9663676416, limit: 10737418240}}
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker import daemon_info
from ansible.module_utils.jupyterhub_deploy.docker.client import (
    connect_or_none,
    image_id,
    inspect_container,
    inspect_image,
)
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import status as front_status
from ansible.module_utils.jupyterhub_deploy.front import target
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.hub import isolation, reachability
from ansible.module_utils.jupyterhub_deploy.hub.reachability import Port
from ansible.module_utils.jupyterhub_deploy.images import updates
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.servers import status as hub_status
from ansible.module_utils.jupyterhub_deploy.servers import stop
from ansible.module_utils.jupyterhub_deploy.text import Problem, parse_time, problems


def connect_to_inspect() -> tuple[Any | None, str | None]:
    """Return a client, and why the hub cannot be inspected; neither on a host without Docker."""
    try:
        client = connect_or_none()
    except DeployError as error:
        return None, str(error)
    if not client and daemon_info.is_stopped():
        return None, "Docker is installed and does not run; start it with `systemctl start docker`, or run make site"
    return client, None


def run(module: AnsibleModule) -> dict[str, Any]:
    """Return the status as the module's result."""
    params, now = module.params, datetime.now(timezone.utc)
    name = params["name"]
    client, unknown = connect_to_inspect()
    status: dict[str, Any] = dict.fromkeys(("hub", "proxy", "front", "guard", "notebook_image")) | {
        "servers": [],
        "disk": {},
    }
    problem, lines = None, []
    disk: list[str] = []
    if client:
        hub = inspect_container(client, name)
        status["hub"] = hub_status.describe(hub, now)
        status["proxy"] = hub_status.describe(inspect_container(client, f"{name}-proxy"), now)
        directory = f"/etc/{params['front']}"
        site = front_status.site_of(directory, name)
        if site:
            status["front"] = hub_status.describe(inspect_container(client, params["front"]), now)
        image = stop.notebook_image(hub)
        if image:
            status["notebook_image"] = {"image": image, "image_id": image_id(client, image)}
        current = stop.image_ids(client, [*([image] if image else []), *params["notebook_images"]])
        try:
            api = hub_api.connect(client, name, params["token_file"])
            status["servers"] = stop.observe(client, api, name, current, stop.urls(hub))
        except DeployError as error:
            problem = str(error)
            status["servers"] = stop.observe(client, None, name, current, stop.urls(hub))
        else:
            status["disk"], disk = hub_status.disk_use(api)
        proxy = inspect_container(client, f"{name}-proxy")
        address, _, port = target.published(proxy).partition(":")
        at = [Port(address, int(port))] if port else []
        at = [Port(site.bind_address, site.http_port)] if site and site.has_own_port else at
        status["guard"] = hub_status.describe(inspect_container(client, f"{name}-guard"), now)
        if hub:
            lines = isolation.status(client, name, params["isolation"])
            lines += map(Problem, reachability.problems(proxy, at if site else None))
            lines += reachability.outgoing_problems(client, f"{name}-network")
        if site:
            tls = front_status.messages(directory, site, params["ca_bundle"])
            lines = [hub_status.container("front", status["front"]), *tls, *lines]
        used = {found["image_id"] for found in map(status.get, ("hub", "proxy", "front", "notebook_image")) if found}
        built = {one: parse_time(found["Created"]) for one in used if one and (found := inspect_image(client, one))}
        known = {one: time for one, time in built.items() if time}
        lines += disk
        lines += hub_status.images(updates.load(params["updates_file"]), known, now, params["update_images"])
    messages = [*hub_status.messages(name, unknown, status, problem), *lines]
    return {"messages": messages, "problems": problems(messages), "unknown": unknown, **status}


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "notebook_images": {"type": "list", "elements": "str", "default": []},
            "updates_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/image-updates.json"},
            "front": {"type": "str", "default": "jupyterhub-front"},
            "isolation": {"type": "str", "choices": ["full", "peers", "none"], "default": "full"},
            "ca_bundle": {"type": "str", "default": ""},
            "update_images": {"type": "bool", "default": True},
            "token_file": {"type": "path", "required": True, "no_log": False},
        },
        run,
        doing="reading the status of the hub",
    )


if __name__ == "__main__":
    main()

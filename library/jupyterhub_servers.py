#!/usr/bin/python
"""Ansible module: the servers of a hub's users, and those on an old image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_servers
short_description: List users' servers, and stop old ones by policy
description:
  - Lists the running servers with the image that each was started from, and which of them have an old one or were
    started for another public URL of the hub.
  - Stops old ones according to O(policy), always through the hub's API. Users keep their files; what is only in the
    memory of a kernel is lost. The next server uses the current image.
  - Keeps servers that are starting or stopping, and those that the hub does not know.
  - Checks each server again right before it is stopped, and keeps it if it is in use.
options:
  name:
    description: Name of the hub.
    type: str
    required: true
  notebook_image:
    description:
      - The current image. A server is old when its image's id is not the one that this name, or one of
        O(notebook_images), has on the host now.
      - When empty, the image that the hub gives to new servers.
    type: str
    default: ""
  notebook_images:
    description: More images that are current.
    type: list
    elements: str
    default: []
  token_file:
    description: The secret C(api_token) of the hub, as M(jupyterhub_resources) creates it.
    type: path
    required: true
  public_url:
    description: URL of the hub in the users' browsers. When not set, the URLs of servers are not compared.
    type: str
  subdomains:
    description: Whether each user has a host name below the one in O(public_url).
    type: bool
    default: false
  policy:
    description:
      - What to do with old servers. V(keep) only lists them, V(stop) stops them.
      - V(stop-idle) stops those that have been idle for longer than O(idle_seconds) and whose container uses no
        processor.
    type: str
    choices: [keep, stop-idle, stop]
    default: keep
  idle_seconds:
    description:
      - Seconds without activity. Requests and web sockets to the server count at once; a kernel that sends something
        while no browser is connected counts within about five minutes, so a limit below ten minutes may stop it.
    type: int
    default: 3600
  timeout:
    description: Seconds that one server gets to stop.
    type: int
    default: 60
attributes:
  check_mode:
    description: Reports what would be stopped, also on a host without a hub.
    support: full
  diff_mode:
    description: Not supported; RV(messages) has the changes.
    support: none
"""

EXAMPLES = r"""
- name: Stop servers on an old image that have been idle for two hours
  jupyterhub_servers:
    name: jupyterhub
    token_file: /etc/jupyterhub/secrets/api_token
    policy: stop-idle
    idle_seconds: 7200
"""

RETURN = r"""
servers:
  description: All servers that were running when the module started.
  type: list
  elements: dict
  returned: success and failure
  contains:
    user: {description: Name of the user., type: str}
    server: {description: Name of the server; empty for the user's default server., type: str}
    container: {description: Name of the container., type: str}
    container_id: {description: Id of the container., type: str}
    image: {description: Name of the image that it was started from., type: str}
    image_id: {description: Id of that image., type: str}
    current: {description: Whether that is a current image., type: bool}
    old_url: {description: Whether it was started for another public URL of the hub., type: bool}
    started: {description: When the container was started (UTC)., type: str}
    age_seconds: {description: Seconds since then., type: int}
    state:
      description:
        - Its state at the hub. V(ready), V(starting), V(stopping), V(not_ready), V(not_known_to_hub), or V(unknown)
          when the hub does not answer.
      type: str
    last_activity: {description: When it was last used (UTC)., type: str}
    idle_seconds: {description: Seconds since then; none when unknown., type: int}
    action: {description: 'V(kept), V(stopped), V(would_stop) in check mode, or V(failed).', type: str}
    reason: {description: Why., type: str}
old:
  description: Those of RV(servers) with an old image, or started for another public URL.
  type: list
  elements: dict
  returned: success and failure
messages:
  description: A line for each of RV(old).
  type: list
  elements: str
  returned: success and failure
  sample:
    - "alice: jupyterhub-deploy/notebook:4.6.6 (91aeb40425cb), started 2 h 5 min ago, last active 1 h 10 min ago:
      stopped (it has an old image and has been idle for 1 h 10 min)"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none, inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.hub import lock
from ansible.module_utils.jupyterhub_deploy.module import run_module
from ansible.module_utils.jupyterhub_deploy.servers import policy, stop


def api_or_none(module: AnsibleModule, client: Any) -> hub_api.HubApi | None:
    """Return the hub's API; when it does not answer, only a list is possible, with a warning.

    :raises DeployError: servers are to be stopped, and the hub does not answer or refuses.
    """
    params = module.params
    try:
        api = hub_api.connect(client, params["name"], params["token_file"])
        api.request("GET", "/users?limit=1")
    except DeployError as error:
        if params["policy"] != "keep" and not module.check_mode:
            raise
        module.warn(f"servers are listed without their activity, because the hub does not answer: {error}")
        return None
    return api


def run(module: AnsibleModule) -> dict[str, Any]:
    """Wait for other runs on this hub, then stop old servers; return the module's result."""
    with lock.held(module.params["name"], module.check_mode):
        return update(module)


def update(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result.

    :raises DeployError: servers cannot be stopped; its result has those that were.
    """
    params = module.params
    client = connect_or_none() if module.check_mode else connect()
    found: list[policy.Server] = []
    if client and stop.containers(client, params["name"]):
        wanted = params["notebook_image"] or stop.notebook_image(inspect_container(client, params["name"]))
        current = stop.image_ids(client, [*([wanted] if wanted else []), *params["notebook_images"]])
        if not current and params["policy"] != "keep" and not module.check_mode:
            raise DeployError(
                f"the notebook image {wanted} is not on this host, so all servers would be old; run make site"
            )
        api = api_or_none(module, client)
        urls = policy.Urls(params["public_url"] or "", params["subdomains"])
        found = stop.observe(client, api, params["name"], current, None if params["public_url"] is None else urls)
        options = stop.StopOptions(params["policy"], params["idle_seconds"], params["timeout"])
        found = stop.apply(client, api, found, options, module.check_mode)
    old = [server for server in found if policy.is_old(server)]
    result = {
        "changed": any(server["action"] in (policy.STOPPED, policy.WOULD_STOP) for server in old),
        "servers": found,
        "old": old,
        "messages": [policy.message(server) for server in old],
    }
    failed = [server for server in old if server["action"] == policy.FAILED]
    if failed:
        reasons = "; ".join(f"{policy.title(server)}: {server['reason']}" for server in failed)
        raise DeployError(
            f"{len(failed)} of {len(old)} old servers could not be stopped ({reasons}); "
            "run make site again, or stop them on the hub's admin page",
            result,
        )
    return result


def main() -> None:
    """Entry point."""
    run_module(
        {
            "name": {"type": "str", "required": True},
            "notebook_image": {"type": "str", "default": ""},
            "notebook_images": {"type": "list", "elements": "str", "default": []},
            "token_file": {"type": "path", "required": True, "no_log": False},
            "public_url": {"type": "str"},
            "subdomains": {"type": "bool", "default": False},
            "policy": {"type": "str", "choices": list(policy.POLICIES), "default": "keep"},
            "idle_seconds": {"type": "int", "default": 3600},
            "timeout": {"type": "int", "default": 60},
        },
        run,
        doing="checking users' servers",
    )


if __name__ == "__main__":
    main()

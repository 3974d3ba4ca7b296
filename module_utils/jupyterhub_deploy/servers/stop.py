"""Users' servers on one host: what Docker and the hub know of them, and stopping one by the hub's API.

No container is ever stopped behind the hub's back: the hub would go on sending people to it.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container, inspect_image
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi, server_path
from ansible.module_utils.jupyterhub_deploy.servers import policy as servers_plan
from ansible.module_utils.jupyterhub_deploy.servers.policy import Server

POLL_SECONDS = 0.5


def containers(client: Any, hub_name: str) -> list[dict[str, Any]]:
    """Return the engine's descriptions of the containers of a hub's users that run, by their names."""
    labels = [f"{LABEL_HUB}={hub_name}", LABEL_USER]
    found = [inspect_container(client, one["Id"]) for one in client.containers(filters={"label": labels})]
    return sorted((one for one in found if one), key=lambda one: str(one["Name"]))


def notebook_image(hub: dict[str, Any] | None) -> str | None:
    """Return the image that a hub gives to servers it starts, from the engine's description of its container."""
    return hub_spec.observed_spec(hub)["notebook_image"] if hub else None


def image_ids(client: Any, references: list[str]) -> set[str]:
    """Return the ids that images have on this host; those that are not here have none."""
    found = [inspect_image(client, reference) for reference in references]
    return {image["Id"] for image in found if image}


def observe(client: Any, api: HubApi | None, hub_name: str, current_ids: set[str]) -> list[Server]:
    """Return a hub's servers.

    :param api: ``None`` when the hub cannot be asked.
    :raises DeployError: the hub does not answer, or refuses.
    """
    found = containers(client, hub_name)
    known = {user["name"]: user for user in api.users()} if api and found else None

    def look() -> list[Server]:
        now = datetime.now(timezone.utc)
        return [servers_plan.describe(container, known, current_ids, now) for container in found]

    missing = {one["user"] for one in look() if one["state"] == servers_plan.NOT_KNOWN}
    if api and known is not None and missing:
        # A server that started or ended while this looked is not one that the hub has forgotten.
        known.update({name: api.user(name) or {} for name in missing})
        found = containers(client, hub_name)
    return look()


def look_again(client: Any, api: HubApi, server: Server, policy: str, idle_limit: float) -> tuple[Server, bool, str]:
    """Return a server as it is now, whether a policy stops it, and why or why not.

    The list is some moments old, and the hub hears of the latest use only seconds later, from the proxy.

    :raises DeployError: the hub does not answer, or refuses.
    """
    user = api.user(server["user"]) or {}
    at_hub = user.get("servers", {}).get(server["server"])
    seen = api.last_seen(server["user"], server["server"]) if policy == "stop-idle" else None
    container = inspect_container(client, server["container_id"])
    if not container or not at_hub:
        return server, False, "it has ended by itself"
    now = datetime.now(timezone.utc)
    latest = servers_plan.describe(container, {server["user"]: user}, (), now)
    latest = servers_plan.with_activity(latest, at_hub, now, seen)
    stops, reason = servers_plan.decide(latest, policy, idle_limit)
    if stops and policy == "stop-idle":
        cores = servers_plan.computing(client.stats(server["container_id"], stream=False))
        if cores > servers_plan.COMPUTING_CORES:
            stops, reason = False, f"it computes: {cores:.0%} of a processor core"
    return latest, stops, reason


def stop(api: HubApi, server: Server, timeout: float) -> None:
    """Stop a server.

    :param timeout: seconds that it gets to be gone.
    :raises DeployError: the hub refuses, or the server is still there.
    """
    api.request("DELETE", server_path(server["user"], server["server"]))
    deadline = time.monotonic() + timeout
    while server["server"] in (api.user(server["user"]) or {}).get("servers", {}):
        if time.monotonic() > deadline:
            raise DeployError(f"it was still stopping after {timeout:.0f} s; the hub's log may say why")
        time.sleep(POLL_SECONDS)


def apply(client: Any, api: HubApi | None, servers: list[Server], params: dict[str, Any], check: bool) -> list[Server]:
    """Apply a policy to servers; return them with ``action`` and ``reason``.

    :param params: ``policy``, ``idle_seconds`` and ``timeout`` of the module ``jupyterhub_servers``.
    :param check: only say what would be done.
    """
    done = []
    for server in servers:
        stops, reason = servers_plan.decide(server, params["policy"], params["idle_seconds"])
        if not stops or api is None:
            done.append(_kept(server, reason))
            continue
        try:
            latest, stops, reason = look_again(client, api, server, params["policy"], params["idle_seconds"])
            if stops and not check:
                stop(api, latest, params["timeout"])
        except (DeployError, docker_errors.APIError) as error:  # the others have their turn all the same
            done.append({**server, "action": servers_plan.FAILED, "reason": str(error)})
            continue
        action = servers_plan.WOULD_STOP if check else servers_plan.STOPPED
        done.append({**latest, "action": action, "reason": reason} if stops else _kept(latest, reason))
    return done


def _kept(server: Server, reason: str) -> Server:
    return {**server, "action": servers_plan.KEPT, "reason": reason}

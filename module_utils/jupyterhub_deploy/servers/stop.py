"""Users' servers on one host: what Docker and the hub know of them, and how the hub stops one.

Only the hub stops them, by its API; it would go on sending users to a container that was stopped in another way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.docker.client import (
    docker_errors,
    inspect_container,
    inspect_image,
    name_of,
)
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import config
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi, server_path
from ansible.module_utils.jupyterhub_deploy.processes import wait_until
from ansible.module_utils.jupyterhub_deploy.servers import policy
from ansible.module_utils.jupyterhub_deploy.servers.policy import Server

POLL_SECONDS = 0.5


def containers(client: Any, hub_name: str) -> list[dict[str, Any]]:
    """Return Docker's descriptions of the running containers of a hub's users, sorted by name."""
    labels = [f"{LABEL_HUB}={hub_name}", LABEL_USER]
    found = [inspect_container(client, one["Id"]) for one in client.containers(filters={"label": labels})]
    return sorted((one for one in found if one), key=lambda one: str(one["Name"]))


def notebook_image(hub: dict[str, Any] | None) -> str | None:
    """Return the image that a hub gives to new servers, from Docker's description of its container."""
    return hub_spec.observed_spec(hub)["notebook_image"] if hub else None


def urls(hub: dict[str, Any] | None) -> policy.Urls | None:
    """Return where browsers find a hub, from the configuration that its container uses; ``None`` if that is unknown."""
    settings = config.settings_of(hub)
    try:
        return policy.Urls(settings["public_url"], settings["subdomains"])
    except KeyError:
        return None


def image_ids(client: Any, references: list[str]) -> set[str]:
    """Return the ids of those images that are on this host."""
    found = [inspect_image(client, reference) for reference in references]
    return {image["Id"] for image in found if image}


def observe(
    client: Any, api: HubApi | None, hub_name: str, current_ids: set[str], urls: policy.Urls | None = None
) -> list[Server]:
    """Return a hub's servers.

    :param api: ``None`` when the hub does not answer.
    :param urls: of the hub; ``None`` does not compare them.
    :raises DeployError: the hub does not answer, or refuses.
    """
    found = containers(client, hub_name)
    known = {user["name"]: user for user in api.users()} if api and found else None

    def described() -> list[Server]:
        now = datetime.now(timezone.utc)
        return [policy.describe(container, known, current_ids, now, urls) for container in found]

    missing = {one["user"] for one in described() if one["state"] == policy.NOT_KNOWN}
    if api and known is not None and missing:
        # A server that started or ended since the first request is not one that the hub does not know.
        known.update({name: api.user(name) or {} for name in missing})
        found = containers(client, hub_name)
    return described()


def recheck(client: Any, api: HubApi, server: Server, policy_name: str, idle_limit: float) -> tuple[Server, bool, str]:
    """Return a server as it is now, whether a policy stops it, and why or why not.

    The list is some moments old, and the hub gets the latest activity from the proxy with a delay of seconds.

    :raises DeployError: the hub does not answer, or refuses.
    """
    user = api.user(server["user"]) or {}
    at_hub = user.get("servers", {}).get(server["server"])
    seen = api.last_seen(server["user"], server["server"]) if policy_name == "stop-idle" else None
    container = inspect_container(client, server["container_id"])
    if not container or not at_hub:
        return server, False, "it has ended by itself"
    now = datetime.now(timezone.utc)
    latest = policy.describe(container, {server["user"]: user}, (), now)
    latest.update({key: server[key] for key in ("current", "old_url")})
    latest = policy.with_activity(latest, at_hub, now, seen)
    stops, reason = policy.decide(latest, policy_name, idle_limit)
    if stops and policy_name == "stop-idle":
        cores = policy.computing(client.stats(server["container_id"], stream=False))
        if cores > policy.COMPUTING_CORES:
            stops, reason = False, f"it is computing: {cores:.0%} of a processor core"
    return latest, stops, reason


def stop(api: HubApi, server: Server, timeout: float) -> None:
    """Stop a server.

    :param timeout: seconds that it gets to end.
    :raises DeployError: the hub refuses, or the server has not ended.
    """
    api.request("DELETE", server_path(server["user"], server["server"]))

    def has_ended() -> bool:
        return server["server"] not in (api.user(server["user"]) or {}).get("servers", {})

    if not wait_until(has_ended, timeout, POLL_SECONDS):
        raise DeployError(f"it was still stopping after {timeout:.0f} s; read the hub's log")


def check_ended(client: Any, server: Server) -> None:
    """Check that a server's container has ended, which the hub does not know when its own stop fails.

    :raises DeployError: the container still runs.
    """
    container = inspect_container(client, server["container_id"])
    if container and container["State"]["Running"]:
        name = name_of(container)
        raise DeployError(
            f"the hub counts it as stopped, but container {name} still runs; read the hub's log, then remove it with "
            f"`docker rm --force {name}`"
        )


@dataclass(frozen=True)
class StopOptions:
    """Options of the module ``jupyterhub_servers``: the policy, and its times in seconds."""

    policy: str
    idle_seconds: float
    timeout: float


def apply(client: Any, api: HubApi | None, servers: list[Server], options: StopOptions, check: bool) -> list[Server]:
    """Apply a policy to servers; return them with ``action`` and ``reason``.

    :param check: only report what would be done.
    """
    done = []
    for server in servers:
        stops, reason = policy.decide(server, options.policy, options.idle_seconds)
        if not stops or api is None:
            done.append(_kept(server, reason))
            continue
        try:
            latest, stops, reason = recheck(client, api, server, options.policy, options.idle_seconds)
            if stops and not check:
                stop(api, latest, options.timeout)
                check_ended(client, latest)
        except (DeployError, docker_errors.APIError) as error:  # the others are still stopped
            done.append({**server, "action": policy.FAILED, "reason": str(error)})
            continue
        action = policy.WOULD_STOP if check else policy.STOPPED
        done.append({**latest, "action": action, "reason": reason} if stops else _kept(latest, reason))
    return done


def _kept(server: Server, reason: str) -> Server:
    return {**server, "action": policy.KEPT, "reason": reason}

"""The status of a hub, as lines for an operator. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi
from ansible.module_utils.jupyterhub_deploy.images import updates
from ansible.module_utils.jupyterhub_deploy.servers import policy
from ansible.module_utils.jupyterhub_deploy.servers.policy import Server, span
from ansible.module_utils.jupyterhub_deploy.text import Problem, parse_time

# Seconds after the last search for updates until its result counts as outdated. A run of site.yml searches once a day.
UPDATES_KNOWN = 2 * 24 * 3600


def describe(container: dict[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """Return the status of the hub's or the proxy's container, from Docker's description of it."""
    if container is None:
        return None
    state = container["State"]
    started = parse_time(state.get("StartedAt"))
    return {
        "container": name_of(container),
        "image": container["Config"]["Image"],
        "image_id": container["Image"],
        "state": state["Status"],
        "health": (state.get("Health") or {}).get("Status"),
        "started": state.get("StartedAt") if started else None,
        "age_seconds": max(0, int((now - started).total_seconds())) if started else None,
    }


def messages(name: str, unknown: str | None, status: dict[str, Any], problem: str | None) -> list[str]:
    """Return a hub's status as lines.

    :param name: of the hub.
    :param unknown: why the hub cannot be inspected.
    :param status: what the module ``jupyterhub_status`` returns.
    :param problem: why the hub does not answer.
    """
    if unknown:
        return [f"CANNOT TELL whether hub {name} runs: {unknown}"]
    hub, proxy, image, servers = (status[key] for key in ("hub", "proxy", "notebook_image", "servers"))
    if not (hub or proxy or servers):
        return [f"Hub {name} does not exist on this host; run make site to create it."]
    lines = [container("hub", hub), container("proxy", proxy)]
    if image:
        lines.append(f"next servers get: {policy.image(image)}")
    if problem and hub:
        lines.append(Problem(f"the hub cannot be asked, so activity is not shown: {problem}"))
    old = sum(not server["current"] for server in servers)
    moved = sum(server["old_url"] for server in servers)
    count = "no server runs" if not servers else f"{len(servers)} server{'s' if len(servers) > 1 else ''} run"
    lines.append(f"{count}{'s' if len(servers) == 1 else ''}{f', {old} on an old image' if old else ''}")
    lines[-1] += f", {moved} with an old URL" if moved else ""
    if servers:
        header = ["USER", "SERVER", "IMAGE", "", "AGE", "LAST ACTIVE", "STATE"]
        lines += ["", *policy.table(header, [_row(server) for server in servers])]
    return lines


def container(title: str, found: dict[str, Any] | None) -> str:
    """Return the line about a container, from :func:`describe`."""
    if found is None:
        return Problem(f"{title}: the container does not exist; run make site to create it")
    if found["state"] != "running":
        return Problem(f"{title}: {found['container']} is {found['state']}, from {policy.image(found)}")
    health = f", {found['health']}" if found["health"] else ""
    since = f"for {span(found['age_seconds'])}{health}"
    line = f"{title}: {found['container']} runs {since}, from {policy.image(found)}"
    return Problem(line) if found["health"] == "unhealthy" else line


def disk_use(api: HubApi) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Return what the hub knows of the users whose files take nearly the disk limit, and the lines about them."""
    try:
        found = api.disk_use()
    except DeployError as error:
        return {}, [f"disk: not known: {error}"]
    return found, disk(found)


def disk(uses: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line about the users whose files take nearly the disk limit, or more, by ``HubApi.disk_use``."""
    users = [f"{user} ({size_of(use['used'])} of {size_of(use['limit'])})" for user, use in sorted(uses.items())]
    return [f"disk: near or above the limit: {', '.join(users)}"] if users else []


def size_of(size: int) -> str:
    """Return a number of bytes as the hub shows it to its users."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def images(state: updates.State, built: Mapping[str, datetime], now: datetime, update: bool) -> list[str]:
    """Return a line about the age of the images that were built on the host, and about updates for their packages.

    :param state: of :mod:`images.updates`.
    :param built: when each image in use was built, by its id. Images that were pulled are left out.
    :param update: whether a run of ``site.yml`` installs updates.
    """
    known = {one: time for one, time in built.items() if one in state["images"]}
    if not known:
        return []
    found = {name for one in known for name in updates.pending(state["images"][one])}
    looked = now.timestamp() - state.get("refreshed", now.timestamp())
    advice = "no updates are pending"
    if found:
        how = "run make site" if update else "make site installs them with jupyterhub_update_images: true"
        failed = f"; apt-get update failed: {state['problem']}" if state.get("problem") else ""
        advice = f"updates are pending for {updates.describe(found)}: {how}{failed}"
    elif state.get("problem"):
        advice = f"whether updates are pending is unknown, because apt-get update failed: {state['problem']}"
    elif looked > UPDATES_KNOWN:
        advice = f"no updates were pending {span(looked)} ago, and nothing has looked since; run make site"
    return [f"images: the oldest was built {span((now - min(known.values())).total_seconds())} ago; {advice}"]


def _row(server: Server) -> list[str]:
    active = "?" if server["idle_seconds"] is None else f"{span(server['idle_seconds'])} ago"
    age = "old" if not server["current"] else "old URL" if server["old_url"] else "current"
    return [
        server["user"],
        server["server"] or "-",
        policy.image(server),
        age,
        span(server["age_seconds"]),
        active,
        policy.shown_state(server),
    ]

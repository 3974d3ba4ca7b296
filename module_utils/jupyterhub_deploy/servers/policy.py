"""Users' servers: which of them are old (an old image, an old URL), and what a policy does about each. Pure: no I/O.

A *server* is a plain dictionary, made by :func:`describe` and documented by the module ``jupyterhub_servers``.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible.module_utils.jupyterhub_deploy.docker.client import environment_of, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_USER
from ansible.module_utils.jupyterhub_deploy.text import parse_time, short_id

Server = dict[str, Any]

POLICIES = ("keep", "stop-idle", "stop")
# What was done with a server, and how a message says it.
KEPT, STOPPED, WOULD_STOP, FAILED = "kept", "stopped", "would_stop", "failed"
ACTIONS = {KEPT: "kept", STOPPED: "stopped", WOULD_STOP: "would be stopped", FAILED: "not stopped"}

# JupyterHub sets it in each server to the server's name, which is empty for the default server. No label has it.
NAME_VARIABLE = "JUPYTERHUB_SERVER_NAME"

# JupyterHub sets them in each server: where browsers find the hub, without a path, and the server; empty when unknown.
HUB_VARIABLE, URL_VARIABLE = "JUPYTERHUB_HOST", "JUPYTERHUB_PUBLIC_URL"

# A server that uses more than this of one processor core is computing; an idle one uses a hundredth of it.
COMPUTING_CORES = 0.05

OLD_URL = "it was started for another public URL"

# States of a server besides those that the hub has for it.
UNKNOWN, NOT_KNOWN, NOT_READY, READY = "unknown", "not_known_to_hub", "not_ready", "ready"
STATES = {NOT_KNOWN: "not known to the hub", NOT_READY: "not ready"}  # as shown; the others are shown as they are
WHY_KEPT = {
    UNKNOWN: "the hub does not answer",
    NOT_KNOWN: "the hub does not know this server (was its database replaced?); remove the container by hand",
}


class Urls(NamedTuple):
    """Where browsers find a hub and its users' servers."""

    public_url: str
    """The URL of the hub; empty when it follows from the request."""
    subdomains: bool
    """Whether each user has a host name below the hub's."""


def has_old_url(container: dict[str, Any], urls: Urls | None) -> bool:
    """Return whether a server was started for other URLs: a browser may get from it to the hub, but not back.

    :param container: Docker's description of its container.
    :param urls: the present ones, ``None`` when they are not known.
    """
    if urls is None:
        return False
    environment = environment_of(container)
    if not environment.get(HUB_VARIABLE) and not urls.subdomains:
        return False  # it has no URL, and follows that of the browser
    hub, server = (urlsplit(environment.get(name, "")) for name in (HUB_VARIABLE, URL_VARIABLE))
    wanted = urlsplit(urls.public_url)
    return hub[:2] != wanted[:2] or (server.hostname != wanted.hostname) != urls.subdomains


def describe(
    container: dict[str, Any],
    known: dict[str, Any] | None,
    current_ids: Collection[str],
    now: datetime,
    urls: Urls | None = None,
) -> Server:
    """Return a user's server.

    :param container: Docker's description of its container (``docker inspect``).
    :param known: user to the hub's description of the user; ``None`` when the hub does not answer.
    :param current_ids: ids of the images that are current.
    :param urls: of the hub; ``None`` does not compare them.
    """
    config = container["Config"]
    user = (config.get("Labels") or {}).get(LABEL_USER, "")
    name = environment_of(container).get(NAME_VARIABLE, "")
    at_hub = ((known or {}).get(user) or {}).get("servers", {}).get(name)
    started = parse_time(container["State"].get("StartedAt"))
    server = {
        "user": user,
        "server": name,
        "container": name_of(container),
        "container_id": container["Id"],
        "image": config["Image"],
        "image_id": container["Image"],
        "current": container["Image"] in current_ids,
        "old_url": has_old_url(container, urls),
        "started": _iso(started),
        "age_seconds": _seconds(started, now),
        "state": _state(at_hub, known is not None),
    }
    return with_activity(server, at_hub, now)


def with_activity(server: Server, at_hub: dict[str, Any] | None, now: datetime, seen: str | None = None) -> Server:
    """Return a server with its last activity.

    A server without any activity yet has been idle since its start, and no server for longer than that.

    :param at_hub: the hub's description of the server.
    :param seen: when the proxy last saw traffic to it, if known: the hub gets that some seconds later.
    """
    times = [parse_time(text) for text in ((at_hub or {}).get("last_activity"), seen)] if at_hub else []
    known = [time for time in times if time]
    started = parse_time(server["started"])
    latest = max([*known, *([started] if started and at_hub else [])], default=None)
    return {**server, "last_activity": _iso(latest), "idle_seconds": _seconds(latest, now)}


def is_old(server: Server) -> bool:
    """Return whether a server that starts now would have another image or URL."""
    return bool(not server["current"] or server["old_url"])


def decide(server: Server, policy: str, idle_limit: float) -> tuple[bool, str]:
    """Return whether a policy stops a server, and why or why not.

    :param idle_limit: seconds; a server that has been idle for longer is stopped by ``stop-idle``.
    """
    if not is_old(server):
        return False, "it has a current image"
    if server["state"] != READY:
        return False, WHY_KEPT.get(server["state"], f"it is {shown_state(server)}")
    idle = server["idle_seconds"]
    why = OLD_URL if server["current"] else "it has an old image"
    if policy == "stop":
        return True, why
    if policy == "keep" and server["old_url"]:
        return False, f"{OLD_URL}; stop it if its pages do not open, and the next start uses the new URL"
    if policy == "keep":
        return False, "the next start uses the new image"
    if idle is None:
        return False, "its last activity is unknown"
    if idle > idle_limit:
        return True, f"{why} and has been idle for {span(idle)}"
    return False, f"it was active {span(idle)} ago"


def computing(stats: dict[str, Any]) -> float:
    """Return how many processor cores a container uses, from one answer of Docker's statistics.

    Docker measures twice, about a second apart; 0.0 when it could not.
    """
    now, before = parse_time(stats.get("read")), parse_time(stats.get("preread"))
    if not now or not before or now <= before:
        return 0.0
    used = stats["cpu_stats"]["cpu_usage"]["total_usage"] - stats["precpu_stats"]["cpu_usage"]["total_usage"]
    return max(0.0, float(used) / 1e9 / (now - before).total_seconds())


def title(server: Server) -> str:
    """Return the name of a server in a message: its user, and its own name if it has one."""
    return f"{server['user']}/{server['server']}" if server["server"] else str(server["user"])


def shown_state(server: Server) -> str:
    """Return the state of a server as an operator reads it."""
    state: str = server["state"]
    return STATES.get(state, state)


def message(server: Server) -> str:
    """Return a line for an old server: its user, image and age, what was done and why."""
    active = "unknown" if server["idle_seconds"] is None else f"{span(server['idle_seconds'])} ago"
    return (
        f"{title(server)}: {image(server)}, started {span(server['age_seconds'])} ago, last active {active}: "
        f"{ACTIONS[server['action']]} ({server['reason']})"
    )


def image(described: dict[str, Any]) -> str:
    """Return an image by its name and the first digits of its id."""
    identity = short_id(str(described["image_id"] or "")).partition(":")[2]
    return f"{described['image']} ({identity or 'not on this host'})"


def span(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return "?"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    left = max(0, int(seconds))
    for unit, size in units:
        if left >= size or (size == 1 and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]]


def _state(at_hub: dict[str, Any] | None, hub_answers: bool) -> str:
    if not hub_answers:
        return UNKNOWN
    if at_hub is None:
        return NOT_KNOWN
    if at_hub.get("pending"):
        return {"spawn": "starting", "stop": "stopping"}.get(at_hub["pending"], f"pending {at_hub['pending']}")
    return READY if at_hub.get("ready") else NOT_READY


def _iso(time: datetime | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def _seconds(since: datetime | None, now: datetime) -> int | None:
    return max(0, int((now - since).total_seconds())) if since else None

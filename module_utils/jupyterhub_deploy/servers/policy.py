"""Users' servers: which of them run an old image, and what a policy does about each. Pure: no I/O.

A *server* is a plain dictionary, as :func:`describe` makes it and the module ``jupyterhub_servers`` documents it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_USER

Server = dict[str, Any]

POLICIES = ("keep", "stop-idle", "stop")
KEPT, STOPPED, WOULD_STOP, FAILED = "kept", "stopped", "would be stopped", "not stopped"


# JupyterHub tells each server its name; the default one's is empty. Docker's labels do not have it.
NAME_VARIABLE = "JUPYTERHUB_SERVER_NAME"

# More than this much of one processor core is a computation: a server that nobody uses takes a hundredth of it.
COMPUTING_CORES = 0.05

# States of a server besides those that the hub has for it.
NOT_ASKED, NOT_KNOWN, READY = "unknown", "not known to the hub", "ready"
WHY_KEPT = {
    NOT_ASKED: "the hub could not be asked about it",
    NOT_KNOWN: "the hub does not know this server (was its database replaced?); remove the container by hand",
}

TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):?(\d\d))?")


def parse_time(text: str | None) -> datetime | None:
    """Return a time as JupyterHub or Docker writes it; without a zone it is UTC. ``None`` when there is none.

    Docker gives nanoseconds and both give Z; Python 3.9's ``fromisoformat()`` takes neither.
    """
    match = TIME.fullmatch(text or "")
    if not match or match[1].startswith("0001-"):  # Docker's way to say never
        return None
    seconds, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    zone = timezone(offset)
    parsed = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone)
    return (parsed + timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))).astimezone(timezone.utc)


def describe(
    container: dict[str, Any], known: dict[str, Any] | None, current_ids: Collection[str], now: datetime
) -> Server:
    """Return what is known of a user's server.

    :param container: the engine's description of its container (``docker inspect``).
    :param known: user to the hub's description of the user; ``None`` when the hub could not be asked.
    :param current_ids: ids of the images that are no old ones.
    """
    config = container["Config"]
    user = (config.get("Labels") or {}).get(LABEL_USER, "")
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    name = environment.get(NAME_VARIABLE, "")
    at_hub = ((known or {}).get(user) or {}).get("servers", {}).get(name)
    started = parse_time(container["State"].get("StartedAt"))
    server = {
        "user": user,
        "server": name,
        "container": container["Name"].lstrip("/"),
        "container_id": container["Id"],
        "image": config["Image"],
        "image_id": container["Image"],
        "current": container["Image"] in current_ids,
        "started": _iso(started),
        "age_seconds": _seconds(started, now),
        "state": _state(at_hub, known is not None),
    }
    return with_activity(server, at_hub, now)


def with_activity(server: Server, at_hub: dict[str, Any] | None, now: datetime, seen: str | None = None) -> Server:
    """Return a server with what is known of its last activity.

    A server of which nobody has heard anything yet has been idle since its start, and no server since before it.

    :param at_hub: the hub's description of the server.
    :param seen: when the proxy last saw traffic to it, if that is known: the hub hears of it some seconds later.
    """
    times = [parse_time(text) for text in ((at_hub or {}).get("last_activity"), seen)] if at_hub else []
    heard = [time for time in times if time]
    started = parse_time(server["started"])
    latest = max([*heard, *([started] if started and at_hub else [])], default=None)
    return {**server, "last_activity": _iso(latest), "idle_seconds": _seconds(latest, now)}


def decide(server: Server, policy: str, idle_limit: float) -> tuple[bool, str]:
    """Return whether a policy stops a server, and why or why not.

    :param idle_limit: seconds; a server that has been idle for longer is stopped by ``stop-idle``.
    """
    if server["current"]:
        return False, "it has a current image"
    if server["state"] != READY:
        return False, WHY_KEPT.get(server["state"], f"it is {server['state']}")
    idle = server["idle_seconds"]
    if policy == "stop":
        return True, "it has an old image"
    if policy == "keep":
        return False, "the next start uses the new image"
    if idle is None:
        return False, "nothing is known of its activity"
    if idle > idle_limit:
        return True, f"it has an old image and has been idle for {span(idle)}"
    return False, f"it was active {span(idle)} ago"


def computing(stats: dict[str, Any]) -> float:
    """Return how many processor cores a container has used, from one answer of the engine's statistics.

    The engine measures twice, about a second apart; 0.0 when it could not.
    """
    now, before = parse_time(stats.get("read")), parse_time(stats.get("preread"))
    if not now or not before or now <= before:
        return 0.0
    used = stats["cpu_stats"]["cpu_usage"]["total_usage"] - stats["precpu_stats"]["cpu_usage"]["total_usage"]
    return max(0.0, float(used) / 1e9 / (now - before).total_seconds())


def title(server: Server) -> str:
    """Return how a server is called in a sentence: its user, and its own name if it has one."""
    return f"{server['user']}/{server['server']}" if server["server"] else str(server["user"])


def sentence(server: Server) -> str:
    """Return a line for an old server: whose, which image, how old, what was done and why."""
    active = "unknown" if server["idle_seconds"] is None else f"{span(server['idle_seconds'])} ago"
    return (
        f"{title(server)}: {image(server)}, started {span(server['age_seconds'])} ago, last active {active}: "
        f"{server['action']} ({server['reason']})"
    )


def image(described: dict[str, Any]) -> str:
    """Return an image as an operator tells one from another: its name and the first digits of its id."""
    identity = str(described["image_id"] or "")
    return f"{described['image']} ({identity.partition(':')[2][:12] or 'not on this host'})"


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
    """Return lines with columns one below the other."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]]


def _state(at_hub: dict[str, Any] | None, asked: bool) -> str:
    if not asked:
        return NOT_ASKED
    if at_hub is None:
        return NOT_KNOWN
    if at_hub.get("pending"):
        return {"spawn": "starting", "stop": "stopping"}.get(at_hub["pending"], f"pending {at_hub['pending']}")
    return READY if at_hub.get("ready") else "not ready"


def _iso(time: datetime | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def _seconds(since: datetime | None, now: datetime) -> int | None:
    return max(0, int((now - since).total_seconds())) if since else None

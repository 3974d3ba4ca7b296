"""The memory and the disk of a host, and the settings of a hub that runs on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker import cgroup, daemon_api
from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text
from ansible.module_utils.jupyterhub_deploy.hub import config
from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import Memory

MEMINFO = "/proc/meminfo"
AT_ONCE = 10  # requests to Docker


def available(text: str) -> int:
    """Return the bytes that new processes can use, from the text of ``/proc/meminfo``. Pure."""
    line = next(line for line in text.splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def memory(hub: str, info: dict[str, Any]) -> Memory:
    """Return the memory of this host and of all servers of a hub.

    :param info: what Docker says of itself.
    """
    used, limit = cgroup.usage(hub, info)
    return Memory(cgroup.host_memory(), available(read_text(MEMINFO) or ""), used, limit)


def of_container(stats: dict[str, Any]) -> int:
    """Return the bytes that a container uses, without what the Linux kernel can free, as ``docker stats`` does. Pure.

    :param stats: Docker's description of them; empty for a container that has ended.
    """
    found = stats.get("memory_stats") or {}
    parts = found.get("stats") or {}
    freeable = parts.get("total_inactive_file", parts.get("inactive_file", 0))
    return max(0, int(found.get("usage", 0)) - int(freeable))


def of_containers(ids: list[str]) -> list[int]:
    """Return the bytes that each of the containers uses; 0 for one that does not run any more."""

    def used(one: str) -> int:
        try:
            stats = daemon_api.get(f"/containers/{one}/stats?stream=false&one-shot=true")
        except DeployError:  # it has just been removed
            stats = None
        return of_container(stats or {})

    # Docker 20.10 takes a second for each.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(used, ids))


def settings(container: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a hub runs with.

    :param container: Docker's description of it.
    :raises DeployError: they cannot be read.
    """
    found = config.settings_of(container)
    try:
        return {key: found[key] for key in ("server_limit", "total_memory", "concurrent_starts", "authenticators")}
    except KeyError as error:
        raise DeployError(
            f"the settings that the hub {name_of(container)} runs with cannot be read, or are those of an earlier "
            "version; run make site, then run the same again"
        ) from error

"""Limits of users' servers: those of the hub, and the larger ones of a user's groups."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from docker.utils import parse_bytes

#: Servers are ended before the hub, Docker and SSH when the host has no memory left (from -1000 to 1000).
OOM_SCORE_ADJ = 500
_AUTO_LEAST = 2**30
#: Servers that start at the same time for each processor core, with ``auto``: two keep a core busy while one waits.
STARTS_PER_CORE = 2
#: Bytes for a server with ``auto``. An idle one of the built image without a kernel has 82 MiB (RSS in memory.stat on
#: 2026-11-28); this is less, so that no hub refuses a server that fits, also with another image.
SERVER_MEMORY = 64 * 2**20


class Limits(NamedTuple):
    """What one server can use. 0 means no limit.

    Attributes:
        memory: bytes.
        cpu: cores.
        pids: processes and threads.
        shm_size: bytes of /dev/shm, which are part of the memory.
        tmp_size: bytes of /tmp, which are part of the memory; without a limit, /tmp is on Docker's disk.
        disk: bytes of the user's volumes, above which a server does not start.
    """

    memory: int = 0
    cpu: float = 0
    pids: int = 0
    shm_size: int = 0
    tmp_size: int = 0
    disk: int = 0


def configure(c: Any, hub: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]], total_memory: int = 0) -> None:
    """Set the limits in the hub's configuration `c`.

    `hub` and `groups` are those of settings.json: sizes in bytes, or as ``2G``; the memory also ``auto``.
    `total_memory` is what all servers can use together, in bytes; 0 means all memory of the host.
    """
    limits = Limits(**parsed(hub, automatic_memory(_host_memory(), total_memory)))
    c.DockerSpawner.mem_limit, c.DockerSpawner.cpu_limit = limits.memory, limits.cpu or None
    c.HubSpawner.pids_limit, c.HubSpawner.shm_size = limits.pids, limits.shm_size
    c.HubSpawner.tmp_size, c.HubSpawner.disk_limit = limits.tmp_size, limits.disk
    c.HubSpawner.group_limits = dict(groups)


def configure_starts(c: Any, at_once: int | str) -> None:
    """Set in `c` how many servers start at the same time: a number, 0 for all of them, or ``auto``."""
    c.HubSpawner.concurrent_starts = STARTS_PER_CORE * (os.cpu_count() or 1) if at_once == "auto" else at_once
    if at_once:
        c.JupyterHub.concurrent_spawn_limit = 0  # JupyterHub would refuse the 101st start; here it waits


def configure_servers(c: Any, servers: int | str, total_memory: int) -> None:
    """Set in `c` how many servers can run: a number, 0 for no limit, or ``auto``.

    `total_memory` is what all of them can use, in bytes; 0 means all memory of the host.
    """
    fitting = (total_memory or _host_memory()) // SERVER_MEMORY
    c.JupyterHub.active_server_limit = fitting if servers == "auto" else servers


def automatic_memory(host: int, total: int = 0) -> int:
    """Return the limit of one server with ``auto``: half of the host's memory, and no more than all servers have."""
    return min(max(host // 2, _AUTO_LEAST), total or host)


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def parsed(values: Mapping[str, Any], automatic: int = 0) -> dict[str, Any]:
    """Return limits with sizes in bytes; `automatic` is the memory for ``auto``.

    Raises ValueError for an unknown name.
    """
    found = dict(values)
    unknown = [*(set(found) - set(Limits._fields))]
    if unknown:
        raise ValueError(f"{unknown[0]} is not known; use {', '.join(Limits._fields)}")
    if found.get("memory") == "auto":
        if not automatic:
            raise ValueError("memory is auto, which is for all users only; set a size")
        found["memory"] = automatic
    for name in {"memory", "shm_size", "tmp_size", "disk"} & set(found):
        found[name] = int(parse_bytes(found[name]))
    return found


def largest(hub: Limits, groups: Iterable[Mapping[str, Any]]) -> Limits:
    """Return the largest of each limit, of the hub's and those of a user's groups, which may lack some."""
    found = hub._asdict()
    for limits in groups:
        for name, value in limits.items():
            found[name] = max(found[name], value) if found[name] and value else 0
    return Limits(**found)


def limited(host_config: Mapping[str, Any], limits: Limits, cgroup_parent: str = "") -> dict[str, Any]:
    """Return the host configuration of a container (of Docker's API) with the limits that it does not have yet.

    `cgroup_parent` is the control group of all servers. dockerspawner itself sets memory and cores.
    ``extra_host_config`` has precedence.
    """
    own: dict[str, Any] = {"OomScoreAdj": OOM_SCORE_ADJ}
    if cgroup_parent:
        own["CgroupParent"] = cgroup_parent
    if limits.pids:
        own["PidsLimit"] = limits.pids
    if limits.shm_size:
        own["ShmSize"] = limits.shm_size
    memory = host_config.get("Memory")
    found = {**own, **({"MemorySwap": memory} if memory else {}), **host_config}  # of memory and swap space together
    if memory and found.get("MemoryReservation", 0) > memory:  # Docker would refuse it
        found["MemoryReservation"] = memory
    if limits.tmp_size:
        tmp = f"size={limits.tmp_size},mode=1777,exec"  # exec: pip builds packages in it
        found["Tmpfs"] = {"/tmp": tmp, **(found.get("Tmpfs") or {})}  # noqa: S108
    return found

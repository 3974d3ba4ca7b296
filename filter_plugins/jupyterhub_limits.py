"""Filter that checks the limits of users' servers, also those of their time. Pure Python, no I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)")

# The smallest value of each limit, other than 0. A server that runs no kernel yet has 100 MiB and about 20 threads.
MEMORY = 128 * 2**20
TOTAL_MEMORY = 512 * 2**20
CPU = 0.1
PIDS = 100
SHM_SIZE = 2**20
TMP_SIZE = 16 * 2**20
DISK = 64 * 2**20
# Seconds. A user needs some for a break, and some to save their work.
IDLE = 120
MAX_AGE = 600


def problems(settings: Mapping[str, Any]) -> Iterable[str]:
    """Yield a message for each invalid limit: which setting, why, and what to write instead.

    :param settings: the settings of all roles, from the filter ``jupyterhub_typed_settings``. What is missing is not
        checked.
    """
    for name, check in SETTINGS.items():
        if name in settings and not (name.endswith("memory_limit") and settings[name] == "auto"):
            yield from (f"{name} {problem}" for problem in check(settings[name]))
    for group, limits in settings.get("group_limits", {}).items():
        label = f"group_limits: {group}"
        if not isinstance(limits, Mapping):
            yield f"{label} is not a dictionary; use one such as {{memory: 8G, cpu: 4}}"
            continue
        for limit, value in limits.items():
            if limit not in OF_GROUP:
                yield f"{label} has {limit}, which is not known; use {', '.join(OF_GROUP)}"
            else:
                yield from (f"{label}: {limit} {problem}" for problem in OF_GROUP[limit](value))
    yield from _above_total(settings)


def _above_total(settings: Mapping[str, Any]) -> Iterable[str]:
    """Yield a message for each memory limit of one server that is above the one of all servers together."""
    total = settings.get("total_memory_limit")
    of_groups = {
        f"group_limits: {group}: memory": limits.get("memory")
        for group, limits in settings.get("group_limits", {}).items()
        if isinstance(limits, Mapping)
    }
    for name, limit in {"memory_limit": settings.get("memory_limit"), **of_groups}.items():
        if 0 < _bytes(total) < _bytes(limit):
            yield (
                f"{name} is {limit}, and all servers together have {total}; use at most {total}, or set a higher "
                "jupyterhub_total_memory_limit"
            )


def _bytes(size: Any) -> float:
    """Return the bytes of a size; 0 for one that is not a number."""
    found = SIZE.fullmatch(str(size))
    return float(found[1]) * UNITS[found[2]] if found else 0


def _size(least: int, value: Any, zero: str = ", or 0 for no limit") -> Iterable[str]:
    """Yield a message about an invalid size.

    :param zero: what 0 means, as the end of a message; empty if 0 is not valid.
    """
    size = _bytes(value)
    if isinstance(value, bool) or not SIZE.fullmatch(str(value)):
        yield f"is {value!r}; use a size such as 512M or 2G{zero}"
    elif size < least and (size or not zero):
        yield f"is {value}; use at least {least >> 20}M{zero}"


def _number(least: float, types: Any, value: Any) -> Iterable[str]:
    if not isinstance(value, types) or isinstance(value, bool) or not (value == 0 or least <= value < math.inf):
        kind = "whole number" if types is int else "number"
        yield f"is {value!r}; use a {kind} of at least {least}, or 0 for no limit"


def _count(zero: str, value: Any) -> Iterable[str]:
    """Yield a message about an invalid number, which may also be ``auto``.

    :param zero: what 0 does, as the end of a message.
    """
    is_number = isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).isdecimal()
    if value != "auto" and not is_number:
        yield f"is {value!r}; use auto, a whole number, or 0 {zero}"


Check = Callable[[Any], Iterable[str]]
OF_GROUP: dict[str, Check] = {
    "memory": lambda value: _size(MEMORY, value),
    "cpu": lambda value: _number(CPU, (int, float), value),
    "pids": lambda value: _number(PIDS, int, value),
    "shm_size": lambda value: _size(SHM_SIZE, value, zero=""),  # Docker has 64 MiB without a size
    "tmp_size": lambda value: _size(TMP_SIZE, value),
    "disk": lambda value: _size(DISK, value),
}
SETTINGS: dict[str, Check] = {
    "total_memory_limit": lambda value: _size(TOTAL_MEMORY, value),
    **{name if name.endswith("_size") else f"{name}_limit": check for name, check in OF_GROUP.items()},
    **dict.fromkeys(("cull_idle_seconds", "cull_kernels_seconds"), lambda value: _number(IDLE, int, value)),
    "cull_max_age_seconds": lambda value: _number(MAX_AGE, int, value),
    "concurrent_starts": lambda value: _count("to start all servers at once", value),
    "server_limit": lambda value: _count("for no limit", value),
}


class FilterModule:
    """The filter, as Ansible loads it."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], list[str]]]:
        """Return the filter by its name in playbooks."""
        return {
            "jupyterhub_limit_problems": lambda settings: [f"jupyterhub_{problem}" for problem in problems(settings)]
        }

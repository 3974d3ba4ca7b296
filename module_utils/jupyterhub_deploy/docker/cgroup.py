"""The control group of all servers of a hub, which limits the memory and the processes of all of them together.

Whatever the servers do, the hub, the proxy, Docker and SSH keep the rest. If Docker's driver of control groups is
systemd, a slice keeps the limit across reboots; otherwise each run sets it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Collection
from typing import Any

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically
from ansible.module_utils.jupyterhub_deploy.processes import systemctl, wait_until

ROOT = "/sys/fs/cgroup"
UNITS = "/etc/systemd/system"

NOT_LIMITED = (
    "the Linux kernel of this host limits no memory (docker info says so, too), so one server can take what the hub "
    "needs; add cgroup_enable=memory to the options of the Linux kernel, restart the host, and run the same again"
)
GIB = 2**30
PAGE = os.sysconf("SC_PAGE_SIZE")
UNLIMITED = (2**63 - 1) // PAGE * PAGE  # what version 1 shows for no limit
REMOVAL_SECONDS = 5  # Docker removes the control groups of containers a moment after their end


def automatic_limit(memory: int) -> int:
    """Return the limit for a host with so many bytes of memory: without a tenth or 1 GiB, and at least half of it."""
    return max(memory - max(memory // 10, GIB), memory // 2)


def tasks_limit() -> int:
    """Return how many processes and threads all servers have: half of those that the Linux kernel can have in all."""
    limits = [int(read_text(f"/proc/sys/kernel/{name}") or 0) for name in ("threads-max", "pid_max")]
    return min(limits) // 2


def host_memory() -> int:
    """Return the memory of this host in bytes."""
    return PAGE * os.sysconf("SC_PHYS_PAGES")


def shown(limit: int) -> str:
    """Return a limit for a message."""
    return f"{limit / GIB:.1f} GiB" if limit else "none"


def slice_name(hub: str) -> str:
    """Return the name of the hub's slice. A dash would be a level: systemd makes ``jupyterhub.slice`` the parent."""
    return f"jupyterhub-{hub.replace('-', '_')}.slice"


def parent(hub: str, info: dict[str, Any]) -> str:
    """Return what Docker calls the control group of a hub: its option ``--cgroup-parent``.

    With the other driver, Docker would put containers into a slice without systemd's knowledge.

    :param info: what Docker says of itself (``docker info``).
    """
    name = slice_name(hub)
    return name if info["CgroupDriver"] == "systemd" else f"/{name.removesuffix('.slice')}"


def unit(hub: str, limit: int) -> str:
    """Return the text of the slice.

    :param limit: bytes; 0 for none.
    """
    return (
        "# Written by site.yml of jupyterhub-deploy-ansible, which overwrites changes made here.\n"
        f"[Unit]\nDescription=Servers of the users of hub {hub}\n\n"
        f"[Slice]\nMemoryMax={limit or 'infinity'}\nTasksMax={tasks_limit()}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def ensure(hub: str, info: dict[str, Any], limit: int, check: bool) -> tuple[str, bool]:
    """Create the control group of a hub with its limit, unless in check mode.

    :param info: what Docker says of itself.
    :param limit: bytes; 0 for none.
    :returns: :func:`parent`, empty if the Linux kernel cannot limit memory; and whether something had to be changed.
    :raises DeployError: systemd refuses the slice, or servers use more memory than the limit.
    """
    if not info.get("MemoryLimit"):
        return "", False
    found = parent(hub, info)
    is_new = limit // PAGE * PAGE != _present_limit(hub, info)
    if is_new and 0 < limit < _used(hub, info, ("inactive_file", "active_file")):
        raise DeployError(_too_much(hub, limit))  # with version 2, the Linux kernel would end servers
    ensure_limits = _ensure_slice if found.endswith(".slice") else _set_limits
    return found, ensure_limits(hub, info, limit, check)


def remove(hub: str, info: dict[str, Any], check: bool) -> str:
    """Remove the control group of a hub, in which nothing runs any more, unless in check mode.

    :returns: its name; empty if it did not exist, or if it remains, because something else runs in it.
    """
    name = parent(hub, info).lstrip("/")
    path = os.path.join(UNITS, name) if name.endswith(".slice") else _folder(hub, info)
    if not os.path.exists(path):
        return ""
    if check:
        return name
    if name.endswith(".slice"):
        systemctl("disable", "--now", name)
        os.unlink(path)
        systemctl("daemon-reload")
        return name
    _removed(_folder(hub, info, "pids"))
    return name if wait_until(lambda: _removed(path), REMOVAL_SECONDS) else ""


def usage(hub: str, info: dict[str, Any]) -> tuple[int, int]:
    """Return the memory that all servers of a hub use, without what the Linux kernel can free, and their limit.

    :param info: what Docker says of itself.
    :returns: bytes; 0 and 0 without a limit.
    """
    limit = _present_limit(hub, info)
    return (_used(hub, info), limit) if limit else (0, 0)


def _used(hub: str, info: dict[str, Any], freeable: Collection[str] = ("inactive_file",)) -> int:
    """Return the memory of all servers, without what the Linux kernel can free, in bytes.

    :param freeable: what that is: by default, as Docker does, files that were not read lately.
    """
    current, prefix = ("memory.current", "") if _is_version_2(info) else ("memory.usage_in_bytes", "total_")
    texts = [read_text(os.path.join(_folder(hub, info), file)) or "" for file in (current, "memory.stat")]
    sizes = dict(line.split() for line in texts[1].splitlines())
    return max(0, int(texts[0] or 0) - sum(int(sizes.get(f"{prefix}{name}", 0)) for name in freeable))


def _present_limit(hub: str, info: dict[str, Any]) -> int:
    """Return the limit for the memory of all servers, in bytes; 0 for none."""
    text = (read_text(_limit_file(hub, info)) or "").strip()
    return 0 if text in ("", "max", str(UNLIMITED)) else int(text)


def _too_much(hub: str, limit: int) -> str:
    return (
        f"the servers of hub {hub} use more than {shown(limit)}, so their memory cannot be limited to that; stop some, "
        "or set a higher jupyterhub_total_memory_limit, then run the same again"
    )


def _removed(folder: str) -> bool:
    with contextlib.suppress(OSError):
        os.rmdir(folder)
    return not os.path.exists(folder)


def _is_version_2(info: dict[str, Any]) -> bool:
    return str(info.get("CgroupVersion", "1")) == "2"


def _folder(hub: str, info: dict[str, Any], controller: str = "memory") -> str:
    found = parent(hub, info)
    path = f"/jupyterhub.slice/{found}" if found.endswith(".slice") else found
    return f"{ROOT}{'' if _is_version_2(info) else f'/{controller}'}{path}"


def _limit_file(hub: str, info: dict[str, Any]) -> str:
    return os.path.join(_folder(hub, info), "memory.max" if _is_version_2(info) else "memory.limit_in_bytes")


def _is_active(name: str) -> bool:
    """Return whether a slice is active, with the limit of its file."""
    command = ["systemctl", "show", "--property=ActiveState,NeedDaemonReload", name]
    shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return {*shown.split()} == {"ActiveState=active", "NeedDaemonReload=no"}


def _ensure_slice(hub: str, info: dict[str, Any], limit: int, check: bool) -> bool:
    name, text = slice_name(hub), unit(hub, limit)
    path = os.path.join(UNITS, name)
    changed = read_text(path) != text or not _is_active(name)
    if changed and not check:
        write_atomically(path, text, 0o644)
        systemctl("daemon-reload")
        systemctl("enable", "--now", name)
    # With version 1 of control groups, systemd may keep the old limit of a slice that is active. A slice without
    # servers or without a limit may not have the file.
    if os.path.exists(_limit_file(hub, info)):
        changed |= _set_memory(hub, info, limit, check)
    return _set_tasks(hub, info, check) or changed


def _set_limits(hub: str, info: dict[str, Any], limit: int, check: bool) -> bool:
    changed = _set_memory(hub, info, limit, check)
    if not check:
        os.makedirs(_folder(hub, info, "pids"), exist_ok=True)
    return _set_tasks(hub, info, check) or changed


def _set_tasks(hub: str, info: dict[str, Any], check: bool) -> bool:
    path = os.path.join(_folder(hub, info, "pids"), "pids.max")
    # The file is missing until the group exists, and where the Linux kernel cannot limit processes.
    return os.path.exists(path) and _set(path, str(tasks_limit()), check)


def _set_memory(hub: str, info: dict[str, Any], limit: int, check: bool) -> bool:
    unlimited = "max" if _is_version_2(info) else str(UNLIMITED)
    try:  # the Linux kernel has whole pages
        return _set(_limit_file(hub, info), str(limit // PAGE * PAGE) if limit else unlimited, check)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise DeployError(_too_much(hub, limit)) from error


def _set(path: str, value: str, check: bool) -> bool:
    """Write a value into a file of a control group, unless it has it; return whether it did not."""
    if (read_text(path) or "").strip() == value:
        return False
    if not check:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:  # not atomically: a control group takes no new files
            file.write(value)
    return True

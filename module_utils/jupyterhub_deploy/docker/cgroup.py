"""The control group of all servers of a hub, which limits the memory of all of them together.

Whatever the servers do, the hub, the proxy, Docker and SSH keep the rest. A slice of systemd keeps the limit across
reboots; on a host without systemd, each run sets it.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically
from ansible.module_utils.jupyterhub_deploy.processes import systemctl

ROOT = "/sys/fs/cgroup"
UNITS = "/etc/systemd/system"
# Exists while systemd is process 1 (sd_booted(3)).
SYSTEMD = "/run/systemd/system"

GIB = 2**30
PAGE = 4096
UNLIMITED = 2**63 - PAGE  # what version 1 shows for no limit


def automatic_limit(memory: int) -> int:
    """Return the limit for a host with so many bytes of memory: without a tenth or 1 GiB, and at least half of it."""
    return max(memory - max(memory // 10, GIB), memory // 2)


def host_memory() -> int:
    """Return the memory of this host in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def shown(limit: int) -> str:
    """Return a limit for a message."""
    return f"{limit / GIB:.1f} GiB" if limit else "none"


def slice_name(hub: str) -> str:
    """Return the name of the hub's slice. A dash would be a level: systemd makes ``jupyterhub.slice`` the parent."""
    return f"jupyterhub-{hub.replace('-', '_')}.slice"


def parent(hub: str, driver: str, systemd: bool) -> str:
    """Return what Docker calls the control group: its option ``--cgroup-parent``.

    :param driver: Docker's driver of control groups, ``systemd`` or ``cgroupfs``.
    :param systemd: whether the host has systemd.
    """
    if driver == "systemd":
        return slice_name(hub)
    return f"/jupyterhub.slice/{slice_name(hub)}" if systemd else f"/{slice_name(hub).removesuffix('.slice')}"


def unit(hub: str, limit: int) -> str:
    """Return the text of the slice.

    :param limit: bytes; 0 for none.
    """
    return (
        "# Written by site.yml of jupyterhub-deploy-ansible, which overwrites changes made here.\n"
        f"[Unit]\nDescription=Servers of the users of hub {hub}\n\n"
        f"[Slice]\nMemoryMax={limit or 'infinity'}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"  # with the driver cgroupfs, Docker does not start it
    )


def ensure(hub: str, info: dict[str, Any], limit: int, check: bool) -> tuple[str, bool]:
    """Create the control group of a hub with its limit, unless in check mode.

    :param info: what Docker says of itself (``docker info``).
    :param limit: bytes; 0 for none.
    :returns: :func:`parent`, empty if the Linux kernel cannot limit memory; and whether something had to be changed.
    :raises DeployError: systemd refuses the slice.
    """
    if not info.get("MemoryLimit"):
        return "", False
    systemd = os.path.isdir(SYSTEMD)
    found = parent(hub, info["CgroupDriver"], systemd)
    if systemd:
        return found, _ensure_slice(hub, limit, check)
    return found, _ensure_directory(_folder(found, info), info, limit, check)


def remove(hub: str, info: dict[str, Any], check: bool) -> str:
    """Remove the control group of a hub, unless in check mode or while something runs in it.

    :returns: its name, empty if there is none.
    """
    name, path = slice_name(hub), os.path.join(UNITS, slice_name(hub))
    if os.path.isdir(SYSTEMD):
        if not os.path.exists(path):
            return ""
        if not check:
            systemctl("disable", "--now", name)
            os.unlink(path)
            systemctl("daemon-reload")
        return name
    folder = _folder(parent(hub, "cgroupfs", systemd=False), info)
    if not os.path.isdir(folder):
        return ""
    if not check:
        with contextlib.suppress(OSError):  # Docker removes those of containers a moment after their end
            os.rmdir(folder)
    return os.path.basename(folder)


def _is_version_2(info: dict[str, Any]) -> bool:
    return str(info.get("CgroupVersion", "1")) == "2"


def _folder(found: str, info: dict[str, Any]) -> str:
    return f"{ROOT}{found}" if _is_version_2(info) else f"{ROOT}/memory{found}"


def _ensure_slice(hub: str, limit: int, check: bool) -> bool:
    name, text = slice_name(hub), unit(hub, limit)
    path = os.path.join(UNITS, name)
    if read_text(path) == text and systemctl("is-active", name, check=False):
        return False
    if not check:
        write_atomically(path, text)
        systemctl("daemon-reload")  # also changes the limit of a slice that exists
        systemctl("enable", "--now", name)
    return True


def _ensure_directory(folder: str, info: dict[str, Any], limit: int, check: bool) -> bool:
    new = _is_version_2(info)
    path = os.path.join(folder, "memory.max" if new else "memory.limit_in_bytes")
    unlimited = "max" if new else str(UNLIMITED)
    wanted = str(limit // PAGE * PAGE) if limit else unlimited  # the Linux kernel has whole pages
    if (read_text(path) or "").strip() == wanted:
        return False
    if not check:
        os.makedirs(folder, exist_ok=True)
        with open(path, "w", encoding="ascii") as file:  # not atomically: a control group takes no new files
            file.write(wanted)
    return True

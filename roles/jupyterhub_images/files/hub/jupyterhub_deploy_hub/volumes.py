"""The volumes of a user's server, the owner of a new one, and the archive by which Docker sets it. Pure.

Docker gives a new volume the owner of the image's directory at the mount point, or root without such a directory.
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
import time
from datetime import datetime, timezone
from typing import NamedTuple

#: On a volume that the hub created: when its user was added to the hub, which tells users of the same name apart.
SINCE_LABEL = "org.jupyterhub.deploy.user-since"


class Mounted(NamedTuple):
    """A named volume of a server, or a directory of the host. A shared one is not the user's own."""

    name: str
    mount_point: str
    is_writable: bool
    is_shared: bool

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory of the host; Docker creates a missing one, which then belongs to root."""
        return self.name.startswith("/")


class Owner(NamedTuple):
    """Numeric ids, as the container sees them."""

    uid: int
    gid: int


def owner_of_process(user: str, passwd: str, group: str) -> Owner | None:
    """Return the ids of a container with ``Config.User`` `user`, or None if Docker would not start it.

    `user` is ``""`` (root), ``name``, ``uid``, ``name:group``, ``uid:gid`` and so on; `passwd` and `group` are the
    texts of the image's files, possibly empty. An id without an entry has group 0, as with ``docker run``.
    """
    user_part, _, group_part = user.partition(":")
    accounts = [line.split(":") for line in passwd.splitlines() if line.count(":") >= 3]
    found = next((entry for entry in accounts if user_part in (entry[0], entry[2])), None)
    if not user_part:
        uid, gid = 0, 0
    elif found is not None and found[2].isdigit() and found[3].isdigit():
        uid, gid = int(found[2]), int(found[3])
    elif user_part.isdigit():
        uid, gid = int(user_part), 0
    else:
        return None
    if group_part.isdigit():
        gid = int(group_part)
    elif group_part:
        groups = [line.split(":") for line in group.splitlines() if line.count(":") >= 2]
        numbers = [entry[2] for entry in groups if entry[0] == group_part and entry[2].isdigit()]
        if not numbers:
            return None
        gid = int(numbers[0])
    return Owner(uid, gid)


def needs_owner(current: Owner, wanted: Owner | None) -> bool:
    """Return whether to change the owner of a mount point: only from root to another user."""
    return wanted is not None and wanted.uid != 0 and current.uid == 0


def is_writable(current: Owner, mode: int, process: Owner) -> bool:
    """Return whether a process without capabilities can write to a directory."""
    if current.uid == process.uid:
        return bool(mode & 0o200)
    return bool(mode & (0o020 if current.gid == process.gid else 0o002))


def owner_archive(mount_point: str, owner: Owner, mode: int) -> tuple[str, bytes]:
    """Return (directory to unpack in, tar archive) that sets the owner of the directory `mount_point`.

    The archive contains only the directory, so its files stay unchanged.
    """
    parent, name = posixpath.split(posixpath.normpath(mount_point))
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE
    entry.uid, entry.gid = owner
    entry.mode = mode | 0o700
    entry.mtime = int(time.time())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(entry)
    return parent, buffer.getvalue()


def label_problem(
    labels: dict[str, str] | None,
    wanted: dict[str, str],
    volume: str,
    since: str,
    forgotten: tuple[str, str] = ("", ""),
    signed_up: float | None = None,
) -> str | None:
    """Return why a volume is not this user's: its labels name another user or hub, or nobody. None if it is.

    A volume without labels is not given to the user of its name, who may have signed up after it was created. Neither
    is the volume of a user who was deleted on the page *Admin*, to the next user of that name.

    `since` is the time at which this user was added to the hub; a volume that an administrator labels has none.
    `forgotten` is the time between a backup of the hub's state and its restore: users who were added then are unknown
    now. One who was added again after it gets the volume again, except by the sign-up form, where anyone can take the
    name; `signed_up` is the time of that, in seconds since the epoch.
    """
    for key, value in wanted.items():
        found = (labels or {}).get(key)
        if found is not None and found != value:
            return f"The volume {volume} belongs to {found!r} ({key}), not to {value!r}."
    if not wanted.keys() <= (labels or {}).keys():
        return f"The volume {volume} exists already, and has no label that says whose it is."
    labeled = (labels or {}).get(SINCE_LABEL, since)
    backup, restored = forgotten
    if labeled == since:
        return None
    if not backup <= labeled <= restored:
        return f"The volume {volume} belongs to an earlier user of this name, who was deleted."
    if since < restored or (signed_up is not None and _moment(signed_up) >= restored):
        return f"The volume {volume} belongs to an earlier user of this name, who was added after the restored backup."
    return None


def _moment(seconds: float) -> str:
    """Return a time in UTC as the labels have it."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat(timespec="seconds")


def forgotten_time(text: str) -> tuple[str, str]:
    """Return the time from a backup to its restore from what the host has written about it; nothing without it."""
    try:
        content = json.loads(text or "{}")
        return str(content["backup"]), str(content["restored"])
    except (ValueError, KeyError, TypeError):
        return "", ""


def container_problem(labels: dict[str, str] | None, wanted: dict[str, str], container: str) -> str | None:
    """Return why an existing container with the name of the user's server is not this user's. None if it is."""
    if all((labels or {}).get(key) == value for key, value in wanted.items()):
        return None
    return f"The container {container} exists already, and does not belong to this user of this hub."

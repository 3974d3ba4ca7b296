"""Compare the user of a notebook image with the owners of users' volumes, whose files may become read-only."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, needs_container, users_volumes

# User names in a message.
_SHOWN = 5


class Home(NamedTuple):
    """A user's volume on this host: its name, and owner and mode of its directory."""

    volume: str
    uid: int
    gid: int
    mode: int

    def is_writable(self, uid: int, gid: int) -> bool:
        """Return whether a server with this user and group can write to it; it has no capabilities, also as root.

        The hub gives a directory of root to the user of the server.
        """
        if self.uid == uid:
            return bool(self.mode & 0o200)
        if self.uid == 0:
            return True
        return bool(self.mode & (0o020 if self.gid == gid else 0o002))


def homes(client: Any, hub: str) -> list[Home]:
    """Return the volumes of a hub's users whose files are visible on the host."""
    found = []
    for volume in users_volumes(hub, [Volume.of(one) for one in client.volumes()["Volumes"] or []]):
        if needs_container(volume):
            continue
        try:
            state = os.stat(volume.mountpoint)
        except OSError:  # removed meanwhile
            continue
        found.append(Home(volume.name, state.st_uid, state.st_gid, state.st_mode))
    return found


def problem(image: str, uid: int, gid: int, found: list[Home]) -> tuple[str, bool]:
    """Return what is wrong with an image for these volumes ("" if nothing), and whether it is so for most of them."""
    read_only = [home for home in found if not home.is_writable(uid, gid)]
    if not read_only:
        return "", False
    owner = Counter(home.uid for home in read_only).most_common(1)[0][0]
    names = [home.volume for home in read_only]
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    text = (
        f"image {image} runs servers as user {uid}:{gid}, but {len(names)} of {len(found)} users' volumes belong to "
        f"user {owner}, so their files would be read-only ({shown}); use an image whose user has the id {owner}, or "
        "change the owner of the files, see docs/how-to/notebook-image.md"
    )
    return text, 2 * len(names) > len(found)

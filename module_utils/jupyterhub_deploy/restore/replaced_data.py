"""List and remove the data that restores have replaced and kept."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup.programs import ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, needs_container, users_volumes
from ansible.module_utils.jupyterhub_deploy.restore import swap


@dataclass(frozen=True)
class OldData:
    """The data that one restore has replaced in one volume."""

    volume: str
    user: str | None  # None for the hub's own state
    path: str

    def size(self) -> int:
        """Return its size on the disk in bytes; 0 if it is unknown."""
        done = subprocess.run(
            ["du", "--summarize", "--block-size=1", "--", self.path],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        number = done.stdout.split(b"\t")[0]
        return int(number) if number.isdigit() else 0


def list_old_data(client: Any, hub: str, users: list[str]) -> list[OldData]:
    """Return the replaced data by volume, oldest first.

    :param client: a low-level Docker client.
    :param users: only these users' volumes; if empty, all volumes of the hub and its own.
    """
    described = [Volume.of(one) for one in client.volumes()["Volumes"] or []]
    own = [one for one in described if one.name == f"{hub}-data" and not users]
    theirs = [one for one in users_volumes(hub, described) if not users or any(one.is_of(user, hub) for user in users)]
    return [
        OldData(volume.name, volume.user, path)
        for volume in sorted(own + theirs)
        if not needs_container(volume)
        for path in swap.kept_directories(os.path.dirname(volume.mountpoint))
    ]


def remove(old: OldData) -> None:
    """Remove replaced data.

    :raises DeployError: a restore of that volume is in progress, or the data cannot be removed.
    """
    home = os.path.dirname(old.path)
    with swap.locked(home):
        swap.discard(home, old.path)

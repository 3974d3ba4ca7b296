"""Data that restores have replaced and kept: which there are, and their removal."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.jupyterhub_deploy import restore_swap
from ansible.module_utils.jupyterhub_deploy.backup_check import ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.container_plan import LABEL_HUB, LABEL_USER


@dataclass(frozen=True)
class OldData:
    """What one restore has replaced in one volume."""

    volume: str
    user: str | None  # None for the hub's own state
    path: str

    def size(self) -> int:
        """Return the bytes that it takes on the disk; 0 when that cannot be found out."""
        done = subprocess.run(
            ["du", "--summarize", "--block-size=1", "--", self.path],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        number = done.stdout.split(b"\t")[0]
        return int(number) if number.isdigit() else 0


def find(client: Any, hub: str, users: list[str]) -> list[OldData]:
    """Return what there is, by volume, oldest first.

    :param client: a low-level Docker client.
    :param users: look at these users' volumes alone; with none, at all of the hub, its own included.
    """
    found = []
    described = client.volumes()["Volumes"] or []
    for volume in sorted(described, key=lambda one: str(one["Name"])):
        labels = volume.get("Labels") or {}
        user = labels.get(LABEL_USER)
        own = volume["Name"] == f"{hub}-data"
        if volume["Driver"] != "local" or volume.get("Options") or not (own or labels.get(LABEL_HUB) == hub):
            continue
        if users and user not in users:
            continue
        home = os.path.dirname(str(volume["Mountpoint"]))
        found += [OldData(volume["Name"], user, path) for path in restore_swap.kept_directories(home)]
    return found


def remove(old: OldData) -> None:
    """Remove it.

    :raises DeployError: a restore of that volume is going on, or it cannot be removed.
    """
    home = os.path.dirname(old.path)
    with restore_swap.locked(home):
        restore_swap.discard(home, old.path)

"""The volumes of a host that restores write to, and the containers that use them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import (
    LABEL_HUB,
    LABEL_RESTORING,
    LABEL_USER,
    LABEL_USER_SINCE,
)
from ansible.module_utils.jupyterhub_deploy.docker.volumes import containers_using, is_plain
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import LockedError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.restore import commands, swap
from ansible.module_utils.jupyterhub_deploy.restore.select import Job
from ansible.module_utils.jupyterhub_deploy.servers import stop


class Host:
    """The volumes and containers of this host."""

    def __init__(self, client: Any, hub: str, limit: str = "") -> None:
        self.client, self.hub, self.limit = client, hub, limit

    def home(self, job: Job) -> str | None:
        """Return the directory of a volume on this host, ``None`` when the volume does not exist.

        :raises DeployError: the volume belongs to another user or hub, or to another user of the same name than the
            backup, or is not a plain local one.
        """
        try:
            volume = self.client.inspect_volume(job.volume)
        except docker_errors.NotFound:
            return None
        if not is_plain(volume["Driver"], volume.get("Options")):
            raise DeployError(
                f"volume {job.volume} has driver {volume['Driver']} with options {volume.get('Options') or 'none'}; "
                "only volumes of driver local without options other than size can be swapped in one step; remove the "
                "volume, and the restore makes a plain one, or extract the archive by hand where its files are"
            )
        labels = volume.get("Labels") or {}
        for key, wanted in ((LABEL_HUB, self.hub), (LABEL_USER, job.user)):
            if wanted is not None and labels.get(key, wanted) != wanted:
                raise DeployError(f"volume {job.volume} belongs to {labels[key]} ({key}), not to {wanted}")
        backup, manifest = job.backup, job.backup.manifest
        since, of_backup = labels.get(LABEL_USER_SINCE), manifest.labels.get(LABEL_USER_SINCE)
        if since and of_backup and since != of_backup and not job.hands_over:
            again = commands.restore(manifest.encryption != "none", self.limit, user=job.user, backup=backup.stem)
            raise DeployError(
                f"backup {backup.stem} of volume {job.volume} is of the user of this name who was added to the hub at "
                f"{of_backup}, and the volume is of the one who was added at {since}; nothing was restored to it; to "
                f"give the files to the present user, run {again} with the other parameters of this run"
            )
        home, name = os.path.split(str(volume["Mountpoint"]))
        if name != swap.DATA:
            raise DeployError(f"volume {job.volume} is at {volume['Mountpoint']}, which is not where Docker keeps one")
        return home

    def volumes_root(self) -> str:
        """Return the directory in which Docker creates volumes."""
        return os.path.join(str(self.client.info()["DockerRootDir"]), "volumes")

    def create(self, job: Job) -> str:
        """Create the volume, with the labels by which the hub gives it to its user; return its directory.

        It is the volume of the user who was backed up, not of a later one of that name, unless it is handed over.
        """
        labels = {**job.backup.manifest.labels, LABEL_HUB: self.hub}
        if job.hands_over:
            labels.pop(LABEL_USER_SINCE, None)
        if job.user is not None:
            labels[LABEL_USER] = job.user
        return os.path.dirname(str(self.client.create_volume(job.volume, labels=labels)["Mountpoint"]))

    @contextlib.contextmanager
    def staging_volume(self, job: Job) -> Iterator[tuple[str, int]]:
        """Create a volume to extract to, and remove it at the end; yield its directory and the descriptor of its lock.

        It is on the same file system as the new volume, and Docker knows it: it survives a restart of Docker.
        """
        labels = {LABEL_HUB: self.hub, LABEL_RESTORING: job.volume}
        made = self.client.create_volume(f"{self.hub}-restoring-{secrets.token_hex(4)}", labels=labels)
        home = os.path.dirname(made["Mountpoint"])
        try:
            with swap.locked(home) as lock:
                yield home, lock
        finally:
            swap.recover(home)
            self.client.remove_volume(made["Name"])

    def remove_interrupted(self) -> list[str]:
        """Remove the staging volumes of killed restores, and their new volumes that are still empty; return both."""
        removed = []
        labels = [LABEL_RESTORING, f"{LABEL_HUB}={self.hub}"]
        for staging in self.client.volumes(filters={"label": labels})["Volumes"] or []:
            home = os.path.dirname(staging["Mountpoint"])
            with contextlib.suppress(LockedError), swap.locked(home):  # locked: that restore is in progress
                removed += self.remove_empty(staging["Labels"][LABEL_RESTORING])
                swap.recover(home)
                self.client.remove_volume(staging["Name"])
                removed.append(staging["Name"])
        return removed

    def remove_empty(self, volume: str) -> list[str]:
        """Remove a volume that a restore has created and not filled; return its name if it was removed."""
        with contextlib.suppress(docker_errors.NotFound):
            if not os.listdir(self.client.inspect_volume(volume)["Mountpoint"]):
                with contextlib.suppress(docker_errors.APIError):  # a container has it, so it is a user's by now
                    self.client.remove_volume(volume)
                    return [volume]
        return []

    def using(self, job: Job, home: str) -> list[str]:
        """Return the containers that use the volume's files."""
        data = os.path.join(home, swap.DATA)
        return [name_of(one) for one in containers_using(self.client, job.volume, data)]

    def holding_old(self, job: Job, home: str) -> list[str]:
        """Return the containers that were started just before the swap, and so use the old tree.

        The kernel reports the present path of a mounted directory: for them, it is in staging.
        """
        staging = os.path.join(os.path.basename(home), swap.STAGING)
        found = []
        for name in self.using(job, home):
            try:
                pid = self.client.inspect_container(name)["State"]["Pid"]
                with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                    if any(f"/{staging}/" in line.split()[3] for line in file):
                        found.append(name)
            except (docker_errors.NotFound, FileNotFoundError, ProcessLookupError):  # it has ended
                continue
        return found

    def refuse_old(self, job: Job, home: str) -> None:
        """Raise an error when a container uses the old tree after the swap: its changes would be lost."""
        names = self.holding_old(job, home)
        if names:
            raise DeployError(
                f"container {', '.join(names)} began to use volume {job.volume} in the moment of the swap; "
                "nothing was restored to it; stop the container and try again"
            )

    def stop_servers(self, job: Job, home: str, token_file: str, timeout: float) -> list[str]:
        """Stop the servers that use the volume, through the hub; return their users."""
        stopped: list[str] = []
        names = self.using(job, home)
        if not names:
            return stopped
        api = hub_api.connect(self.client, self.hub, token_file)
        for server in stop.observe(self.client, api, self.hub, set()):
            if server["container"] in names:
                latest, stops, _ = stop.recheck(self.client, api, server, "stop", 0)
                if stops:
                    stop.stop(api, latest, timeout)
                    stopped.append(latest["user"])
        return stopped

    def refuse_use(self, job: Job, home: str, next_step: str) -> None:
        """Raise an error when a container uses the volume."""
        names = self.using(job, home)
        if names:
            raise DeployError(
                f"volume {job.volume} is in use by container {', '.join(names)}; nothing was restored to it; "
                f"{next_step}"
            )

"""Delete a user from a hub: servers, volumes, backups, account, in an order in which nobody inherits anything.

The name is free for someone else only when the hub has deleted the user. So the volumes are removed before that, and
the backups are archived. Each step checks what is still there, so the next run finishes one that was killed.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy import files, processes, text
from ansible.module_utils.jupyterhub_deploy.backup import encryption, scan, store, verify
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB_FOLDER
from ansible.module_utils.jupyterhub_deploy.backup.writer import unchanged
from ansible.module_utils.jupyterhub_deploy.docker.client import (
    docker_errors,
    environment_of,
    inspect_container,
    name_of,
)
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import (
    Volume,
    containers_using,
    needs_container,
    users_volumes,
)
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api, storage
from ansible.module_utils.jupyterhub_deploy.servers import stop as servers
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts

DELETED = "deleted"  # in the directory of backups; each folder in it is a directory of backups of its own
POLL_SECONDS = 0.5
# A scan is only reliable when no file is younger than two seconds, and a server writes until it ends.
SETTLE_SECONDS = 30.0


class Removal:
    """One user of one hub.

    :param client: a low-level Docker client.
    :param params: of the module ``jupyterhub_user``.
    """

    def __init__(self, client: Any, params: dict[str, Any]) -> None:
        self.client = client
        self.hub: str = params["name"]
        self.user: str = params["user"]
        self.directory: str = params["directory"]
        self.timeout: float = params["timeout"]
        self.keep_directories: bool = params["keep_directories"]
        container = inspect_container(client, self.hub)
        if container and environment_of(container).get("JUPYTERHUB_ADMIN") == self.user:
            raise DeployError(
                f"{self.user} is the administrator that hub {self.hub} creates at each start; set another "
                "jupyterhub_admin_user and run make site, then delete this one"
            )
        if self.user == api.SERVICE:
            raise DeployError(
                f"hub {self.hub} has a service called {self.user}, too, which cannot delete a user of its own name; "
                f"nothing of {self.user} was deleted; delete this user on the page Admin"
            )
        self.api = api.connect(client, self.hub, params["token_file"])
        self.accounts = Accounts(client, self.hub)

    def volumes(self) -> list[Volume]:
        """Return the user's volumes: by their labels, or by their name when they have no label of any hub.

        :raises DeployError: only a container can read one of them.
        """
        described = self.client.volumes()["Volumes"] or []
        found = users_volumes(self.hub, [Volume.of(one) for one in described])
        mine = [one for one in found if one.is_of(self.user, self.hub)]
        for volume in mine:
            reason = needs_container(volume)
            if reason:
                raise DeployError(
                    f"{reason}; the host cannot check that its backup is complete, so remove the volume yourself, then "
                    "try again"
                )
        return mine

    def folders(self) -> list[str]:
        """Return the folders with backups of the user's volumes."""
        found = []
        for folder in store.folders(self.directory):
            backups = store.backups_in(self.directory, folder)
            if folder not in (HUB_FOLDER, DELETED) and backups:
                newest = backups[-1].manifest
                if newest.hub == self.hub and newest.is_of(self.user):
                    found.append(folder)
        return found

    def check_directories(self) -> None:
        """Check that the user has no directory on the host, which the hub would give to the next user of that name.

        :raises DeployError: there is one, or the hub does not report where users' files are; nothing was deleted.
        """
        if self.keep_directories:
            return
        container = inspect_container(self.client, self.hub)
        found = storage.directories_of(storage.read(container), self.user) if container else []
        if found:
            raise DeployError(
                f"{self.user} has the directory {', '.join(found)}, which is neither backed up nor deleted, and the "
                f"next {self.user} would get it; nothing of {self.user} was deleted; move it away, then try again, or "
                "accept that with -e keep_directories=true"
            )

    def servers(self) -> list[str]:
        """Return the names of the user's running servers; the default server's is empty."""
        return sorted((self.api.user(self.user) or {}).get("servers", {}))

    def exists(self) -> bool:
        """Return whether there is anything to delete."""
        return bool(self.api.user(self.user) or self._has_account() or self.volumes() or self.folders())

    def similar(self) -> str | None:
        """Return the user or account whose name differs from the given one only by case or surrounding blanks."""
        name = self.user.strip().lower()
        if name != self.user and self.accounts.request("exists", name=name)["exists"]:
            return name
        every = (user["name"] for user in self.api.users(state=""))
        return next((one for one in every if one.strip().lower() == name), None)

    def stop(self) -> list[str]:
        """Stop the user's servers by the hub, and wait until the volumes can be scanned; return the servers' names.

        :raises DeployError: a server does not stop, or something keeps writing to a volume.
        """
        self.check_directories()
        stopped = self.servers()
        for server in stopped:
            servers.stop(self.api, {"user": self.user, "server": server}, self.timeout)
        self.check_stopped()
        for volume in self.volumes():
            self.check_unused(volume)
            if not processes.wait_until(
                lambda path=volume.mountpoint: scan.scan(path).digest is not None,  # type: ignore[misc]
                SETTLE_SECONDS,
                POLL_SECONDS,
            ):
                raise DeployError(
                    f"files in volume {volume.name} keep changing; stop whatever writes to them, then try again"
                )
        return stopped

    def delete(self) -> dict[str, Any]:
        """Delete the user, whose volumes have all been backed up. The caller holds the lock of the backups.

        :raises DeployError: a step fails; the steps before it are done.
        """
        self.check_directories()
        self.check_stopped()
        volumes = self.volumes()
        for volume in volumes:
            self.check_backup(volume)
        # Last, because reading an archive takes minutes, in which the user may save another file.
        for volume in volumes:
            self.check_unused(volume)
            self.check_backed_up(volume)
        for volume in volumes:
            self.remove_volume(volume)
        archived = self.archive_backups()
        self.delete_at_hub()
        return {"volumes": [volume.name for volume in volumes], "archive": archived}

    def check_stopped(self) -> None:
        """Check that no server of the user runs that the hub does not know, without a volume by which it is found.

        :raises DeployError: one runs; nothing was deleted.
        """
        labels = [f"{LABEL_HUB}={self.hub}", f"{LABEL_USER}={self.user}"]
        running = self.client.containers(filters={"label": labels})
        if running:
            names = ", ".join(map(name_of, running))
            raise DeployError(
                f"container {names} of {self.user} still runs; nothing of {self.user} was deleted; stop it with "
                f"docker stop {names.replace(',', '')}, then try again"
            )

    def check_unused(self, volume: Volume) -> None:
        """Check that no container has the volume's files open, or soon will.

        :raises DeployError: one has; nothing was deleted.
        """
        using = containers_using(self.client, volume.name, volume.mountpoint)
        if using:
            raise DeployError(
                f"volume {volume.name} is in use by container {', '.join(map(name_of, using))}; nothing of {self.user} "
                "was deleted; stop the container, then try again"
            )

    def check_backup(self, volume: Volume) -> None:
        """Check that the newest backup can be read, if there is one.

        :raises DeployError: it is damaged; nothing was deleted.
        """
        backups = store.backups_in(self.directory, volume.name)
        fault = verify.verify(backups[-1]).fault if backups else ""
        if fault:
            raise DeployError(f"{fault}; nothing of {self.user} was deleted; move that backup away, then try again")

    def check_backed_up(self, volume: Volume) -> None:
        """Check that the newest backup has all that is in the volume.

        :raises DeployError: it does not; nothing was deleted.
        """
        backups = store.backups_in(self.directory, volume.name)
        keys = backups[-1].manifest.recipients if backups else ()
        secret = encryption.scan_secret(self.directory, write=False)
        if not unchanged(encryption.keyed_digest(scan.scan(volume.mountpoint).digest, keys, secret), backups):
            raise DeployError(
                f"no backup in {os.path.join(self.directory, volume.name)} has all that is in volume {volume.name} "
                f"now; nothing of {self.user} was deleted; try again"
            )

    def remove_volume(self, volume: Volume) -> None:
        """Remove a volume, and the user's own stopped containers that have it.

        :raises DeployError: Docker refuses.
        """
        for one in self.client.containers(all=True, filters={"volume": volume.name}):
            labels = one.get("Labels") or {}
            if (labels.get(LABEL_HUB), labels.get(LABEL_USER)) == (self.hub, self.user):
                with contextlib.suppress(docker_errors.NotFound):
                    self.client.remove_container(one["Id"])
        try:
            self.client.remove_volume(volume.name)
        except docker_errors.APIError as error:
            raise DeployError(
                f"volume {volume.name} cannot be removed: {error.explanation}; {self.user} is not deleted and the "
                "volume is backed up; fix the cause, then try again"
            ) from error

    def archive_backups(self) -> list[str]:
        """Move the user's backups out of reach of retention and of the name's next owner; return where to."""
        moved = []
        for folder in self.folders():
            parent = os.path.join(self.directory, DELETED)
            store.ensure_folder(parent)
            name = text.unique_name(f"{folder}-{store.stem_of(datetime.now(timezone.utc))}", os.listdir(parent))
            target = os.path.join(parent, name)
            store.ensure_folder(target)
            os.rename(os.path.join(self.directory, folder), os.path.join(target, folder))
            for path in (target, parent, self.directory):
                files.sync_directory(path)
            moved.append(target)
        return moved

    def delete_at_hub(self) -> None:
        """Delete the user and the account at the hub."""
        self.api.request("DELETE", f"/users/{quote(self.user, safe='')}", expected=(204, 404))
        # The hub deletes the account of a user it knows. It does not know someone who signed up and never signed in.
        self.accounts.request("delete", name=self.user)

    def _has_account(self) -> bool:
        return bool(self.accounts.request("exists", name=self.user)["exists"])

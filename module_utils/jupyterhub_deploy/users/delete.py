"""Take a user from a hub: servers, volumes, backups, account; in an order in which nobody inherits anything.

The name is free for somebody else only when the hub has deleted the user. So the volumes are gone before that, and the
backups lie apart. A run that is killed is ended by the next one: each step looks what there still is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy.backup import check, plan, scan, store
from ansible.module_utils.jupyterhub_deploy.backup.hub_state import DATABASE
from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, users_volumes
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api
from ansible.module_utils.jupyterhub_deploy.servers import stop as servers

DELETED = "deleted"  # in the directory of backups; each folder in it is a directory of backups of its own
POLL_SECONDS = 0.5
# A file that changed less than two seconds ago makes a scan worthless; a server writes until its end.
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
        self.data_volume: str = params["data_volume"] or f"{self.hub}-data"
        self.timeout: float = params["timeout"]
        container = inspect_container(client, self.hub)
        if container and hub_spec.observed_spec(container)["environment"].get("JUPYTERHUB_ADMIN") == self.user:
            raise DeployError(
                f"{self.user} is the admin that the deployment makes at each start of hub {self.hub}; set another "
                "jupyterhub_admin_user and run site.yml before you delete this one"
            )
        self.api = api.connect(client, self.hub, params["token_file"])

    def volumes(self) -> list[Volume]:
        """Return the user's volumes: by their labels, or by their name when they have no label of any hub.

        :raises DeployError: one can only be read by a container.
        """
        described = self.client.volumes()["Volumes"] or []
        found = users_volumes(self.hub, [Volume.of(one) for one in described])
        mine = [one for one in found if one.is_of(self.user, self.hub)]
        for volume in mine:
            if volume.driver != "local" or volume.options:
                raise DeployError(
                    f"volume {volume.name} of {self.user} has driver {volume.driver} with options "
                    f"{volume.options or 'none'}; whether its backup holds all of it cannot be seen from the host, so "
                    "remove it yourself, then try again"
                )
        return mine

    def folders(self) -> list[str]:
        """Return the folders with backups of the user's volumes."""
        found = []
        for folder in store.folders(self.directory):
            backups = store.backups_in(self.directory, folder)
            if folder not in (store.HUB_FOLDER, DELETED) and backups:
                newest = backups[-1].manifest
                if newest.hub == self.hub and newest.is_of(self.user):
                    found.append(folder)
        return found

    def exists(self) -> bool:
        """Tell whether anything is there to be deleted."""
        return bool(self.api.user(self.user) or self.has_account() or self.volumes() or self.folders())

    def stop(self) -> list[str]:
        """Have the hub stop the user's servers, and wait until no file is newer than a scan can tell; return which.

        :raises DeployError: one does not stop, or a volume does not come to rest.
        """
        stopped = []
        for server in sorted((self.api.user(self.user) or {}).get("servers", {})):
            servers.stop(self.api, {"user": self.user, "server": server}, self.timeout)
            stopped.append(server)
        deadline = time.monotonic() + SETTLE_SECONDS
        for volume in self.volumes():
            self.refuse_use(volume)
            while scan.scan(volume.mountpoint).digest is None:
                if time.monotonic() > deadline:
                    raise DeployError(f"files in volume {volume.name} keep changing; what writes to them?")
                time.sleep(POLL_SECONDS)
        return stopped

    def delete(self) -> dict[str, Any]:
        """Delete the user, whose volumes have all been backed up. The caller holds the lock of the backups.

        :raises DeployError: a step cannot be done; the steps before it were.
        """
        volumes = self.volumes()
        for volume in volumes:
            self.refuse_use(volume)
            self.refuse_not_backed_up(volume)
        for volume in volumes:
            self.remove(volume)
        archived = self.set_aside()
        had = self.delete_at_hub()
        return {"volumes": [volume.name for volume in volumes], "archive": archived, "at_hub": had}

    def refuse_use(self, volume: Volume) -> None:
        """Raise an error when a container that runs has the volume."""
        names = [one["Names"][0].lstrip("/") for one in self.using(volume) if one["State"] in ("running", "paused")]
        if names:
            raise DeployError(
                f"volume {volume.name} is in use by container {', '.join(names)}; nothing of {self.user} was deleted; "
                "stop it and try again"
            )

    def using(self, volume: Volume) -> list[dict[str, Any]]:
        """Return the engine's descriptions of the containers that have the volume."""
        return list(self.client.containers(all=True, filters={"volume": volume.name}))

    def refuse_not_backed_up(self, volume: Volume) -> None:
        """Raise an error unless the newest backup holds all that is in the volume, and can be read."""
        backups = store.backups_in(self.directory, volume.name)
        newest = plan.unchanged(scan.scan(volume.mountpoint).digest, backups)
        if not newest:
            raise DeployError(
                f"no backup in {os.path.join(self.directory, volume.name)} holds all that is in volume {volume.name} "
                f"now; nothing of {self.user} was deleted; try again"
            )
        faults = check.faults(newest)
        if faults:
            raise DeployError(f"{faults[0]}; nothing of {self.user} was deleted; move it away and try again")

    def remove(self, volume: Volume) -> None:
        """Remove a volume, and the user's own containers that have ended but still hold it."""
        for one in self.using(volume):
            labels = one.get("Labels") or {}
            if (labels.get(LABEL_HUB), labels.get(LABEL_USER)) == (self.hub, self.user):
                with contextlib.suppress(docker_errors.NotFound):
                    self.client.remove_container(one["Id"])
        try:
            self.client.remove_volume(volume.name)
        except docker_errors.APIError as error:
            raise DeployError(
                f"volume {volume.name} cannot be removed, and {self.user} is still there: {error.explanation}; it is "
                "backed up, so mend that and try again"
            ) from error

    def set_aside(self) -> list[str]:
        """Move the user's backups to where neither retention nor a namesake's backups come; return where."""
        moved = []
        for folder in self.folders():
            now = store.stem_of(datetime.now(timezone.utc))
            target, number = os.path.join(self.directory, DELETED, f"{folder}-{now}"), 1
            while os.path.lexists(os.path.join(target, folder)):
                number += 1
                target = os.path.join(self.directory, DELETED, f"{folder}-{now}-{number}")
            for path in (os.path.dirname(target), target):
                store.ensure_folder(path)
            os.rename(os.path.join(self.directory, folder), os.path.join(target, folder))
            for path in (target, os.path.dirname(target), self.directory):
                store.sync_folder(path)
            moved.append(target)
        return moved

    def delete_at_hub(self) -> bool:
        """Delete the account at the hub and the password; return whether there was any."""
        status, _ = self.api.request("DELETE", f"/users/{quote(self.user, safe='')}", expected=(204, 404))
        # The hub's authenticator does that for a user of the hub. Who signed up and never signed in is none.
        left = self.has_account()
        if left:
            with self.database() as database:
                database.execute("DELETE FROM users_info WHERE username = ?", (self.user,))
                database.commit()
        return status == 204 or left

    def has_account(self) -> bool:
        """Tell whether there is a password of that name."""
        with self.database() as database:
            try:
                return bool(database.execute("SELECT 1 FROM users_info WHERE username = ?", (self.user,)).fetchone())
            except sqlite3.OperationalError:  # no such table: another authenticator
                return False

    def database(self) -> contextlib.closing[sqlite3.Connection]:
        """Open the hub's database beside the hub; SQLite keeps the two apart."""
        mountpoint = self.client.inspect_volume(self.data_volume)["Mountpoint"]
        return contextlib.closing(sqlite3.connect(f"file:{mountpoint}/{DATABASE}?mode=rw", uri=True, timeout=30))

"""The hub's own state: its database, copied while in use, its secrets, its configuration and its images."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import LABEL_CONFIG
from ansible.module_utils.jupyterhub_deploy.docker.client import environment_of, inspect_container, inspect_image
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, needs_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front import state as front_state

DATABASE = "jupyterhub.sqlite"
RESTORE_MARK = ".restoring/mark"  # beside the data: a restore is replacing the state (restore/hub_files.py)
FRONT = "front"  # directory of the archive with the certificate
# Environment variables of the hub that are kept. The others are not: they may be secrets.
KEPT_VARIABLES = ("DOCKER_NOTEBOOK_IMAGE", "DOCKER_NETWORK_NAME", "DOCKER_NOTEBOOK_DIR", "JUPYTERHUB_ADMIN")
# Seconds that the copy of the database waits for a hub that writes continuously.
DATABASE_TIMEOUT = 120


class HubState:
    """The state of one hub on its host.

    :param config_dir: directory of its configuration and secrets.
    :param data_volume: name of the volume with its database.
    :param front_dir: directory of the host's front, with the hub's certificate from ACME.
    """

    def __init__(self, client: Any, hub: str, config_dir: str, data_volume: str, front_dir: str) -> None:
        self.client = client
        self.hub = hub
        self.config_dir = config_dir
        self.data_volume = data_volume
        self.front_dir = front_dir

    def stage(self, data: Volume | None, staging: str) -> None:
        """Copy the hub's state to a directory.

        :param data: the volume with the database.
        :raises DeployError: a part of it is missing.
        """
        if not data:
            raise DeployError(
                f"volume {self.data_volume} with the hub's database does not exist; run make site, which creates it"
            )
        problem = needs_container(data)
        if problem:
            raise DeployError(
                f"{problem}; the hub's database can be copied from a plain volume only: stop the hub, and move the "
                "files to a volume without driver and options, with the same name and labels"
            )
        if os.path.lexists(os.path.join(os.path.dirname(data.mountpoint), RESTORE_MARK)):
            raise DeployError(
                "a restore of the hub's state was interrupted, and its files may be of two states; run make site, "
                "which ends the restore, then back up"
            )
        source = os.path.join(data.mountpoint, DATABASE)
        copy_database(source, os.path.join(staging, DATABASE))
        secrets = os.path.join(self.config_dir, "secrets")
        if not os.path.isdir(secrets):
            raise DeployError(
                f"the hub's secrets are not in {secrets}; set jupyterhub_config_dir to the directory of the hub"
            )
        shutil.copytree(secrets, os.path.join(staging, "secrets"), ignore=shutil.ignore_patterns(".*"))
        front_state.copy(self.front_dir, self.hub, os.path.join(staging, FRONT))
        container = inspect_container(self.client, self.hub)
        digest = ((container or {}).get("Config", {}).get("Labels") or {}).get(LABEL_CONFIG)
        if digest:
            shutil.copytree(os.path.join(self.config_dir, f"config-{digest}"), os.path.join(staging, "config"))
        with open(os.path.join(staging, "state.json"), "w", encoding="utf-8") as file:
            json.dump(self.state(container, digest), file, indent=2, sort_keys=True)
            file.write("\n")

    def state(self, container: dict[str, Any] | None, digest: str | None) -> dict[str, Any]:
        """Return the images in use with their ids, and the settings in the hub's environment."""
        environment = environment_of(container) if container else {}
        kept = {name: environment[name] for name in KEPT_VARIABLES if name in environment}
        images: dict[str, Any] = {}
        for purpose, name in (("hub", self.hub), ("proxy", f"{self.hub}-proxy")):
            found = inspect_container(self.client, name)
            if found and ((found["Config"].get("Labels") or {}).get(LABEL_HUB) == self.hub):
                images[purpose] = {"name": found["Config"]["Image"], "id": found["Image"]}
        if kept.get("DOCKER_NOTEBOOK_IMAGE"):
            name = kept["DOCKER_NOTEBOOK_IMAGE"]
            images["notebook"] = {"name": name, "id": (inspect_image(self.client, name) or {}).get("Id")}
        docker_version = self.client.version()["Version"]
        return {"hub": self.hub, "config": digest, "environment": kept, "images": images, "engine": docker_version}


def copy_database(source: str, target: str) -> None:
    """Copy a database that is in use, and check the integrity of the copy.

    :raises DeployError: the database is missing or damaged, or is written to without a pause.
    """
    deadline = time.monotonic() + DATABASE_TIMEOUT

    def check_deadline(status: int, remaining: int, total: int) -> None:
        if remaining and time.monotonic() > deadline:
            raise DeployError(f"the hub writes to its database {source} without a pause; try again later")

    if not os.path.isfile(source):
        raise DeployError(
            f"the hub's database {source} does not exist; the hub creates it at its first start: run make site"
        )
    try:
        # Not read-only: a hub that was killed leaves a journal, and rolling it back needs write access.
        before = sqlite3.connect(f"file:{_escaped(source)}?mode=rw", uri=True, timeout=30)
        copy = sqlite3.connect(target)
        os.chmod(target, 0o600)
        try:
            before.backup(copy, progress=check_deadline)
            ((verdict,), *_) = copy.execute("PRAGMA integrity_check").fetchall()
        finally:
            copy.close()
            before.close()
    except sqlite3.Error as error:
        if "disk is full" in str(error):  # reading needs no space
            raise DeployError(
                f"the copy of the hub's database cannot be written to {os.path.dirname(target)}: the disk is full; "
                "free space there, or keep fewer backups (jupyterhub_backup_keep)"
            ) from error
        if type(error) is not sqlite3.DatabaseError:  # the class itself: the file is malformed, or not a database
            raise DeployError(f"the hub's database {source} cannot be copied: {error}") from error
        verdict = str(error)
    if verdict != "ok":
        raise DeployError(f"the hub's database {source} is damaged: {verdict}; restore an older backup of the hub")


def _escaped(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def content_digest(path: str) -> str:
    """Return a digest over the names and contents of small files in a directory."""
    total = hashlib.sha256()
    for parent, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(parent, name)
            with open(file, "rb") as content:
                name_digest = hashlib.sha256(os.fsencode(os.path.relpath(file, path))).hexdigest()
                total.update(f"{name_digest} {hashlib.sha256(content.read()).hexdigest()}\n".encode())
    return total.hexdigest()

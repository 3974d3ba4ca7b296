"""Where a hub keeps its data, as it reports at each start (``jupyterhub_deploy_hub.storage`` in the hub image).

``jupyterhub_extra_config`` can move the database, and give users directories that are not volumes. Backups and the
deletion of users do not cover those, and say so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.docker.volumes import docker_name
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text

FILE = "storage.json"  # in the data volume; the hub image has the same name
DATABASE_URL = "sqlite:////data/jupyterhub.sqlite"  # the only one that backups, restores and upgrades work with
CONFIG_FILES = ("jupyterhub_config.py", "settings.json")


class Storage(NamedTuple):
    """Where a hub keeps its data."""

    database: str
    """The URL of its database, without a password."""
    volumes: list[str]
    """The sources of users' directories: paths on the host and names of volumes, with ``{username}``."""


def read(container: dict[str, Any]) -> Storage:
    """Return where a hub keeps its data.

    :param container: Docker's description of the hub's container.
    :raises DeployError: the hub has not reported it with its present configuration.
    """
    mounts = {mount["Destination"]: mount["Source"] for mount in container.get("Mounts") or []}
    text = read_text(os.path.join(mounts.get(hub_spec.DATA_TARGET, "/"), FILE))
    try:
        content = json.loads(text or "{}")
        if content["config"] == _digest(mounts[hub_spec.CONFIG_TARGET]):
            return Storage(str(content["database"]), [str(source) for source in content["volumes"]])
    except (OSError, ValueError, KeyError):
        pass
    raise DeployError(
        f"the hub {name_of(container)} does not report where its data are: it has not started with its present "
        "configuration, or an earlier version made its image; `make site` or `make upgrade` replaces it. "
        f"If it still does not, `docker logs {name_of(container)}` says why; fix that and restart the container"
    )


def database_problem(storage: Storage) -> str | None:
    """Return why the hub's database can be neither backed up nor restored, ``None`` when it can. Pure."""
    if storage.database.partition("?")[0] == DATABASE_URL:
        return None
    return (
        f"the hub's database is {storage.database} (c.JupyterHub.db_url), and only {DATABASE_URL} is supported; stop "
        "the hub, move the database there, remove the setting from jupyterhub_extra_config, and run make site"
    )


def not_backed_up(storage: Storage, volumes: Container[str]) -> list[str]:
    """Return the sources of users' directories that a backup of users' volumes leaves out. Pure.

    :param volumes: the names of the volumes that are backed up.
    """
    return [
        source
        for source in storage.volumes
        if source.startswith("/") or ("username}" not in source and source not in volumes)
    ]


def not_backed_up_message(sources: list[str]) -> list[str]:
    """Return the line about what is not backed up, nothing when there is nothing. Pure."""
    if not sources:
        return []
    named = ", ".join(f"directory {one}" if one.startswith("/") else f"volume {one}" for one in sources)
    return [f"NOT BACKED UP, although servers use it: {named}; see docs/how-to/backup.md#what-is-not-backed-up"]


def directories_of(storage: Storage, user: str) -> list[str]:
    """Return the directories on this host that may be a user's own. Pure."""
    found = []
    for source in storage.volumes:
        if source.startswith("/") and "username}" in source:
            for name in (docker_name(user), user):
                path = source
                for key in ("username", "raw_username", "safe_username"):
                    path = path.replace(f"{{{key}}}", name)
                found.append(path)
    return list(dict.fromkeys(found))


def _digest(directory: str) -> str:
    texts = []
    for name in CONFIG_FILES:
        with open(os.path.join(directory, name), "rb") as file:
            texts.append(file.read())
    return hashlib.sha256(b"\0".join(texts)).hexdigest()

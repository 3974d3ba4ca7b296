"""Where a hub keeps its data, as it reports at each start (``jupyterhub_deploy_hub.storage`` in the hub image).

``jupyterhub_extra_config`` can move the database, and give users directories that are not volumes. Backups and the
deletion of users do not cover those, and say so.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
import string
from collections.abc import Container
from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy.containers import hub_spec
from ansible.module_utils.jupyterhub_deploy.docker.client import name_of
from ansible.module_utils.jupyterhub_deploy.docker.volumes import docker_name
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text

FILE = "storage.json"  # in the data volume; the hub image has the same name
DATABASE_URL = "sqlite:////data/jupyterhub.sqlite"  # the only one that backups, restores and upgrades work with
# Placeholders of dockerspawner's templates.
USER_FIELDS = ("username", "raw_username", "safe_username")
SERVER_FIELDS = ("servername", "raw_servername")
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


def check_database(container: dict[str, Any] | None) -> None:
    """Check that a hub uses the database that is backed up and restored, if it says which one it uses.

    :param container: Docker's description of the hub's container, ``None`` if it does not exist.
    :raises DeployError: it uses another one.
    """
    try:
        database = read(container).database if container else DATABASE_URL
    except DeployError:  # a backup reports a hub that does not say where its data are
        return
    if database.partition("?")[0] != DATABASE_URL:
        raise DeployError(
            f"the hub's database is {database} (c.JupyterHub.db_url), and only {DATABASE_URL} is supported; stop the "
            "hub, move the database there, remove the setting from jupyterhub_extra_config, and run make site"
        )


def not_backed_up(storage: Storage, volumes: Container[str]) -> list[str]:
    """Return the sources of users' directories that a backup of users' volumes leaves out. Pure.

    Users' own volumes are labeled, and so backed up: the check of the configuration refuses others.

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
    """Return the files and directories on this host that may be a user's own."""
    templates = [source for source in storage.volumes if source.startswith("/") and "username}" in source]
    names = (docker_name(user), user)
    patterns = [pattern for template in templates for name in names for pattern in _patterns(template, name)]
    return list(dict.fromkeys(os.path.normpath(path) for pattern in patterns for path in glob.glob(pattern)))


def _patterns(template: str, name: str) -> list[str]:
    """Return patterns for `glob` of the paths that dockerspawner may make from a template for a user. Pure.

    Any other placeholder than the user's name stands for anything. The name of a server may begin with a dot, and that
    of the default server is empty.
    """
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError:  # a single brace: no user has it, because dockerspawner does not replace anything
        return []
    parts: list[tuple[str, ...]] = []
    for literal, field, _, _ in fields:
        parts.append((glob.escape(literal),))
        if field in USER_FIELDS:
            parts.append((glob.escape(name),))
        elif field is not None:
            parts.append(("*", ".*", "") if field in SERVER_FIELDS else ("*",))
    return ["".join(choice) for choice in itertools.product(*parts)]


def _digest(directory: str) -> str:
    texts = []
    for name in CONFIG_FILES:
        with open(os.path.join(directory, name), "rb") as file:
            texts.append(file.read())
    return hashlib.sha256(b"\0".join(texts)).hexdigest()
